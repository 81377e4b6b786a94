"""The jobs that wait, as far as they are looked at, and what each owner has had.

The store may have a million of them; here is a window in which every owner's first jobs are, so
that a choice can be made in a millisecond. Its methods are called under the dispatcher's lock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from .jobs import Job
from .scheduler import Waiting
from .store.store import Store

# Jobs in the window, and how few may be left before more are read from the store.
_WINDOW, _LOW = 192, 64
# Of every owner at least, where there are many.
_EACH, _FEW = 8, 2
# Jobs that it may grow to, where no server takes what is in it.
_MOST = 4096
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
        self._fresh: dict[str, None] = {}
        # jobs in the window, by owner
        self._here: Counter[str] = Counter()
        # owners who have more in the store, and how few of theirs may be left here
        self._more: set[str] = set()
        self._low = 0
        # whether the store may have what was not looked for
        self._is_stale = True
        # by how much the window is larger than usual
        self._widened = 1

    @property
    def fresh(self) -> Sequence[str]:
        """Owners who have had nothing since they came, in the order in which they came."""
        return tuple(self._fresh)

    def job(self, key: str) -> Job:
        """A job of the window."""
        return self._jobs[key]

    def look_again(self) -> None:
        """The store may have something new."""
        self._is_stale = True

    def refill(self) -> None:
        """Read more from the store where there may be more than what is left here."""
        if not self._is_stale and all(self._here[owner] > self._low for owner in self._more):
            return
        if len(self.window) < _LOW:
            self._widened = 1
        room = _WINDOW * self._widened
        limit = max(1, room - len(self.window))
        found = self._store.pending(limit, exclude=self.window.keys(), per_owner=_EACH)
        for job in found:
            self.put(job, self._look_at(job))
        owners = max(1, len(self._here))
        share = max(_EACH, room // owners)
        self._low = max(_FEW, _LOW * self._widened // owners)
        is_cut = len(found) >= limit
        self._more = {owner for owner, count in self._here.items() if is_cut or count >= share}
        self._is_stale = False
        self._trim(2 * share)

    def widen(self) -> bool:
        """Look further, as no server takes what is here; False where there is nothing further."""
        if not self._more or len(self.window) >= _MOST:
            return False
        self._widened *= 2
        self._is_stale = True
        return True

    def put(self, job: Job, waiting: Waiting) -> None:
        """Let a job wait here."""
        self.remove([job.key])
        owner = waiting.batch
        if not self._here[owner] and owner not in self._more:
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
                if owner not in self._more:
                    self._fresh.pop(owner, None)
                    self.passed.pop(owner, None)

    def sent(self, chosen: Sequence[Waiting]) -> None:
        """Jobs of one owner went out."""
        first = chosen[0]
        self.remove([one.key for one in chosen])
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
            self._is_stale = True
        self.remove(gone)

    def _is_passed(self, sent: Waiting) -> bool:
        """Whether one that waits came before it, and is no less urgent."""
        return any(
            one.order < sent.order and one.batch == sent.batch and one.priority >= sent.priority
            for one in self.window.values()
        )

    def _came(self, owner: str) -> None:
        """An owner who had nothing here has something; for having been away nobody gets ahead."""
        others = [self.served[one] for one in {*self._here, *self._more} if one != owner]
        level = min(others) if others else max(self.served.values(), default=0)
        self.served[owner] = max(self.served[owner], level)
        self._fresh[owner] = None
        if len(self.served) > len(self._here) + _REMEMBERED:
            self._forget(level)

    def _forget(self, level: int) -> None:
        """Forget what owners had who are away, as far as it says nothing any more."""
        here = {*self._here, *self._more, *self._fresh}
        for owner in [one for one, count in self.served.items() if count <= level]:
            if owner not in here:
                del self.served[owner]

    def _trim(self, most: int) -> None:
        """Leave to the store what an owner has here far beyond its turn."""
        for owner in [one for one, count in self._here.items() if count > most]:
            mine = [one for one in self.window.values() if one.batch == owner]
            mine.sort(key=lambda one: (-one.priority, one.order))
            self._more.add(owner)
            self.remove([one.key for one in mine[most // 2 :]])
