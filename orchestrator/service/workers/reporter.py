"""Writes down what becomes of requests on a worker's servers, and tells the service of it.

The counterpart of `board.Board` in a process that nobody asks anything: `loop.Watcher` of a worker.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...batch.logic.jobs import Attempt, State
from ...protocol import Event, Graph
from ..standing import Standing
from ..watching import Runs
from .outbox import Kind, Outbox, Told

# Those of which the service needs to know nothing: it is told when the server begins.
_ON_THE_WAY = (State.CLAIMED.value, State.SUBMITTED.value)
# s after which how far a request is has been told often enough
_STILL = 30.0


class Reporter:
    """Hears what becomes of requests, and passes it on."""

    def __init__(
        self,
        standing: Standing,
        news: Outbox,
        graph_of: Callable[[str], Graph],
        forgotten: Callable[[str], None],
        shown: Callable[[str], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`shown` is what a server is called outside of this process."""
        self._standing = standing
        self._news = news
        self._graph_of = graph_of
        self._forgotten = forgotten
        self._shown = shown
        self._clock = clock
        self.runs = Runs()
        self._lock = threading.Lock()
        # when each request moved last, s, monotonic, and how far it is; and whether that is news
        self._progress: dict[str, tuple[float, dict[str, Any]]] = {}
        self._has_moved = False

    def moved(self, key: str, state: str, server: str, reason: str) -> None:
        """A request is in another state."""
        if state in _ON_THE_WAY:
            return
        name = self._shown(server)
        if state == "running":
            self._standing.began(key, name)
            return
        # What is forgotten is forgotten last: where the record is away this is said again.
        if state == State.PENDING.value:
            self._standing.waits_again(key)
        else:
            self._standing.ended(key, State(state), name, reason, self.runs.error(key))
            self._forgotten(key)
        self.runs.ended(key)
        self._forget_progress(key)

    def heard(self, key: str, server: str, event: Event) -> None:
        """A server told something of a request."""
        news = self.runs.heard(key, server, event)
        if news is None or news.progress is None:
            return
        told = {"server": self._shown(server), **news.progress.to_fields()}
        with self._lock:
            self._progress[key] = self._clock(), told
            self._has_moved = True

    def failed_once(self, names: Sequence[str], error: str, cause: str) -> None:
        """An attempt failed."""
        self._standing.failed_once(names, error, cause)
        self._news.tell(*(Told(request=one, kind=Kind.LOG, data={"error": error}) for one in names))

    def adopted(self, attempt: Attempt) -> None:
        """A server still has what an earlier process sent."""
        for shot in attempt.shots:
            self.runs.sent(shot.key, self._graph_of(shot.key), attempt.server)

    def progress(self) -> Mapping[str, Any] | None:
        """How far each request is that moves; None where nothing has changed since it was asked.

        Whoever listens remembers the others. One that another process took over moves no more.
        """
        with self._lock:
            if not self._has_moved:
                return None
            self._has_moved = False
            late = self._clock() - _STILL
            self._progress = {key: one for key, one in self._progress.items() if one[0] > late}
            return {key: told for key, (_, told) in self._progress.items()}

    def _forget_progress(self, key: str) -> None:
        with self._lock:
            self._has_moved = self._progress.pop(key, None) is not None or self._has_moved
