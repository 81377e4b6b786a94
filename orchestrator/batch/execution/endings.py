"""What is written into the record of an attempt's end.

Each of these is part of a transaction of the caller, may be called again where that failed, and
changes nothing but the record. All raise LeaseLost, and write nothing, where the attempt is another
orchestrator's by now.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...errors import LeaseLost
from ..logic.assignments import Assignment, Rejection
from ..logic.jobs import Artifact, Attempt, Job, Outcome, State, Timing
from ..logic.retry import Decision, FailureKind, Past, RetryLimits, Rung, Step, decide
from .store.statements import CANCELLED
from .store.store import Store

# where a job goes that is not tried again
_ENDS = {Step.GIVE_UP: State.FAILED, Step.QUARANTINE: State.QUARANTINED}
# a job's key, the state that it is in now, and why
Move = tuple[str, str, str]


@dataclass(frozen=True, kw_only=True)
class Finished:
    """An attempt that ended well: its pictures are in the folder, those rejected are not."""

    assignment: Assignment
    artifacts: Sequence[Artifact]
    rejections: Sequence[Rejection] = ()
    # s from submission to the end
    seconds: float
    spans: Sequence[Timing]
    # called for each artifact that counts, in the transaction that says so; quick, or OutputError
    keep: Callable[[Artifact], None] = lambda _: None


@dataclass(frozen=True, kw_only=True)
class Written:
    """What was written down of an attempt that ended well."""

    # what is to be said of it
    words: Sequence[str]
    moves: Sequence[Move]
    # of jobs that are done
    artifacts: Sequence[Artifact]


class Endings:
    """Writes down how attempts of one orchestrator ended, and where their jobs go."""

    def __init__(self, store: Store, owner: str, limits: RetryLimits) -> None:
        self._store = store
        self._owner = owner
        self._limits = limits

    def failed(
        self, assignment: Assignment, kind: FailureKind, error: str, possible: Sequence[Rung]
    ) -> list[tuple[Decision, Move]]:
        """Write down that an attempt failed; returns what was decided of each job."""
        outcome = Outcome.NEVER_SENT if kind is FailureKind.NOT_SENT else Outcome.FAILED
        self._close(assignment.attempt, outcome, failure=kind.value, error=error)
        decided = []
        for job in assignment.jobs:
            decision = self.decide(job.key, assignment, possible)
            to = _ENDS.get(decision.step, State.PENDING)
            (move,) = self._settle([job.key], to, f"{error} ({decision.reason})")
            decided.append((decision, move))
        return decided

    def given_back(self, attempt: Attempt, reason: str) -> list[Move]:
        """Write down that an attempt came to nothing, and that its jobs wait."""
        self._close(attempt, Outcome.CANCELLED, error=reason)
        return self._settle([shot.key for shot in attempt.shots], State.PENDING, reason)

    def done(self, one: Finished) -> Written | None:
        """Write down that an attempt ended well; None where it is another's by now."""
        try:
            return self._done(one)
        except LeaseLost:
            # Others in the transaction are none the worse.
            return None

    def decide(self, key: str, assignment: Assignment, possible: Sequence[Rung]) -> Decision:
        """What is to become of a job whose latest attempt failed."""
        since = self._store.retried_after()
        kinds = [
            FailureKind(one.failure)
            for one in self._store.attempts_of(key)
            if one.failure and one.id > since
        ]
        together = len(assignment.jobs)
        past = Past(kinds=kinds, degradation=assignment.degradation, together=together)
        return decide(past, possible, self._limits)

    def _done(self, one: Finished) -> Written:
        attempt, jobs = one.assignment.attempt, one.assignment.jobs
        rejected = {rejection.key: rejection.reason for rejection in one.rejections}
        outcome = Outcome.REJECTED if rejected else Outcome.DONE
        self._close(attempt, outcome, seconds=one.seconds)
        moves = self._settle([job.key for job in jobs if job.key not in rejected], State.DONE)
        done = {key for key, state, _ in moves if state == State.DONE.value}
        kept = [artifact for artifact in one.artifacts if artifact.key in done]
        for artifact in kept:
            one.keep(artifact)
            self._store.record_artifact(artifact)
        again = [self._reject(job, rejected[job.key]) for job in jobs if job.key in rejected]
        self._store.record_timings(attempt.id, one.spans)
        return Written(
            words=[text for _, text in again],
            moves=[*moves, *(move for move, _ in again)],
            artifacts=kept,
        )

    def _close(
        self,
        attempt: Attempt,
        outcome: Outcome,
        *,
        seconds: float | None = None,
        failure: str = "",
        error: str = "",
    ) -> None:
        self._store.close_attempt(
            attempt.id, outcome, owner=self._owner, seconds=seconds, failure=failure, error=error
        )

    def _settle(self, keys: Sequence[str], to: State, reason: str = "") -> list[Move]:
        """Move jobs on; those that a person cancelled are cancelled instead."""
        # why it waits again is for those who watch, not for the record
        cancelled = self._store.settle(keys, to, "" if to is State.PENDING else reason)
        return [
            (key, State.CANCELLED.value, CANCELLED) if key in cancelled else (key, to.value, reason)
            for key in keys
        ]

    def _reject(self, job: Job, reason: str) -> tuple[Move, str]:
        """Roll a job again, or fail it; returns what became of it, and that in words."""
        if not job.has_rolls:
            (move,) = self._settle([job.key], State.FAILED, reason)
            return move, f"{job.name} failed: {reason}"
        (move,) = self._settle([job.key], State.PENDING, reason)
        if move[1] == State.PENDING.value:
            self._store.roll(job.key)
        return move, f"{job.name} is rolled again ({job.gate_rolls + 1} of {job.rerolls}): {reason}"
