"""A worker: the service's loop in a process of its own, over servers of its own.

It claims from the record, so that a worker which is killed, frozen or cut off costs its jobs at
most a lease. Nobody asks it anything: what it does it tells through the database.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from ...addresses import is_loopback
from ...batch.execution.dispatcher import DispatchSettings as Rules
from ...batch.execution.fleet import Care, FleetServer, Processes, fleet
from ...batch.execution.leases import LEASE, new_owner
from ...batch.execution.store.store import Store
from ...batch.logic.jobs import Job
from ...batch.logic.messages import fault
from ...batch.logic.scheduler import Rules as Choosing
from ...client.client import Client
from ...errors import OtherVersion, SpriteworksError, StoreError, WorkerReplaced
from ...local.serving import Choice
from ...protocol import Graph
from ..admission import plain
from ..assets import Assets
from ..catalogues import Catalogues, Known, models_of
from ..loop import Loop
from ..prompting import Workflows
from ..recipe import IntoStorage, RequestRecipe
from ..requests import Requests
from ..standing import Standing
from ..storage import Storage
from ..supplies import Supplies
from ..waking.opening import check_broker
from ..waking.reconciler import awake
from ..webhooks import Webhooks
from .catalogue_store import CatalogueStore
from .joining import ServiceHome, check_version, files_of, record_of
from .logins import Logins
from .outbox import Kind, Outbox, Told
from .registry import BEAT, Registry, Stage, WorkerServer
from .reporter import Reporter

logger = logging.getLogger(__name__)

# s between two messages of how far requests are
_PROGRESS = 0.5
# s between two looks at what servers have and how much memory is left, and s that one has to answer
_LOOK, _PATIENCE = 30.0, 10.0
# A worker does not see which models the servers of others have loaded: jobs are left to those for
# as long as it takes all workers to look once. Nor does it see whom others serve: everybody is new
# to each of them, so that being new must not go before the loaded model; see docs/scaling.md.
_BESIDE_OTHERS = Choosing(head_start=1.0, newcomers_first=False)
# s for which a worker that stops waits, when nobody says otherwise, for what runs
DRAIN = 300.0


@dataclass(frozen=True, kw_only=True)
class WorkerSetup:
    """What a worker works on, and with which servers."""

    service: ServiceHome
    choice: Choice
    # "" is the machine's name and a number
    name: str = ""
    care: Care = field(default_factory=Care)


class WorkerProcess:
    """One worker; there may be several in a process."""

    def __init__(self, store: Store, storage: Storage, setup: WorkerSetup) -> None:
        """Take a name; raises UsageError where another worker has it."""
        owner = new_owner()
        self._store = store
        self._registry = Registry(store.database)
        enlisted = self._registry.enlist(owner, setup.name)
        self.worker = enlisted.worker
        self._processes = Processes.of_this_process(store)
        prefix = f"{self.worker.name}/"
        self._servers = fleet(setup.choice, setup.care, store, self._processes, prefix)
        self._catalogue_store = CatalogueStore(store.database)
        self._catalogues = Catalogues(self._learnt)
        # by server, the hash of the catalogue that it has
        self._kept_catalogues: dict[str, tuple[Known, str]] = {}
        requests = Requests(store)
        news = Outbox(store.database)

        def tell(id: str, state: str, server: str, reason: str) -> None:
            news.tell(Told(request=id, kind=Kind.MOVED, data={"state": state, "server": server}))

        standing = Standing(store, requests, Webhooks(store.database), time.time, tell)
        supplies = Supplies(
            requests,
            Assets(store.database, storage),
            Workflows(),
            self._about_to_send,
            Logins(store.database).of,
        )
        self._supplies = supplies
        self._reporter = Reporter(standing, news, supplies.graph, self._forget, self._shown)
        self._loop = Loop(
            store,
            self._servers,
            lambda server: RequestRecipe(server, self._catalogues, supplies, supplies),
            IntoStorage(supplies, supplies),
            self._reporter,
            self._fits,
            Rules(owner=owner, lease=LEASE, endless=True, rules=_BESIDE_OTHERS),
            is_holder=False,
            dead=[enlisted.predecessor] if enlisted.predecessor else [],
        )
        self._told: list[WorkerServer] = []
        # why it cannot go on; None while it can
        self.trouble: SpriteworksError | None = None
        self._has_started = False
        self._ended = threading.Event()
        self._changed = threading.Event()
        self._teller = threading.Thread(
            target=self._guarded, args=[self._tell], name="beats", daemon=True
        )
        self._looker = threading.Thread(
            target=self._guarded, args=[self._look], name="looks", daemon=True
        )

    # ------------------------------------------------------------------ from any thread

    def start(self) -> None:
        """Begin to claim."""
        self._processes.end_orphans()
        self._has_started = True
        self._loop.start()
        self._teller.start()
        self._looker.start()

    def drain(self, seconds: float = DRAIN) -> None:
        """Claim nothing more; what runs has `seconds` to end, and what is left waits again."""
        self.worker = replace(self.worker, stage=Stage.DRAINING)
        self._changed.set()
        self._loop.drain(seconds)

    def close(self) -> None:
        """End; what still runs is taken over by others when its lease has run out."""
        self._ended.set()
        if self._has_started:
            self._loop.stop()
        for thread in (self._teller, self._looker):
            if thread.is_alive():
                thread.join(_PATIENCE)
        try:
            self._registry.leave(self.worker)
        except StoreError as error:
            logger.info("nobody was told that this worker ends: %s", error)

    def arrived(self) -> None:
        """There may be more to do."""
        self._loop.arrived()

    def servers(self) -> list[WorkerServer]:
        """Its servers, as others see them."""
        return [self._state_of(server) for server in self._servers]

    def models(self) -> set[str]:
        """The models that its servers list, as far as they have told."""
        every = (models_of(one.catalogue) for one in self._catalogues.known.values())
        return set().union(*every)

    # ------------------------------------------------------------------ what requests need

    def _fits(self, job: Job, server: str) -> bool:
        return self._catalogues.fits(job.key, lambda: plain(self._supplies.graph(job.key)), server)

    def _about_to_send(self, key: str, server: str, graph: Graph) -> None:
        self._reporter.runs.sent(key, graph, server)

    def _forget(self, key: str) -> None:
        self._supplies.forget(key)
        self._catalogues.forget(key)

    def _shown(self, server: str) -> str:
        """What a server is called outside: an address of this machine means nothing elsewhere."""
        return f"{self.worker.host}/{server}" if _is_here(server) else server

    def _learnt(self) -> None:
        self._loop.sort_anew()
        self._changed.set()

    # ------------------------------------------------------------------ threads of its own

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001  (the last place before the thread ends)
            self._give_up(fault(error, self.worker.name))

    def _tell(self) -> None:
        """Beat, and tell how far requests are, until the worker ends."""
        due = 0.0
        lost = ""
        while not self._ended.is_set():
            try:
                if self._changed.is_set() or time.monotonic() >= due:
                    self._changed.clear()
                    self._beat()
                    due = time.monotonic() + BEAT
                if (progress := self._reporter.progress()) is not None:
                    self._registry.tell_progress(self.worker, progress)
                lost = ""
            except WorkerReplaced as error:
                self._give_up(error)
                return
            except StoreError as error:
                if not lost:
                    logger.warning("nobody can be told how this worker is for now: %s", error)
                lost = str(error)
            self._ended.wait(_PROGRESS)

    def _beat(self) -> None:
        having = self.servers()
        self._registry.beat(self.worker, None if having == self._told else having)
        self._told = having

    def _state_of(self, server: FleetServer) -> WorkerServer:
        (view,) = (one for one in self._loop.servers() if one.name == server.name)
        known = self._catalogues.known.get(server.name)
        shown = replace(view, name=self._shown(server.name), worker=self.worker.name)
        if known is None:
            words = view.words or "it has not answered yet"
            return WorkerServer(view=replace(shown, is_open=False, words=words))
        return WorkerServer(
            view=shown,
            stats=known.stats,
            catalogue=self._kept_catalogue(server.name, known),
        )

    def _kept_catalogue(self, server: str, known: Known) -> str:
        kept = self._kept_catalogues.get(server)
        if kept is None or kept[0].catalogue is not known.catalogue:
            kept = known, self._catalogue_store.put(known.catalogue)
            self._kept_catalogues[server] = kept
        return kept[1]

    def _look(self) -> None:
        """See now and then what servers have and how they do, and that the record is as before."""
        while not self._ended.wait(_LOOK) and self.trouble is None:
            try:
                check_version(self._store.database)
            except OtherVersion as error:
                self._give_up(error)
            except StoreError as error:
                logger.info("the version of the record is not known for now: %s", error)
            for server in self._servers:
                if server.name in self._catalogues.known and not self._ended.is_set():
                    self._ask(server)

    def _ask(self, server: FleetServer) -> None:
        before = self._catalogues.of(server.name)
        try:
            with server.connected() as client, client.at_most(_PATIENCE):
                found = _known(client)
        except SpriteworksError as error:
            logger.info("%s does not tell how it does: %s", server.name, error)
            return
        if found.catalogue.raw == before.raw:
            self._catalogues.note(server.name, found.stats)
        else:
            self._catalogues.learn(server.name, found)

    def _give_up(self, error: SpriteworksError) -> None:
        self.trouble = error
        logger.error("%s", error)


def _known(client: Client) -> Known:
    return Known(catalogue=client.catalogue(), stats=client.system_stats())


def _is_here(server: str) -> bool:
    return "://" in server and is_loopback(urlsplit(server).hostname or "")


@contextmanager
def joined(setup: WorkerSetup) -> Iterator[WorkerProcess]:
    """A worker that has its name and is woken, not started yet; closed at the end."""
    where = setup.service
    # Mistakes are told before anything is written.
    check_broker(where.broker)
    with record_of(where) as store, ExitStack() as stack:
        worker = WorkerProcess(store, files_of(where, store), setup)
        stack.callback(worker.close)
        wakeups = stack.enter_context(
            awake(store.database, where.database, where.broker, worker.worker.name)
        )
        stack.enter_context(wakeups.listen(worker.arrived, worker.models))
        yield worker
