"""Takes requests: all of a post or none, each once, within what their owner may ask for."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..errors import RequestRefused
from .admission import Admission, checked_labels
from .board import Board
from .limits import Limits
from .manifests import MOST_JOBS
from .requests import Filter, New, Once, Requests
from .supplies import Supplies
from .tracing import Trace
from .views import RequestView, traced

_MOST_PRIORITY = 100
# the label that the pictures of one manifest share
BATCH = "batch"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the service treats requests."""

    # s that results stay
    retention: float = 7 * 24 * 3600.0
    # requests of all together that may wait
    most_waiting: int = 20_000


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who asks; without keys everybody is the same."""

    owner: str = ""
    limits: Limits = field(default_factory=Limits)
    # which request asks, and where that is in whose trace; "" and None outside of HTTP
    request: str = ""
    trace: Trace | None = None


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A graph to run, and what goes with it."""

    # as it was posted
    workflow: Any
    labels: Mapping[str, str] = field(default_factory=dict)
    # higher goes first, among the requests of all
    priority: int = 0
    # logins for nodes that ask other services; in memory only, unless a worker may make it
    secrets: Mapping[str, str] = field(default_factory=dict)
    extra_data: Mapping[str, Any] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    # URL that is told of its end; it was looked at by `Service.check_webhook`
    webhook: str = ""


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """Requests that were taken, one or more."""

    views: Sequence[RequestView]
    # True where their idempotency key had been seen before
    replayed: bool = False

    @property
    def view(self) -> RequestView:
        """The first of them."""
        return self.views[0]


class Intake:
    """Takes requests; for any number of threads."""

    def __init__(
        self,
        requests: Requests,
        board: Board,
        admission: Admission,
        supplies: Supplies,
        settings: Settings,
        *,
        is_alone: Callable[[], bool],
        arrived: Callable[[Collection[str]], None],
        clock: Callable[[], float],
    ) -> None:
        """`is_alone` says whether nobody but this process makes requests.

        `arrived` is told of the models of those that were taken.
        """
        self._requests = requests
        self._board = board
        self._admission = admission
        self._supplies = supplies
        self._settings = settings
        self._is_alone = is_alone
        self._arrived = arrived
        self._clock = clock
        self._lock = threading.Lock()
        # (owner, idempotency key) of what is being taken
        self._in_flight: set[tuple[str, str]] = set()

    def submit(
        self, caller: Caller, prepare: Callable[[], Sequence[Wanted]], once: Once | None = None
    ) -> Submitted:
        """Take requests, all or none. `prepare` says what is wanted, and may refuse.

        With `once` they are taken once, however often they are posted. Raises RequestRefused,
        LimitReached and their kin.
        """
        if once is None:
            views = self._take(caller, prepare())
            assert views is not None
            return Submitted(views=views)
        if (known := self._replayed(caller, once)) is not None:
            return known
        with self._alone(caller, once):
            views = self._take(caller, prepare(), once)
        if views is not None:
            return Submitted(views=views)
        # Another process was sooner.
        known = self._replayed(caller, once)
        if known is None:
            raise RequestRefused("idempotency_conflict", _IN_FLIGHT, retry_after=1.0)
        return known

    def _take(
        self, caller: Caller, wanted: Sequence[Wanted], once: Once | None = None
    ) -> list[RequestView] | None:
        """Write requests down and let them wait; None where their key is taken."""
        self._check_queue(caller, len(wanted))
        now = self._clock()
        news = [self._new(caller, one, now) for one in wanted]
        for new, one in zip(news, wanted, strict=True):
            self._supplies.keep(new.id, new.graph, one.secrets)
        pairs = [] if self._is_alone() else zip(news, wanted, strict=True)
        logins = {new.id: one.secrets for new, one in pairs if one.secrets}
        views = None
        try:
            # Before anybody else sees the rows: the next moment a server may have them.
            views = self._requests.add(news, self._board.put, once, logins)
        finally:
            if views is None:
                for new in news:
                    self._board.forget(new.id)
        if views is None:
            return None
        for view in views:
            self._board.begin(view, caller.request)
        self._arrived({new.model for new in news})
        return [self._board.dressed(view) for view in views]

    def _new(self, caller: Caller, wanted: Wanted, now: float) -> New:
        graph = self._admission.graph_of(caller.owner, wanted.workflow)
        self._admission.check_size(caller.limits, graph)
        return New(
            id=str(uuid.uuid4()),
            owner=caller.owner,
            graph=graph,
            model=self._admission.model_of(graph),
            created_at=now,
            expires_at=now + self._settings.retention,
            priority=max(-_MOST_PRIORITY, min(wanted.priority, _MOST_PRIORITY)),
            extra_data=wanted.extra_data,
            notes={**wanted.notes, **traced(caller.trace)},
            warnings=wanted.warnings,
            labels=checked_labels(wanted.labels),
            nodes=len(graph),
            webhook=wanted.webhook,
        )

    def _replayed(self, caller: Caller, once: Once) -> Submitted | None:
        known = self._requests.known(caller.owner, once.key, self._clock())
        if known is None:
            return None
        id, fingerprint = known
        if fingerprint != once.fingerprint:
            raise RequestRefused(
                "idempotency_key_reuse",
                "this Idempotency-Key came with another request before; take a new one for each",
            )
        first = self._requests.get(id)
        if first is None:
            return None
        batch = first.labels.get(BATCH) if BATCH in first.notes else None
        if batch is None:
            return Submitted(views=[self._board.dressed(first)], replayed=True)
        mine = Filter(owner=caller.owner, labels={BATCH: batch})
        found = self._requests.page(mine, MOST_JOBS)
        return Submitted(
            views=[self._board.dressed(view) for view in reversed(found)], replayed=True
        )

    @contextmanager
    def _alone(self, caller: Caller, once: Once) -> Iterator[None]:
        mark = caller.owner, once.key
        with self._lock:
            if mark in self._in_flight:
                raise RequestRefused("idempotency_conflict", _IN_FLIGHT, retry_after=1.0)
            self._in_flight.add(mark)
        try:
            yield
        finally:
            with self._lock:
                self._in_flight.discard(mark)

    def _check_queue(self, caller: Caller, count: int) -> None:
        if len(self._board) + count > self._settings.most_waiting:
            raise RequestRefused("queue_full", "too many requests wait; try again", retry_after=5.0)
        if caller.limits.queue is not None:
            mine = sum(one.owner == caller.owner for one in self._board.live())
            caller.limits.check_queue(mine, count)


_IN_FLIGHT = "a request with this Idempotency-Key is being taken right now; try again"
