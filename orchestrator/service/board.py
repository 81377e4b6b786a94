"""How requests stand now: what is in memory of them, and what watchers are told.

The record is the truth; here is a copy of what is alive in it, and of what ended last, so that
whoever asks need not wait for the database. The dispatcher tells what happens, from several threads
and under its own lock, which comes before that of the record, which comes before ours.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from ..batch.logic.jobs import Attempt, State
from ..protocol import Event, Graph
from .events import OUTPUT, STATUS, EventHub
from .places import WaitingRequests
from .requests import Requests
from .standing import Standing
from .views import ProgressView, RequestView, Status
from .watching import Runs

logger = logging.getLogger(__name__)

# Requests that have ended and that are kept in memory.
_ENDED = 2048


class Board:
    """The requests that are alive, and the last that ended."""

    def __init__(
        self,
        requests: Requests,
        hub: EventHub,
        standing: Standing,
        graph_of: Callable[[str], Graph],
        forgotten: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`graph_of` gives a request's graph; `forgotten` is told of each that is alive no more."""
        self._requests = requests
        self._hub = hub
        self._standing = standing
        self._graph_of = graph_of
        self._forgotten = forgotten
        self._clock = clock
        self.runs = Runs()
        self._places = WaitingRequests()
        # never held while the record is asked
        self._lock = threading.Lock()
        self._live: dict[str, RequestView] = {}
        self._ended: OrderedDict[str, RequestView] = OrderedDict()
        # who is told of each request that has ended
        self.listeners: list[Callable[[RequestView], None]] = []

    def __len__(self) -> int:
        """How many are alive."""
        return len(self._live)

    def load(self) -> None:
        """Take up what an earlier process left."""
        for id, state, reason in self._requests.unnoticed():
            self.moved(id, state, "", reason)
        self.put(self._requests.live())

    def put(self, views: Iterable[RequestView]) -> None:
        """Requests wait, or a server still runs them."""
        for view in views:
            self._live[view.id] = view
            if view.started_at is None:
                self._places.add(view.id, view.owner, view.priority, view.order)

    def find(self, id: str) -> RequestView | None:
        """A request as far as memory has it; never waits."""
        view = self._live.get(id) or self._ended.get(id)
        return None if view is None else self.dressed(view)

    def live(self) -> list[RequestView]:
        """All that are alive, in no order."""
        return list(self._live.values())

    def dressed(self, view: RequestView) -> RequestView:
        """A view with what changes from moment to moment."""
        if view.status.is_final:
            return view
        live = self._live.get(view.id, view)
        return replace(
            live,
            queue_position=self._places.of(view.id),
            progress=self.runs.progress(view.id) if live.started_at is not None else None,
        )

    def begin(self, view: RequestView, request: str) -> None:
        """A request was taken, which came with an HTTP request."""
        _note(view, "job queued", request=request)
        self.publish_status(view)

    def publish_status(self, view: RequestView) -> None:
        """Tell watchers where a request stands."""
        told = self.status(view)
        self._hub.publish(view.id, STATUS, told, final=view.status.is_final)

    def status(self, view: RequestView) -> dict[str, Any]:
        """What a status event says."""
        return {"status": view.status.value, "queue_position": self._places.of(view.id)}

    def keep_ended(self, view: RequestView) -> None:
        """Keep a request in memory that has ended."""
        with self._lock:
            self._ended[view.id] = view
            while len(self._ended) > _ENDED:
                self._ended.popitem(last=False)

    def forget(self, id: str) -> None:
        """A request has ended, or was not taken."""
        self._places.remove(id)
        with self._lock:
            self._live.pop(id, None)
        self._forgotten(id)

    def forget_ended(self, ids: Iterable[str]) -> None:
        """The record knows requests no more."""
        with self._lock:
            for id in ids:
                self._ended.pop(id, None)

    def mark_cancelling(self, id: str) -> None:
        """A person wants a request no longer; nothing happens where it has ended meanwhile."""
        told = None
        with self._lock:
            live = self._live.get(id)
            if live is not None and live.status is not Status.CANCELING:
                told = self._live[id] = replace(live, status=Status.CANCELING)
        if told is not None:
            self.publish_status(told)

    # ------------------------------------------------------------------- told by the loop

    def moved(self, key: str, state: str, server: str, reason: str) -> None:
        """A request is in another state."""
        # No lock here: the record's own is held by whoever calls, and comes before all others.
        view = self._live.get(key) or self._requests.get(key)
        if view is None:
            return
        if state == "running":
            self._begin(view, server)
        elif state in (State.CLAIMED.value, State.SUBMITTED.value):
            self._live[key] = replace(view, server=server)
        elif state == State.PENDING.value:
            self._wait_again(view)
        else:
            self._end(view, State(state), reason)

    def heard(self, key: str, server: str, event: Event) -> None:
        """A server told something of a request."""
        news = self.runs.heard(key, server, event)
        if news is None:
            return
        if news.progress is not None:
            self._hub.publish(key, "progress", news.progress.to_json())
        if news.preview is not None:
            self._hub.publish(key, "preview", news.preview)

    def failed_once(self, names: Sequence[str], error: str, cause: str) -> None:
        """An attempt failed."""
        self._standing.failed_once(names, error, cause)
        for name in names:
            if (view := self._live.get(name)) is not None:
                # Of the error only its kind: its words may have some of the prompt.
                _note(view, "job attempt failed", logging.WARNING, code=cause)
            self.log(name, error)

    def adopted(self, attempt: Attempt) -> None:
        """A server still has what an earlier process sent."""
        for shot in attempt.shots:
            self.runs.sent(shot.key, self._graph_of(shot.key), attempt.server)

    # ------------------------------------------------------------------- told by workers

    def told(self, id: str, state: str, server: str) -> None:
        """A worker has written down that a request is in another state."""
        view = self._live.get(id)
        if view is None:
            return
        if state == "running":
            self.runs.told(id, server)
            self._show_begun(view, self._clock(), server)
        elif state == State.PENDING.value:
            self._show_waiting(view)
        else:
            self._show_end(view)

    def told_progress(self, id: str, server: str, progress: ProgressView) -> None:
        """A worker tells how far a request is."""
        view = self._live.get(id)
        if view is None or view.started_at is None:
            return
        if self.runs.told(id, server, progress):
            self._hub.publish(id, "progress", progress.to_json())

    def log(self, id: str, error: str) -> None:
        """Tell who watches a request what went wrong with it for once."""
        message = {"level": "warning", "message": error.splitlines()[0]}
        self._hub.publish(id, "log", message)

    # ------------------------------------------------------------------- inside

    def _begin(self, view: RequestView, server: str) -> None:
        if view.status.is_final or view.started_at is not None:
            return
        now = self._standing.began(view.id, server)
        self._show_begun(view, now, server)

    def _show_begun(self, view: RequestView, now: float, server: str) -> None:
        status = Status.CANCELING if view.status is Status.CANCELING else Status.RUNNING
        view = replace(view, status=status, started_at=now, server=server or view.server)
        self._live[view.id] = view
        self._places.remove(view.id)
        _note(view, "job running")
        self.publish_status(view)

    def _wait_again(self, view: RequestView) -> None:
        if view.started_at is not None:
            self._standing.waits_again(view.id)
        self._show_waiting(view)

    def _show_waiting(self, view: RequestView) -> None:
        self.runs.ended(view.id)
        _note(view, "job waits again")
        view = replace(view, status=Status.QUEUED, started_at=None, server="", progress=None)
        self._live[view.id] = view
        self._places.add(view.id, view.owner, view.priority, view.order)
        self.publish_status(view)

    def _end(self, view: RequestView, state: State, reason: str) -> None:
        told = self.runs.error(view.id)
        self._standing.ended(view.id, state, view.server, reason, told)
        self._show_end(view)

    def _show_end(self, view: RequestView) -> None:
        ended = self._requests.get(view.id)
        if ended is not None and ended.status is Status.SUCCEEDED and view.started_at is None:
            # So short a job that its server's word of the end came first: it ran all the same.
            begun = self._clock() if ended.started_at is None else ended.started_at
            self._show_begun(view, begun, ended.server)
        self.runs.ended(view.id)
        self.forget(view.id)
        if ended is None:
            return
        self.keep_ended(ended)
        for output in ended.outputs:
            self._hub.publish(view.id, OUTPUT, output.to_json())
        self.publish_status(ended)
        _note_end(ended)
        for tell in self.listeners:
            tell(ended)


def _note(view: RequestView, words: str, level: int = logging.INFO, **more: Any) -> None:
    if not logger.isEnabledFor(level):
        return
    fields = {"job": view.id, "key": view.owner, "server": view.server, **more}
    if (trace := view.trace) is not None:
        fields |= {"trace": trace.trace_id, "span": trace.span_id}
    logger.log(level, words, extra=fields)


def _note_end(view: RequestView) -> None:
    begun = view.started_at if view.started_at is not None else view.ended_at
    seconds = (view.ended_at or 0.0) - (begun or 0.0)
    error = view.error
    failed = {} if error is None else {"code": error.code, "node": error.node_id}
    level = logging.INFO if error is None else logging.WARNING
    _note(view, f"job {view.status.value}", level, ms=round(1000 * seconds, 1), **failed)
