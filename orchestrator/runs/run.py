"""One workflow on one server: sent, waited for, and what it made brought here."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
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
from .fetching import fetch, wanted, written
from .made import Made, ServerInfo
from .outputs import Gathered, outputs, plain_name
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
    ) -> None:
        self._client = client
        self._workflow = workflow
        self._stats = stats
        self._observer = observer
        self._metered = metered
        self._stack = ExitStack()
        self._place = self._stack.enter_context(outputs(out))
        self._submission = Submission(graph=workflow.graph)
        self._frames = _Frames(workflow.graph, self._place.staging)
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

    def wait(self, timeout: float | None = None) -> Made:
        """Wait for the job's end and bring its files here; `timeout` is in s.

        Raises NodeFailed, JobTimedOut and their kin.
        """
        record = self._submission.wait(self._client, timeout=timeout)
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
        submission, place = self._submission, self._place
        assert submission.watch is not None
        assert submission.graph is not None
        gathered = []
        for number, one in enumerate(wanted(record)):
            with submission.watch.transfer():
                fetched = fetch(self._client, one.file, place.staging / f"{number:06}")
            name = plain_name(one.file.filename)
            known = one.node in submission.graph
            seed = seed_of_image(submission.graph, one.node, one.index) if known else None
            gathered.append(Gathered(fetched=fetched, name=name, node=one.node, seed=seed))
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
            notes=workflow.notes,
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


class _Frames:
    """Pictures of SaveImageWebsocket, which come as previews and are kept nowhere else."""

    def __init__(self, graph: Graph, staging: Path) -> None:
        self._graph = graph
        self._staging = staging
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
        fetched = written(event.image, self._staging / name)
        seed = seed_of_image(self._graph, node, index)
        self.files.append(Gathered(fetched=fetched, name=name, node=node, seed=seed))
