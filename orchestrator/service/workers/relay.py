"""Lets the service know what workers do: the counterpart of `reporter` in the service's process.

What workers tell comes as rows that are taken away (`outbox`), as their own rows (`registry`), and
every few seconds from the requests themselves, in case that somebody was killed between the two.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from ...batch.execution.store.store import Store
from ...batch.logic.messages import fault
from ...errors import SpriteworksError, StoreError
from ..board import Board
from ..catalogues import Catalogues, Known
from ..loop import ServerView
from ..requests import Requests
from ..views import ProgressView
from .catalogue_store import CatalogueStore
from .outbox import Kind, Outbox, Told
from .registry import Registry, Worker, WorkerServer

logger = logging.getLogger(__name__)

# s between two looks for news, for progress, at the workers, and at all requests that are alive
_NEWS, _PROGRESS, _WORKERS, _ALL = 0.2, 0.5, 1.0, 5.0
# how many times as long as the latter takes it rests at least
_SHARE = 50
# s between two rounds of forgetting
_TIDYING = 600.0
# s for which a server counts for what is let in after its worker gave its last sign: requests wait
# while workers are started anew
_REMEMBERED = 600.0


@dataclass(frozen=True, kw_only=True)
class Remote:
    """A server of a worker, as the service shows it."""

    worker: Worker
    view: ServerView
    known: Known | None


class Relay:
    """A thread that hears what workers tell."""

    def __init__(
        self,
        store: Store,
        board: Board,
        requests: Requests,
        catalogues: Catalogues,
        ended: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`ended` is told when requests may have come to their end on workers."""
        self._ended = ended
        self.registry = Registry(store.database)
        self._catalogue_store = CatalogueStore(store.database)
        self._news = Outbox(store.database)
        self._board = board
        self._requests = requests
        self._catalogues = catalogues
        self._clock = clock
        self._workers: list[Worker] = []
        self._having: list[WorkerServer] = []
        self._remotes: list[Remote] = []
        # by the hash of its catalogue, what is known of each server that counts
        self._known: dict[str, tuple[str, Known]] = {}
        # what did not agree with the record when it was last compared
        self._odd: set[tuple[str, str]] = set()
        self._due = dict.fromkeys(("progress", "workers", "all", "tidying"), 0.0)
        self._trouble = ""
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)

    # ------------------------------------------------------------------ from any thread

    def start(self) -> None:
        """Begin to hear."""
        self._thread.start()

    def stop(self, seconds: float = 3.0) -> None:
        """Hear nothing more."""
        self._ending.set()
        self._thread.join(seconds)

    def workers(self) -> list[tuple[Worker, list[WorkerServer]]]:
        """All that gave a sign within a day, and their servers, as they were a moment ago."""
        having = list(self._having)
        return [
            (worker, [one for one in having if one.worker == worker.name])
            for worker in list(self._workers)
        ]

    def remotes(self) -> list[Remote]:
        """The servers of workers that are there."""
        return list(self._remotes)

    @property
    def any(self) -> bool:
        """Whether any worker is there."""
        return any(one.is_there for one in self._workers)

    # ------------------------------------------------------------------ the relay's thread

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                self._turn()
                if self._trouble:
                    logger.info("the record can be reached again")
                self._trouble = ""
            except StoreError as error:
                self._ill(error)
            except Exception as error:  # noqa: BLE001  (the last place before the thread ends)
                self._ill(fault(error, "the relay"))
            self._ending.wait(_NEWS if self.any else _WORKERS)

    def _ill(self, error: SpriteworksError) -> None:
        if not self._trouble:
            logger.warning("what workers do is not known for now: %s", error)
        self._trouble = str(error)

    def _turn(self) -> None:
        if self._is_due("workers", _WORKERS):
            self._look_at_workers()
        if not self._workers:
            return
        while told := self._news.take():
            for one in told:
                self._hear(one)
            self._ended()
        if self._is_due("progress", _PROGRESS) and self.any:
            self._look_at_progress()
        if self._is_due("all", _ALL):
            began = self._clock()
            self._compare()
            # 20,000 that wait take 0.2 s
            self._due["all"] = began + max(_ALL, _SHARE * (self._clock() - began))
        if self._is_due("tidying", _TIDYING):
            self.registry.forget_old()
            self._catalogue_store.clear()

    def _is_due(self, what: str, every: float) -> bool:
        now = self._clock()
        if now < self._due[what]:
            return False
        self._due[what] = now + every
        return True

    def _hear(self, told: Told) -> None:
        if told.kind is Kind.LOG:
            self._board.log(told.request, told.data["error"])
        else:
            self._board.told(told.request, told.data["state"], told.data["server"])

    def _look_at_progress(self) -> None:
        for request, told in self.registry.progress().items():
            server = told.pop("server")
            self._board.told_progress(request, server, ProgressView(**told))

    def _look_at_workers(self) -> None:
        self._workers = self.registry.workers()
        if not self._workers:
            return
        by_name = {one.name: one for one in self._workers}
        self._having = self.registry.servers()
        counted = [one for one in self._having if self._counts(by_name, one)]
        for one in counted:
            self._learn(one)
        gone = set(self._known) - {one.view.name for one in counted}
        if gone:
            self._catalogues.drop(gone)
            self._known = {name: one for name, one in self._known.items() if name not in gone}
        # Where two workers feed one server, it is shown once.
        there = {one.view.name: one for one in counted if by_name[one.worker].is_there}
        self._remotes = [self._remote(by_name[one.worker], one) for one in there.values()]

    def _counts(self, by_name: dict[str, Worker], one: WorkerServer) -> bool:
        worker = by_name.get(one.worker)
        return worker is not None and worker.age < _REMEMBERED

    def _learn(self, one: WorkerServer) -> None:
        """Know what a server has, and how it does."""
        name, before = one.view.name, self._known.get(one.view.name)
        if one.stats is None or not one.catalogue:
            return
        if before is not None and before[0] == one.catalogue:
            if before[1].stats != one.stats:
                known = replace(before[1], stats=one.stats)
                self._known[name] = one.catalogue, known
                self._catalogues.note(name, one.stats)
            return
        catalogue = next(
            (known.catalogue for hash, known in self._known.values() if hash == one.catalogue), None
        ) or self._catalogue_store.get(one.catalogue)
        if catalogue is not None:
            known = Known(catalogue=catalogue, stats=one.stats)
            self._known[name] = one.catalogue, known
            self._catalogues.learn(name, known)

    def _remote(self, worker: Worker, one: WorkerServer) -> Remote:
        known = self._known.get(one.view.name)
        return Remote(worker=worker, view=one.view, known=known[1] if known else None)

    def _compare(self) -> None:
        """Heed what nobody told of, as when a worker was killed just then.

        What is odd at one time only may be on its way here.
        """
        alive = {view.id: view for view in self._board.live()}
        ended = {id: (state, reason) for id, state, reason in self._requests.unnoticed()}
        standings = self._requests.standings()
        odd = {(id, "unnoticed") for id in ended}
        odd |= {(id, "ended") for id in set(alive) - set(standings) - set(ended)}
        for id in set(alive) & set(standings):
            runs, _ = standings[id]
            if runs != (alive[id].started_at is not None):
                odd.add((id, "running" if runs else "pending"))
        for id, what in odd & self._odd:
            if what == "unnoticed":
                state, reason = ended[id]
                self._board.moved(id, state, "", reason)
            else:
                self._board.told(id, what, standings[id][1] if id in standings else "")
        self._odd = odd
