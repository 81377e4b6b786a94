"""A record that counts what is asked of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from orchestrator.batch.execution.store.database import Database
from orchestrator.batch.execution.store.store import Store
from orchestrator.batch.logic.jobs import Attempt, Job
from orchestrator.errors import IllegalTransition


class CountingStore(Store):
    """The record, with a count of each kind of request that a cluster makes of it.

    The kinds are those whose cost `costs.measured` measures: "claim", "late" (a claim that another
    orchestrator was quicker than), "submitted", "done", "owners" (which owners wait, with how many
    they were as "owners_seen"), "read" (an owner's first jobs, with their number as "rows") and
    "still" (which of those in a window wait).
    """

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.asked: Counter[str] = Counter()

    def claim(self, attempt: Attempt, **values: Any) -> int:
        with self._claiming():
            return super().claim(attempt, **values)

    def claim_first(
        self, keys: Sequence[str], attempt_for: Callable[[str], Attempt], **values: Any
    ) -> Attempt:
        with self._claiming():
            return super().claim_first(keys, attempt_for, **values)

    def mark_submitted(self, attempt_id: int, **values: Any) -> bool:
        self.asked["submitted"] += 1
        return super().mark_submitted(attempt_id, **values)

    def close_attempt(self, *arguments: Any, **values: Any) -> None:
        self.asked["done"] += 1
        super().close_attempt(*arguments, **values)

    def owners_waiting(self) -> list[str]:
        self.asked["owners"] += 1
        found = super().owners_waiting()
        self.asked["owners_seen"] += len(found)
        return found

    def pending(
        self,
        limit: int,
        *,
        exclude: Collection[str] = (),
        owner: str | None = None,
        per_owner: int | None = None,
    ) -> list[Job]:
        found = super().pending(limit, exclude=exclude, owner=owner, per_owner=per_owner)
        self.asked["read"] += 1
        self.asked["rows"] += len(found)
        return found

    def waiting(self, keys: Iterable[str]) -> set[str]:
        self.asked["still"] += 1
        return super().waiting(keys)

    @contextmanager
    def uncounted(self) -> Iterator[None]:
        """What is asked inside the block is not of the cluster."""
        before = self.asked.copy()
        yield
        self.asked = before

    @contextmanager
    def _claiming(self) -> Iterator[None]:
        try:
            yield
        except IllegalTransition:
            self.asked["late"] += 1
            raise
        self.asked["claim"] += 1
