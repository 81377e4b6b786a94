"""The jobs that wait, as far as they are looked at, and what each owner has had.

The store may have a million of them; here is a window in which every owner's first jobs are, so
that a choice can be made in a millisecond. Its methods are called under the dispatcher's lock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from ..logic.jobs import Job
from ..logic.scheduler import Waiting
from .store.store import Store

# Jobs in the window, shared by the owners, of each of whom there are some at least.
_WINDOW, _EACH = 192, 4
# The part of an owner's share that may be left before more is read from the store.
_LOW = 1 / 3
# Jobs that it may grow to, where no server takes what is in it.
_MOST = 4096
# Owners of all of whom it is looked now and then whether something more urgent has come.
_MANY = 64
# Owners who went away of whom it is remembered how much they had.
_REMEMBERED = 1000


class JobQueue:
    """A window of the jobs that wait."""

    def __init__(self, store: Store, look_at: Callable[[Job], Waiting]) -> None:
        """`look_at` says of a job from the store what a choice depends on."""
        self.window: dict[str, Waiting] = {}
        # jobs sent so far, by owner, as `scheduler.Situation` has it
        self.served: Counter[str] = Counter()
        self.passed: Counter[str] = Counter()
        self._store = store
        self._look_at = look_at
        self._jobs: dict[str, Job] = {}
        # owners who have something waiting, and those of them who have had nothing since they came
        self._present: set[str] = set()
        self._fresh: dict[str, None] = {}
        # jobs in the window, by owner
        self._here: Counter[str] = Counter()
        # owners who may have more in the store
        self._more: set[str] = set()
        # whether others may wait there by now, and something more urgent of those who are here
        self._has_come = self._is_stale = True
        # by how much the window is larger than usual
        self._widened = 1

    @property
    def fresh(self) -> Sequence[str]:
        """Owners who have had nothing since they came, in the order in which they came."""
        return tuple(self._fresh)

    @property
    def owners(self) -> int:
        """How many owners have jobs here."""
        return len(self._here)

    def job(self, key: str) -> Job:
        """A job of the window."""
        return self._jobs[key]

    def arrived(self) -> None:
        """The store has new jobs, behind the others of their owners."""
        self._has_come = True
        self._more.update(self._here)

    def look_again(self) -> None:
        """The store may have something new, anywhere."""
        self._has_come = self._is_stale = True

    def refill(self) -> None:
        """Read more from the store where there may be more than what is left here."""
        owners = self._due()
        if owners:
            share = self._share(owners)
            for owner in owners:
                self._read(owner, share)
            self._trim()

    def _due(self) -> list[str]:
        """The owners of whom more is to be read now."""
        waiting: list[str] = []
        if self._has_come:
            waiting = self._store.owners_waiting()
            self._more.update(owner for owner in waiting if not self._here[owner])
            self._gone(self._more.difference(waiting))
            if self._is_stale and len(waiting) <= _MANY:
                self._has_come = self._is_stale = False
                return waiting
            self._has_come = self._is_stale = False
        low = _LOW * self._share(())
        return [owner for owner in self._more if self._here[owner] <= low]

    def _share(self, due: Iterable[str]) -> int:
        """How many jobs of each owner are here, where so many have."""
        owners = len({*self._here, *due}) or 1
        return max(_EACH, _WINDOW // owners) * self._widened

    def _read(self, owner: str, share: int) -> None:
        found = self._store.pending(share, owner=owner)
        # Where more waits than is looked at, nobody has to be left anything.
        is_backlog = len(found) >= share
        for job in found:
            if job.key not in self.window:
                waiting = self._look_at(job)
                self.put(job, replace(waiting, since=0.0) if is_backlog else waiting)
        if is_backlog:
            self._more.add(owner)
        else:
            self._more.discard(owner)
            self._see_off(owner)

    def widen(self) -> bool:
        """Look further, as no server takes what is here; False where there is nothing further."""
        if not self._more or len(self.window) >= _MOST:
            return False
        self._widened *= 2
        self._has_come = self._is_stale = True
        return True

    def put(self, job: Job, waiting: Waiting) -> None:
        """Let a job wait here."""
        self.remove([job.key])
        owner = waiting.batch
        if owner not in self._present:
            self._came(owner)
        self._here[owner] += 1
        self._jobs[job.key] = job
        self.window[job.key] = waiting

    def change(self, waiting: Waiting) -> None:
        """Something else is known of a job that waits here."""
        assert waiting.key in self.window
        self.window[waiting.key] = waiting

    def remove(self, keys: Iterable[str]) -> None:
        """Let jobs wait here no longer; those that are not here do no harm."""
        for key in keys:
            waiting = self.window.pop(key, None)
            if waiting is None:
                continue
            del self._jobs[key]
            owner = waiting.batch
            self._here[owner] -= 1
            if not self._here[owner]:
                del self._here[owner]
                self._see_off(owner)

    def sent(self, chosen: Sequence[Waiting]) -> None:
        """Jobs of one owner went out."""
        first = chosen[0]
        self.remove([one.key for one in chosen])
        if len(self.window) < _LOW * _WINDOW:
            self._widened = 1
        self._fresh.pop(first.batch, None)
        self.served[first.batch] += len(chosen)
        if self._is_passed(first):
            self.passed[first.batch] += 1
        else:
            self.passed.pop(first.batch, None)

    def lost(self, chosen: Sequence[Waiting]) -> None:
        """Others were quicker; they may have had more of what is here."""
        gone = set(self.window) - self._store.waiting(self.window)
        if gone.isdisjoint(one.key for one in chosen):
            # Somebody is about to claim them, which cannot be seen yet, and may fail.
            gone.update(one.key for one in chosen)
            self.look_again()
        self.remove(gone)

    def _is_passed(self, sent: Waiting) -> bool:
        """Whether one that waits came before it, and is no less urgent."""
        return any(
            one.order < sent.order and one.batch == sent.batch and one.priority >= sent.priority
            for one in self.window.values()
        )

    def _came(self, owner: str) -> None:
        """An owner who had nothing here has something; for having been away nobody gets ahead."""
        others = [self.served[one] for one in self._present]
        level = min(others) if others else max(self.served.values(), default=0)
        self.served[owner] = max(self.served[owner], level)
        self._present.add(owner)
        self._fresh[owner] = None
        if len(self.served) > len(self._present) + _REMEMBERED:
            self._forget(level)

    def _see_off(self, owner: str) -> None:
        """An owner may have nothing left that waits."""
        if owner in self._more or self._here[owner]:
            return
        self._present.discard(owner)
        self._fresh.pop(owner, None)
        self.passed.pop(owner, None)

    def _gone(self, owners: Iterable[str]) -> None:
        """Owners have nothing in the store that waits; what is here of them others have by now."""
        for owner in list(owners):
            self._more.discard(owner)
            self.remove([one.key for one in self.window.values() if one.batch == owner])
            self._see_off(owner)

    def _forget(self, level: int) -> None:
        """Forget what owners had who are away, as far as it says nothing any more."""
        for owner in [one for one, count in self.served.items() if count <= level]:
            if owner not in self._present:
                del self.served[owner]

    def _trim(self) -> None:
        """Leave to the store what an owner has here far beyond its share."""
        if len(self.window) <= 2 * _WINDOW * self._widened:
            return
        share = self._share(())
        for owner in [one for one, count in self._here.items() if count > 2 * share]:
            mine = [one for one in self.window.values() if one.batch == owner]
            mine.sort(key=lambda one: (-one.priority, one.order))
            self._more.add(owner)
            self.remove([one.key for one in mine[share:]])
