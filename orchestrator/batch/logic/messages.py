"""What observers are told, and the sentences for failures."""

from __future__ import annotations

from typing import Any, Protocol

from ...errors import SpriteworksError
from .assignments import Assignment
from .retry import Decision, FailureKind, Step

_NEXT = {
    Step.HERE: "it is sent again",
    Step.ELSEWHERE: "it goes to another server",
    Step.DEGRADE: "it is sent again",
    Step.GIVE_UP: "it is given up",
    Step.QUARANTINE: "it is quarantined",
    Step.STOP: "the run stops",
}


class BatchObserver(Protocol):
    """Who is told what happens; called under the dispatcher's lock, so it must be quick."""

    def happened(self, kind: str, **details: Any) -> None:
        """Something happened: `kind` is one word, `details` are JSON values."""


def failure_words(assignment: Assignment, error: str, decision: Decision) -> str:
    """What failed, why, and what happens next, for the log."""
    easier = f" with {decision.degradation}" if decision.step is Step.DEGRADE else ""
    return (
        f"{assignment.label}: {error.splitlines()[0]}; {_NEXT[decision.step]}{easier}: "
        f"{decision.reason}"
    )


def failure_event(
    assignment: Assignment, kind: FailureKind, error: str, decision: Decision
) -> dict[str, Any]:
    """The same as JSON values."""
    return {
        "jobs": [job.name for job in assignment.jobs],
        "server": assignment.attempt.server,
        "cause": kind.value,
        "next": decision.step.value,
        "error": error,
    }


def fault(error: Exception, where: str) -> SpriteworksError:
    """An error that should not have happened, as one of ours."""
    wrapped = SpriteworksError(
        f"this is a fault of Spriteworks ({type(error).__name__}: {error}) at {where}; please "
        "report it"
    )
    wrapped.__cause__ = error
    return wrapped
