"""What is remembered of jobs that failed and are tried again."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .jobs import Attempt, Job
from .retry import Decision, Degradation, FailureKind, Step

_AS_IS = Degradation()


@dataclass(frozen=True, kw_only=True)
class Note:
    """What is remembered of a job that failed."""

    degradation: Degradation = _AS_IS
    # s by the dispatcher's clock
    not_before: float = 0.0
    avoid: frozenset[str] = frozenset()
    # servers that sent another picture, and would send it from their cache again
    wrong_from: frozenset[str] = frozenset()


class Notes(dict[str, Note]):
    """The notes of jobs, by key; a job without one is as any other."""

    def of(self, job: Job) -> Note:
        """The note of a job."""
        return self.get(job.key) or Note()

    def take(
        self, job: Job, attempt: Attempt, decision: Decision, kind: FailureKind, now: float
    ) -> None:
        """Note how a job is to be tried again after an attempt; its pause begins `now`."""
        before, server = self.of(job), {attempt.server}
        self[job.key] = Note(
            degradation=decision.degradation,
            not_before=now + decision.delay,
            avoid=before.avoid | (server if decision.step is Step.ELSEWHERE else set()),
            wrong_from=before.wrong_from | (server if kind is FailureKind.RESULT_WRONG else set()),
        )

    def recall(self, key: str, attempt: Attempt, decision: Decision) -> None:
        """Note what was decided in an earlier run; its pause is over."""
        server = frozenset({attempt.server})
        was_wrong = attempt.failure == FailureKind.RESULT_WRONG.value
        self[key] = Note(
            degradation=decision.degradation,
            avoid=server if decision.step is Step.ELSEWHERE else frozenset(),
            wrong_from=server if was_wrong else frozenset(),
        )

    def degradation(self, jobs: list[Job], server: str) -> Degradation:
        """How jobs that go together are made easier for a server."""
        found = self.of(jobs[0]).degradation
        if any(server in self.of(job).wrong_from for job in jobs):
            # It would send the same from its cache.
            return replace(found, free=True)
        return found
