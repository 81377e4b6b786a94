"""Keeps the servers at work for as long as the service lives.

The dispatcher, the workers and their claims are those of batches. What is different: it is never
over, no server is given up for good, and nothing that happens to one request ends the whole.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ..batch.execution.collecting import Collector
from ..batch.execution.dispatcher import Dispatcher, DispatchSettings
from ..batch.execution.fleet import FleetServer
from ..batch.execution.leases import LEASE, Renewal, new_owner, succeed
from ..batch.execution.server_worker import Recipe, ServerWorker
from ..batch.execution.store.store import Store
from ..batch.execution.takeover import Takeover
from ..batch.logic.assignments import Assignment
from ..batch.logic.jobs import Attempt, Job
from ..batch.logic.messages import fault
from ..errors import SpriteworksError
from ..protocol import Event

logger = logging.getLogger(__name__)

# s between two looks at the workers
_TICK = 0.25
# s after which a server that was given up, or a dispatcher that ended by an error, is tried again
_REST, _LONGEST_REST = 2.0, 60.0
# s that servers have to let go of what waits on them, when the service ends
PARTING = 3.0


@dataclass(frozen=True, kw_only=True)
class ServerView:
    """A server as people see it."""

    name: str
    # whether it is one of ours, that ends with us
    is_ours: bool
    # False while it is set aside
    is_open: bool = True
    # why that is, or the last that was said of it
    words: str = ""
    done: int = 0
    failures: int = 0
    # the worker that has it; "" where the service itself does
    worker: str = ""


class RequestObserver(Protocol):
    """Who is told what becomes of requests; called from several threads, and must be quick."""

    def moved(self, key: str, state: str, server: str, reason: str) -> None:
        """A request is in another state: a `State` value, or "running" once its server runs it."""

    def heard(self, key: str, server: str, event: Event) -> None:
        """A server told something of a request."""

    def failed_once(self, names: Sequence[str], error: str, cause: str) -> None:
        """An attempt failed; what becomes of its requests is told by `moved`."""

    def adopted(self, attempt: Attempt) -> None:
        """A server still has what an earlier process sent."""


class _Observer:
    """Hears the dispatcher and tells the watcher."""

    def __init__(self, loop: Loop, watcher: RequestObserver) -> None:
        self._loop = loop
        self._watcher = watcher

    def happened(self, kind: str, **details: Any) -> None:
        """Pass on what concerns requests and servers."""
        match kind:
            case "state":
                self._watcher.moved(
                    details["key"],
                    details["state"],
                    details.get("server") or "",
                    details.get("reason") or "",
                )
            case "progress":
                self._watcher.heard(details["key"], details["server"], details["event"])
            case "server":
                self._loop.note(details["server"], details["open"], details["words"])
            case "failed":
                self._watcher.failed_once(details["jobs"], details["error"], details["cause"])
            case "note":
                level = logging.WARNING if details["warning"] else logging.INFO
                job = details.get("key", "")
                # What a node says of its job may have some of the prompt; the watcher has said
                # that it failed.
                level = logging.DEBUG if job else level
                more = {"server": details["server"], "job": job}
                logger.log(level, "%s", details["text"], extra=more)


class Loop:
    """The dispatcher of the service and a worker for each server."""

    def __init__(
        self,
        store: Store,
        servers: Sequence[FleetServer],
        recipe_for: Callable[[str], Recipe],
        collector: Collector,
        watcher: RequestObserver,
        fits: Callable[[Job, str], bool],
        settings: DispatchSettings | None = None,
        *,
        is_holder: bool = True,
        dead: Collection[str] = (),
    ) -> None:
        """`is_holder` says whether this process holds the service's folder.

        Then whoever held it before is dead, and what it left is taken up at once, as is that of
        owners who are known to be `dead`; of all others when its lease has run out.
        """
        self._is_holder, self._dead = is_holder, dead
        self._store = store
        self._servers = {server.name: server for server in servers}
        self._recipe_for = recipe_for
        self._collector = collector
        self._watcher = watcher
        self._fits = fits
        self._settings = settings or DispatchSettings(owner=new_owner(), lease=LEASE, endless=True)
        self._observer = _Observer(self, watcher)
        self._views = {
            server.name: ServerView(name=server.name, is_ours=server.is_ours) for server in servers
        }
        self._lock = threading.Lock()
        self._dispatcher: Dispatcher | None = None
        self._takeover: Takeover | None = None
        self._ending = threading.Event()
        # why nothing is handed out for a while
        self._trouble = ""
        self._workers: dict[str, ServerWorker] = {}
        # by server, when its next worker may begin and how long the pause after that is
        self._rests: dict[str, tuple[float, float]] = {}
        self._thread = threading.Thread(target=self._run, name="service loop", daemon=True)

    # ------------------------------------------------------------------ from any thread

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self, seconds: float = PARTING) -> None:
        """Hand out nothing more; what runs after `seconds` stays open, for the next process."""
        self._ending.set()
        dispatcher = self._dispatcher
        if dispatcher is not None:
            dispatcher.stop()
        late = time.monotonic() + seconds
        self._thread.join(max(0.0, late - time.monotonic()))
        for worker in self._at_work():
            worker.abandon()
        self._thread.join(seconds)
        for server in self._servers.values():
            server.stop()

    def drain(self, seconds: float) -> None:
        """Hand out nothing more; what runs has `seconds` to end, and then waits again elsewhere."""
        self._ending.set()
        dispatcher = self._dispatcher
        if dispatcher is not None:
            dispatcher.stop()
            self._thread.join(seconds)
            dispatcher.stop(hurry=True)
        self.stop()

    def arrived(self) -> None:
        """There are new requests in the store."""
        dispatcher = self._dispatcher
        if dispatcher is not None:
            dispatcher.arrived()

    def cancel(self, key: str) -> None:
        """Take a request back, wherever it is; its end is told by `RequestObserver.moved`."""
        dispatcher = self._dispatcher
        if dispatcher is not None:
            dispatcher.cancel(key)

    def sort_anew(self) -> None:
        """What servers can do has changed."""
        dispatcher = self._dispatcher
        if dispatcher is not None:
            dispatcher.sort_anew()

    @property
    def trouble(self) -> str:
        """Why no requests are handed out now; "" where they are."""
        is_running = self._thread.is_alive() and not self._ending.is_set()
        return self._trouble if is_running else "it has ended"

    def servers(self) -> list[ServerView]:
        """All servers, as they are now."""
        dispatcher = self._dispatcher
        found = []
        for name, view in list(self._views.items()):
            counts = dispatcher.server_counts.get(name) if dispatcher else None
            if counts is not None:
                view = replace(view, done=counts.pictures, failures=counts.failures)
            found.append(view)
        return found

    def note(self, server: str, is_open: bool, words: str) -> None:
        """A server was set aside, or taken back."""
        with self._lock:
            if server in self._views:
                view = self._views[server]
                self._views[server] = replace(view, is_open=is_open, words=words)

    # ------------------------------------------------------------------ the loop's thread

    def _run(self) -> None:
        rest = _REST
        while not self._ending.is_set():
            began = time.monotonic()
            try:
                self._shift()
            except SpriteworksError as error:
                self._rests_for(rest, error)
            except Exception as error:  # noqa: BLE001  (the last place before the thread ends)
                self._rests_for(rest, fault(error, "the loop"))
            if self._ending.wait(rest):
                break
            # A disk that is full does not get better by asking.
            rest = _REST if time.monotonic() - began > _LONGEST_REST else min(rest * 2, 60.0)

    def _rests_for(self, seconds: float, error: SpriteworksError) -> None:
        logger.error("the work stops for %.0f s: %s", seconds, error)
        self._trouble = f"the work stops for {seconds:.0f} s: {error}"

    def _shift(self) -> None:
        """Work until the service ends, or the dispatcher does by an error that concerns all."""
        dispatcher = Dispatcher(self._store, self._observer, self._settings, fits=self._fits)
        dispatcher.recall(lambda assignment: ())
        self._rests.clear()
        takeover = Takeover(
            dispatcher,
            self._servers.values(),
            self._recipe_for,
            self._collector,
            adopted=self._watcher.adopted,
        )
        with Renewal(dispatcher, takeover.look):
            for name in self._servers:
                dispatcher.join(name)
            adopted = self._left_behind(takeover)
            self._dispatcher, self._takeover = dispatcher, takeover
            self._trouble = ""
            for server in self._servers.values():
                self._hire(dispatcher, server, adopted.get(server.name, []))
            try:
                while not self._ending.is_set() and dispatcher.stop_error is None:
                    self._ending.wait(_TICK)
                    self._look_after(dispatcher)
            finally:
                dispatcher.stop()
                self._see_off()
        if dispatcher.stop_error is not None:
            raise dispatcher.stop_error

    def _left_behind(self, takeover: Takeover) -> dict[str, list[Assignment]]:
        """What was left by those who are known to be dead, and by this process before an error."""
        if not self._is_holder:
            return takeover.begin(dead=self._dead)
        before = succeed(self._store, self._settings.owner)
        return takeover.begin(all=before is None, dead=[] if before is None else [before])

    def _hire(
        self, dispatcher: Dispatcher, server: FleetServer, adopted: Sequence[Assignment] = ()
    ) -> None:
        worker = ServerWorker(
            server,
            dispatcher,
            self._recipe_for(server.name),
            self._collector,
            adopted=adopted,
        )
        self._workers[server.name] = worker
        worker.start()

    def _look_after(self, dispatcher: Dispatcher) -> None:
        """Give a server another worker where its own has given it up."""
        now = time.monotonic()
        for name, worker in list(self._workers.items()):
            if worker.is_alive() or dispatcher.stopping:
                continue
            due, pause = self._rests.get(name, (0.0, _REST))
            if not due:
                self._rests[name] = now + pause, min(2 * pause, _LONGEST_REST)
            elif now >= due:
                self._rests[name] = 0.0, pause
                dispatcher.join(name)
                self._hire(dispatcher, self._servers[name])

    def _see_off(self) -> None:
        """Wait for the workers: as long as it takes, or until `stop` abandons them."""
        while alive := self._at_work():
            alive[0].join(_TICK)
        self._workers.clear()

    def _at_work(self) -> list[ServerWorker]:
        adopting = [] if self._takeover is None else self._takeover.adopting
        return [one for one in (*list(self._workers.values()), *adopting) if one.is_alive()]
