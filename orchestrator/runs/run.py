"""One workflow on one server: sent, waited for, and what it made brought here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Protocol

from ..client.client import Client
from ..errors import JobError, NodeProblem
from ..memory import MemoryUse, Meter, reports_in
from ..protocol import Event, Graph, HistoryRecord, Preview, SystemStats
from ..workflow.catalogue import Catalogue
from ..workflow.core_nodes import WEBSOCKET_OUTPUT
from ..workflow.document import Document
from ..workflow.embeddings import missing_embeddings, named_embeddings
from ..workflow.layout import with_values
from ..workflow.roles import Settings, parameters, seed_of_image
from ..workflow.signatures import Signatures
from .fetching import Fetched, counted, fetch, with_sheets
from .looking import get_ready
from .made import Made, ServerInfo
from .outputs import Gathered, Outputs, outputs
from .pictures import upload_pictures
from .submission import Submission
from .workflows import Workflow, load_workflow


class Observer(Protocol):
    """Who is told how a run goes."""

    def prepared(self, graph: Graph) -> None:
        """The graph is about to be sent."""

    def noted(self, text: str) -> None:
        """Something of the workflow is left out."""

    def dropped(self, problem: NodeProblem) -> None:
        """The server runs the job without the branch of this node."""

    def event(self, event: Event) -> None:
        """Something happened to the job."""


def prepare(
    client: Client,
    catalogue: Catalogue,
    path: Path,
    settings: Settings = (),
    document: Document | None = None,
) -> Workflow:
    """A workflow with its settings, checked against a server whose node classes are `catalogue`.

    `document` is the same file where it was read already. Raises UsageError, GraphError and their
    kin with all that is wrong.
    """
    workflow = load_workflow(path, settings, catalogue, document)
    named = named_embeddings(workflow.graph)
    lacking = missing_embeddings(named, client.embeddings()) if named else ()
    return replace(workflow, notes=(*workflow.notes, *lacking))


class Run:
    """One workflow on its way through one server; a context manager.

    Left by an error before its job has ended, it takes the job from the server. Raises OutputError
    at once where `out`, the folder for pictures and run.json, cannot be written; None makes a
    temporary one.
    """

    def __init__(
        self,
        client: Client,
        workflow: Workflow,
        stats: SystemStats,
        observer: Observer,
        *,
        out: Path | None = None,
        metered: bool = False,
        any_graph: bool = False,
    ) -> None:
        """`metered` measures the memory; `any_graph` takes pictures whatever graph they carry."""
        self._client = client
        self._workflow = workflow
        self._stats = stats
        self._observer = observer
        self._metered = metered
        self._any_graph = any_graph
        self._stack = ExitStack()
        self._place = self._stack.enter_context(outputs(out))
        self._submission = Submission(graph=workflow.graph)
        self._frames = _Frames(workflow.graph, self._place)
        # what is odd about pictures that count all the same
        self._notes: list[str] = []
        self._meter: Meter | None = None

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def close(self) -> None:
        """Give up what belongs to it here; the job goes on."""
        self._stack.close()

    @property
    def prompt_id(self) -> str:
        """The id of the job on the server, minted by us."""
        return self._submission.prompt_id

    def submit(self) -> None:
        """Upload the pictures that go in, and send the job. Raises what the client raises."""
        workflow, submission = self._workflow, self._submission
        watch = submission.watch
        assert watch is not None
        graph = upload_pictures(
            self._client, workflow.graph, workflow.catalogue, workflow.path, watch
        )
        self._observer.prepared(graph)
        submission.graph = graph
        submission.extra_data = _picture_metadata(workflow, graph)
        submission.observers += [self._frames.observe, self._observer.event]
        if self._metered:
            self._meter = Meter(self._client.url, graph, workflow.catalogue, self._stats)
            submission.observers.insert(0, self._meter.observe)
            self._stack.enter_context(self._meter)
        self._stack.enter_context(submission.cancelled_on_departure(self._client))
        for problem in submission.submit(self._client).problems:
            self._observer.dropped(problem)
        # The server is at work now.
        get_ready()

    def wait(self, timeout: float | None = None) -> Made:
        """Wait for the job's end and bring its files here, in `timeout` s.

        Raises NodeFailed, JobTimedOut and their kin.
        """
        with self._client.at_most(timeout):
            return self._wait()

    def _wait(self) -> Made:
        record = self._submission.wait(self._client)
        memory = None
        if self._meter is not None:
            self._meter.stop()
            memory = self._meter.use()
        files = [*self._download(record), *self._frames.files]
        if not files:
            raise JobError("the workflow ended without a picture; add a node that saves one")
        made = self._made(record, files, memory)
        self._place.publish(files, made)
        return made

    def _download(self, record: HistoryRecord) -> list[Gathered]:
        watch, graph = self._submission.watch, self._submission.graph
        assert watch is not None
        assert graph is not None
        sent, gathered = Signatures(graph), []
        for one in with_sheets(record):
            with watch.transfer():
                fetched = fetch(self._client, one, sent, any_graph=self._any_graph)
            name = one.file.filename
            if fetched.look is not None or not one.of_sheet:
                self._notes += _oddities(fetched, name)
            folder = PurePosixPath(one.file.subfolder).name if one.of_sheet else ""
            seed = seed_of_image(graph, one.node, one.index) if one.node in graph else None
            gathered.append(self._place.gather(fetched, name, one.node, seed, folder))
        return gathered

    def _made(self, record: HistoryRecord, files: list[Gathered], memory: MemoryUse | None) -> Made:
        workflow, stats = self._workflow, self._stats
        assert self._submission.watch is not None
        return Made(
            id=record.prompt_id,
            server=ServerInfo(
                url=self._client.url, kind=stats.kind, version=stats.version, device=stats.device
            ),
            workflow=workflow.path,
            workflow_sha256=workflow.sha256,
            notes=(*workflow.notes, *self._notes),
            parameters=parameters(workflow.graph, workflow.catalogue, record.outputs),
            pictures=tuple(self._place.place(files)),
            timings=self._submission.watch.timings(record),
            memory=memory,
            reports=tuple(reports_in(record.outputs)),
        )


def _picture_metadata(workflow: Workflow, graph: Graph) -> dict[str, Any]:
    """What pictures carry besides the graph: the canvas file, with the values of this run."""
    if workflow.canvas is None:
        return {}
    canvas = with_values(workflow.canvas, graph, workflow.catalogue)
    return {} if canvas is None else {"extra_pnginfo": {"workflow": canvas}}


def _oddities(fetched: Fetched, name: str) -> Iterator[str]:
    if fetched.look is None:
        yield f"{name} is no picture, and nobody has looked into it"
    elif not fetched.has_graph:
        yield f"{name} does not carry the graph that was sent, so nobody can see that it is right"
    if fetched.cut:
        yield f"{name} came with {fetched.cut} bytes behind its end, which were cut off"


class _Frames:
    """Pictures of SaveImageWebsocket, which come as previews and are kept nowhere else."""

    def __init__(self, graph: Graph, place: Outputs) -> None:
        self._graph = graph
        self._place = place
        self.files: list[Gathered] = []

    def observe(self, event: Event) -> None:
        """Keep a preview where it is such a picture."""
        if not isinstance(event, Preview) or event.node_id not in self._graph:
            return
        node = event.node_id
        if self._graph[node]["class_type"] != WEBSOCKET_OUTPUT:
            return
        index = sum(file.node == node for file in self.files)
        name = f"websocket_{len(self.files) + 1:05}_.{event.format}"
        fetched = counted(event.image, name, node, Signatures(self._graph))
        seed = seed_of_image(self._graph, node, index)
        self.files.append(self._place.gather(fetched, name, node, seed))
