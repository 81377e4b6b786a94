"""Places in the queue: how many requests are served before one; with no I/O."""

from __future__ import annotations

import threading
from bisect import bisect_left, insort


class WaitingRequests:
    """The requests that wait, by priority and owner. May be used by several threads.

    Owners take turns, so the n-th of one owner comes after at most n of each other. That is what
    the scheduler does with servers and models alike; affinity to a loaded model may change it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # {rank: {owner: [(order, key), ...]}}; a lower rank goes first
        self._waiting: dict[int, dict[str, list[tuple[int, str]]]] = {}
        self._known: dict[str, tuple[int, str, int]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def add(self, key: str, owner: str, priority: int, order: int) -> None:
        """A request waits, or waits again."""
        with self._lock:
            if key in self._known:
                return
            self._known[key] = (-priority, owner, order)
            insort(self._waiting.setdefault(-priority, {}).setdefault(owner, []), (order, key))

    def remove(self, key: str) -> None:
        """A request waits no longer."""
        with self._lock:
            known = self._known.pop(key, None)
            if known is None:
                return
            rank, owner, order = known
            owners = self._waiting[rank]
            line = owners[owner]
            del line[bisect_left(line, (order, key))]
            if not line:
                del owners[owner]
            if not owners:
                del self._waiting[rank]

    def of(self, key: str) -> int | None:
        """The place of a request, from 1; None where it does not wait."""
        with self._lock:
            known = self._known.get(key)
            if known is None:
                return None
            rank, owner, order = known
            ahead = sum(
                len(line)
                for other, owners in self._waiting.items()
                if other < rank
                for line in owners.values()
            )
            turn = bisect_left(self._waiting[rank][owner], (order, key))
            for other, line in self._waiting[rank].items():
                if other != owner:
                    # Of two in the same turn the one that came first goes first.
                    before = len(line) > turn and line[turn][0] < order
                    ahead += min(len(line), turn) + before
            return ahead + turn + 1

    def count(self, owner: str) -> int:
        """How many of an owner wait."""
        with self._lock:
            return sum(len(owners.get(owner, ())) for owners in self._waiting.values())
