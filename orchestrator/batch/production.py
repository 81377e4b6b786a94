"""A batch from its manifest to its pictures: plan, run, status, retry, cancel.

`run` is start and resume in one: it plans what the manifest wants, sees what is there, looks for
what an earlier run left on the servers, and makes the rest. `join` helps with that on more servers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

from ..client.client import Client
from ..errors import (
    GraphError,
    ProtocolError,
    ServerError,
    ServerUnreachable,
    SpriteworksError,
    UsageError,
)
from ..local.interrupts import Interrupts
from ..local.serving import Choice
from ..runs.pictures import find_picture
from ..runs.workflows import read_document
from ..workflow.catalogue import Catalogue
from ..workflow.checking import check
from ..workflow.conversion import load
from ..workflow.document import Document
from ..workflow.graph import Form
from .execution import manifest_files as manifest_file
from .execution import plan as planned
from .execution.collecting import IntoFolder, prepare_folder
from .execution.dispatcher import Dispatcher, DispatchSettings
from .execution.fleet import Care, FleetServer, Processes, fleet
from .execution.judging import judge_again, sort_out_duplicates
from .execution.leases import LEASE, Renewal, new_owner, succeed
from .execution.opening import record_of
from .execution.plan import Estimate, Planned
from .execution.recipes import Recipes
from .execution.server_worker import ServerWorker
from .execution.sources import Sources, text_of
from .execution.store.folder_lock import held
from .execution.store.fresh import Fresh, fresh
from .execution.store.kept_plan import is_kept, keep
from .execution.store.pictures import PARTS
from .execution.store.store import PlanDiff, Store, settled
from .execution.store.verification import verify
from .execution.takeover import Takeover
from .logic.assignments import Assignment
from .logic.jobs import Job, State, counted
from .logic.messages import BatchObserver, fault
from .logic.planning import Planner
from .reporting.export import export, export_pictures
from .reporting.review import retry_rejected
from .reporting.status import cancel, left_in, retry, status

# s between two looks of the main thread
_TICK = 0.2
# s that servers have to let go of what runs, where the run ends by an error of whoever watches
_PARTING = 2.0
# looks for which nothing is left to do before workers are no longer waited for
_PATIENCE = 10

__all__ = [
    "BatchRequest",
    "BatchResult",
    "Plan",
    "cancel",
    "export",
    "join",
    "plan",
    "retry",
    "retry_rejected",
    "run",
    "status",
]


@dataclass(frozen=True, kw_only=True)
class BatchRequest:
    """What to run and where."""

    # not read by `join`
    manifest: Path
    out: Path
    choice: Choice
    care: Care = field(default_factory=Care)
    # pictures in one graph; None leaves it to the manifest
    batch_size: int | None = None
    # URL of the database for the record; "" is a file in the folder, or what the folder names
    store: str = ""
    # s for which an attempt is held, see `leases`
    lease: float = LEASE


@dataclass(frozen=True, kw_only=True)
class BatchResult:
    """How a run ended."""

    counts: dict[State, int]
    # the signal by which a person ended it; 0 where nobody did
    signal: int = 0
    # pictures that the manifest's `export` could make nothing of
    unexported: int = 0

    @property
    def stopped(self) -> bool:
        """True where a person ended it."""
        return self.signal > 0

    @property
    def is_complete(self) -> bool:
        """True where every picture that is wanted is there."""
        counts = counted(self.counts)
        return counts["done"] == counts["total"]

    @property
    def words(self) -> str:
        """One sentence for the log."""
        counts = counted(self.counts)
        parts = [f"{count} {name}" for name, count in counts.items() if count and name != "total"]
        state = "complete" if self.is_complete else "stopped" if self.stopped else "ended"
        return f"the run is {state}: {', '.join(parts) or 'nothing was wanted'}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run would do."""

    diff: PlanDiff
    counts: dict[State, int]
    # {server: why it cannot take part; "" where it can}
    servers: dict[str, str]
    # how long the rest may take; None where nothing is known
    estimate: Estimate | None


# ------------------------------------------------------------------------------- run


def run(request: BatchRequest, observer: BatchObserver) -> BatchResult:
    """Make what is missing. Raises what ends a run before its time, after putting things in order.

    Raises BatchBusy, and does nothing, where another orchestrator is at work in the folder.
    """
    with (
        fresh(request.out, [PARTS]) as folder,
        held(request.out),
        record_of(request.out, url=request.store) as store,
    ):
        left = Processes(store).end_leftovers()
        if left:
            store.log(f"ended {left} server processes that a run before this one left behind")
        owner = new_owner()
        before = succeed(store, owner)
        others = [one.id for one in store.open_attempts() if before not in (None, one.owner)]
        prepare_folder(request.out, others)
        servers = fleet(request.choice, request.care, store)
        try:
            result = _run(request, store, servers, observer, Succession(owner, before), folder)
        finally:
            for server in servers:
                server.stop()
        return result if result.stopped else _exported(result, store, request.out, observer)


def join(request: BatchRequest, observer: BatchObserver) -> BatchResult:
    """Help with what a run has planned in `request.out`, until all of it is done.

    Plans nothing, and leaves what is done with all pictures together to the run. Several may join,
    on any machine that sees the folder and the database at the same places. Raises UsageError where
    nothing is planned, StoreError where there is no batch.
    """
    if not request.out.is_dir():
        raise UsageError(f"{request.out} is no folder; --join takes that of a batch that was run")
    with record_of(request.out, create=False) as store:
        known = planned.recall(store)
        if known is None:
            raise UsageError(f"nothing is planned in {request.out} yet; run its manifest first")
        prepare_folder(request.out, None)
        Processes(store).end_orphans()
        succession = Succession(new_owner(), None, joined=True)
        servers = fleet(request.choice, request.care, store, Processes.of_this_process(store))
        try:
            signal = (
                0
                if settled(store.counts())
                else _help(request, store, servers, observer, succession, known)
            )
        finally:
            for server in servers:
                server.stop()
        return _told_end(store, signal, observer)


def _help(
    request: BatchRequest,
    store: Store,
    servers: list[FleetServer],
    observer: BatchObserver,
    succession: Succession,
    known: Planned,
) -> int:
    """Make what another run has planned; returns the signal that ended it, or 0."""
    info, planner = first_planner(servers, lambda info: planner_for(known.workflow, info))
    recipes = Recipes(planner, info, known.workflow, store, canvas_of(known.workflow))
    settings = _settings(request, known, succession)
    names = ", ".join(server.name for server in servers)
    _tell([f"{succession.owner} joins with {names}"], store, observer, warning=False)
    return _make(request, store, servers, recipes, settings, observer, succession)


def _settings(request: BatchRequest, known: Planned, succession: Succession) -> DispatchSettings:
    return DispatchSettings(
        batch_size=request.batch_size or known.manifest.batch_size,
        owner=succession.owner,
        lease=request.lease,
    )


@dataclass(frozen=True)
class Succession:
    """Who works now, and who held the folder before; None where that is not known."""

    owner: str
    before: str | None
    # whether others may be at work who hold the folder
    joined: bool = False


def _run(
    request: BatchRequest,
    store: Store,
    servers: list[FleetServer],
    observer: BatchObserver,
    succession: Succession,
    folder: Fresh,
) -> BatchResult:
    known = planned.recall(store, request.manifest)
    # mistakes are told before a server is started
    fresh = None if known else loaded(request.manifest)
    if fresh is not None:
        file, document = fresh
        info, planner = first_planner(
            servers, lambda info: planner_for(file.workflow, info, file.sources, document)
        )
        _tell_plan(store, planned.plan(file, planner, store), observer)
        _tell(planner.notes(), store, observer)
        keep(request.out, request.manifest, info)
        folder.keep()
        known = Planned(manifest=file.manifest, workflow=file.workflow)
        planner = planner_for(known.workflow, info)
    else:
        assert known is not None
        workflow = known.workflow
        info, planner = first_planner(servers, lambda info: planner_for(workflow, info))
        if not is_kept(request.out):
            # planned by a version that kept nothing
            keep(request.out, request.manifest, info)
    canvas = canvas_of(known.workflow)
    recipes = Recipes(planner, info, known.workflow, store, canvas)
    _tell(verify(store, request.out).sentences(), store, observer)
    _tell(judge_again(store, request.out), store, observer)
    settings = _settings(request, known, succession)
    again = True
    while again:
        signal = _make(request, store, servers, recipes, settings, observer, succession)
        # Only now all twins are known.
        said, again = ([], False) if signal else sort_out_duplicates(store, request.out)
        _tell(said, store, observer)
    _tell(_without_graph(store), store, observer)
    return _told_end(store, signal, observer)


def _told_end(store: Store, signal: int, observer: BatchObserver) -> BatchResult:
    result = BatchResult(counts=store.counts(), signal=signal)
    store.log(result.words)
    observer.happened(
        "end", complete=result.is_complete, stopped=result.stopped, **counted(result.counts)
    )
    return result


def _exported(result: BatchResult, store: Store, out: Path, observer: BatchObserver) -> BatchResult:
    """Make of the pictures that are there what the manifest wants of them together."""
    known = planned.recall(store)
    if known is None or known.manifest.export is None:
        return result
    _tell(["exporting the pictures"], store, observer, warning=False)
    found = export_pictures(store, out, known.manifest.export)
    for text, warning in found.sentences():
        _tell([text], store, observer, warning=warning)
    observer.happened("export", folder=str(found.folder), **found.to_json())
    return replace(result, unexported=len(found.errors))


def loaded(manifest: Path) -> tuple[manifest_file.ManifestFile, Document]:
    """A manifest and its workflow, as far as both can be checked without a server."""
    file = manifest_file.load(manifest)
    return file, _read(file.workflow, file.sources)


def _make(
    request: BatchRequest,
    store: Store,
    servers: list[FleetServer],
    recipes: Recipes,
    settings: DispatchSettings,
    observer: BatchObserver,
    succession: Succession,
) -> int:
    """Make what is missing; returns the signal that ended it, or 0. Raises what else ended it."""
    dispatcher = Dispatcher(store, observer, settings, can_batch=recipes.can_batch)
    dispatcher.recall(recipes.rungs)
    collector = IntoFolder(request.out)
    takeover = Takeover(dispatcher, servers, lambda server: recipes, collector, care=request.care)
    with Renewal(dispatcher, takeover.look):
        for server in servers:
            dispatcher.join(server.name)
        adopted = _left_behind(takeover, succession)
        workers = [
            ServerWorker(
                server, dispatcher, recipes, collector, adopted=adopted.get(server.name, [])
            )
            for server in servers
        ]
        signal = _see_through(dispatcher, workers, takeover, observer)
    takeover.end()
    if dispatcher.stop_error is not None:
        raise dispatcher.stop_error
    return signal


def first_planner(
    servers: Sequence[FleetServer], plan_on: Callable[[Catalogue], Planner]
) -> tuple[Catalogue, Planner]:
    """The node classes of the first server that has what the workflow needs, and its planner.

    Those that run are asked all at once, so that none is waited for that says nothing; then one of
    ours is started. Raises what the first that could not was at fault with.
    """
    found: SimpleQueue[Catalogue | SpriteworksError] = SimpleQueue()
    clients: list[Client] = []

    def ask(client: Client) -> None:
        try:
            client.system_stats()
            found.put(client.catalogue())
        except Exception as error:  # noqa: BLE001  (whoever waits for the answer must get one)
            found.put(error if isinstance(error, SpriteworksError) else fault(error, client.url))
        finally:
            client.close()

    there = [server for server in servers if not server.is_ours]
    for server in there:
        clients.append(server.connected())
        Thread(target=ask, args=(clients[-1],), name=server.name, daemon=True).start()
    errors: list[SpriteworksError] = []
    answers = chain((found.get() for _ in there), _started_answers(servers))
    try:
        for answer in answers:
            if isinstance(answer, SpriteworksError):
                errors.append(answer)
                continue
            try:
                return answer, plan_on(answer)
            except (ProtocolError, GraphError) as error:
                errors.append(error)
    finally:
        for client in clients:
            client.abort()
    # What a workflow lacks is worth more to know than who does not answer.
    wrong = [error for error in errors if isinstance(error, GraphError)]
    if wrong or len(errors) == 1:
        raise (wrong or errors)[0]
    raise ServerUnreachable(
        f"none of the {len(errors)} servers answers:\n  " + "\n  ".join(map(str, errors))
    ) from errors[0]


def _started_answers(servers: Sequence[FleetServer]) -> Iterator[Catalogue | SpriteworksError]:
    """What servers of ours have, started one after the other as long as that is asked for."""
    for server in servers:
        if server.is_ours:
            try:
                server.start()
                with server.connected() as client:
                    client.system_stats()
                    yield client.catalogue()
            except ServerError as error:
                yield error


def _left_behind(takeover: Takeover, succession: Succession) -> dict[str, list[Assignment]]:
    """What was left by those who are known to be dead, as far as servers of ours may have it."""
    if succession.joined:
        return takeover.begin()
    if succession.before is None:
        # Nobody joined a run of the version that left it.
        return takeover.begin(all=True)
    return takeover.begin(dead=[succession.before])


def _see_through(
    dispatcher: Dispatcher,
    workers: Sequence[ServerWorker],
    takeover: Takeover,
    observer: BatchObserver,
) -> int:
    """Let the workers work until all is over; returns the signal that ended it, or 0."""
    for worker in workers:
        worker.start()
    try:
        return _attend(dispatcher, lambda: _alive(workers, takeover), observer)
    except BaseException:
        # Whoever watches may raise. The record is closed behind us, and the folder is free then.
        dispatcher.stop(hurry=True)
        late = time.monotonic() + _PARTING
        while alive := _alive(workers, takeover):
            alive[0].join(_TICK)
            if time.monotonic() > late:
                for worker in alive:
                    worker.abandon()
        raise


def _alive(workers: Sequence[ServerWorker], takeover: Takeover) -> list[ServerWorker]:
    return [worker for worker in (*workers, *takeover.adopting) if worker.is_alive()]


def _attend(
    dispatcher: Dispatcher, at_work: Callable[[], list[ServerWorker]], observer: BatchObserver
) -> int:
    heeded = idle = 0
    with Interrupts() as interrupts:
        while alive := at_work():
            alive[0].join(_TICK)
            observer.happened("tick", dispatcher=dispatcher)
            idle = idle + 1 if dispatcher.is_over() else 0
            if idle > _PATIENCE or interrupts.is_late:
                # They wait for servers that say nothing, and of which nothing is wanted any more,
                # or nobody has the time.
                for worker in alive:
                    worker.abandon()
            if interrupts.urgency > heeded:
                heeded = interrupts.urgency
                dispatcher.stop(hurry=heeded > 1)
                dispatcher.say(_STOPPING[heeded > 1], warning=True)
    if not heeded and dispatcher.stop_error is None and not dispatcher.is_over():
        dispatcher.stop(dispatcher.last_error or ServerUnreachable("no server is left"))
    return interrupts.number


_STOPPING = {
    False: "stopping: what runs is waited for, for 3 s at most, and the rest is taken back for the "
    "next run; Ctrl-C again waits for nothing",
    True: "stopping at once: what runs is interrupted and made in the next run",
}


# ------------------------------------------------------------------------------ plan


def plan(request: BatchRequest) -> Plan:
    """Say what a run would do, and ask each server whether it could; sends nothing.

    The plan is made in the batch's own store where there is one, and there it stays.
    """
    file, document = loaded(request.manifest)
    with (
        fresh(request.out, [PARTS]) as folder,
        held(request.out),
        record_of(request.out, url=request.store) as store,
    ):
        servers = fleet(request.choice, request.care, store)
        try:
            info, planner = first_planner(
                servers, lambda info: planner_for(file.workflow, info, file.sources, document)
            )
            diff = planned.plan(file, planner, store)
            keep(request.out, request.manifest, info)
            folder.keep()
            counts = store.counts()
            example = [entry.job for entry in islice(store.entries(), 1)]
            judged = {server.name: _objection(server, planner, example) for server in servers}
        finally:
            for server in servers:
                server.stop()
        able = [server for server, objection in judged.items() if not objection]
        left = planned.estimate(left_in(counts), store.paces(), able)
        return Plan(diff=diff, counts=counts, servers=judged, estimate=left)


def planner_for(
    workflow: Path,
    info: Catalogue,
    files: Sources | None = None,
    document: Document | None = None,
) -> Planner:
    """The planner of a workflow on servers with these node classes.

    `files` reads what keys depend on, and is not needed where only graphs are wanted; `document` is
    the workflow where it was read already.
    """

    def digest(value: str) -> str | None:
        path = find_picture(value, workflow)
        return files.digest(path) if files and path else None

    document = document or _read(workflow, files or Sources(workflow.parent))
    conversion = load(document.data, info, str(workflow))
    # A class that the server lacks, or cannot tell of, is seen here and not with the jobs.
    for node in conversion.graph.values():
        info.node_class(str(node["class_type"]))
    return Planner(conversion.graph, info, digest, conversion.texts)


def canvas_of(workflow: Path) -> dict[str, Any] | None:
    """The canvas file of a workflow: itself, or beside the folder `api` that it lies in."""
    beside = workflow.parent.parent / workflow.name
    candidates = [workflow]
    if workflow.parent.name == "api" and beside.is_file():
        # as the workflows that come with Spriteworks
        candidates.append(beside)
    for path in candidates:
        document = _read(path, Sources(path.parent))
        if document.form is Form.CANVAS:
            return dict(document.data)
    return None


def _read(workflow: Path, files: Sources) -> Document:
    try:
        content = files.content(workflow)
    except OSError as error:
        raise UsageError(f"the workflow {workflow} cannot be read: {text_of(error)}") from error
    return read_document(content, str(workflow))


def _objection(server: FleetServer, planner: Planner, example: Sequence[Job]) -> str:
    try:
        server.start()
        with server.connected() as client:
            client.system_stats()
            if example:
                check(planner.graph(example[0]), client.catalogue())
    except (ServerError, GraphError) as error:
        return str(error)
    return ""


def _without_graph(store: Store) -> list[str]:
    count = store.without_graph()
    words = "picture does" if count == 1 else "pictures do"
    return [f"{count} {words} not carry the graph that was sent"] if count else []


def _tell_plan(store: Store, diff: PlanDiff, observer: BatchObserver) -> None:
    text = f"{diff.total} pictures are wanted: {diff.added} new, {diff.kept} known before"
    if diff.changed:
        text += f", {diff.changed} changed"
    if diff.unwanted:
        text += f"; {diff.unwanted} are no longer wanted, and their files stay"
    store.log(text)
    observer.happened("plan", text=text, **vars(diff))


def _tell(
    sentences: Iterable[str], store: Store, observer: BatchObserver, *, warning: bool = True
) -> None:
    for text in sentences:
        store.log(text, warning=warning)
        observer.happened("note", text=text, warning=warning, server="")
