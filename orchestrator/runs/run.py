"""One workflow from its file to its pictures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from ..client.client import Client, writing
from ..client.timings import Stopwatch
from ..errors import JobError, JobTimedOut, NodeProblem, ServerError
from ..memory import Meter, reports_in
from ..protocol import (
    Event,
    FileRef,
    Graph,
    HistoryRecord,
    Preview,
    SystemStats,
    files_of,
    new_prompt_id,
)
from ..workflow.core_nodes import WEBSOCKET_OUTPUT
from ..workflow.document import Document
from ..workflow.embeddings import missing_embeddings, named_embeddings
from ..workflow.layout import with_values
from ..workflow.roles import parameters, seed_of_image
from .outputs import Gathered, Outputs, outputs, plain_name
from .pictures import upload_pictures
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


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """What to run and where its pictures go."""

    workflow: Path
    # the same where it was read already, as before a server is started for it
    document: Document | None = None
    # NAME=VALUE, in order
    settings: tuple[str, ...] = ()
    out: Path
    # s; None waits for ever
    timeout: float | None = None


def run(request: RunRequest, client: Client, observer: Observer) -> dict[str, Any]:
    """Run a workflow to its end, fill the output folder, and return what run.json says."""
    stats = client.system_stats()
    catalogue = client.catalogue()
    workflow = load_workflow(request.workflow, request.settings, catalogue, request.document)
    workflow = replace(workflow, notes=(*workflow.notes, *_lacking(client, workflow.graph)))
    for note in workflow.notes:
        observer.noted(note)
    with outputs(request.out) as place:
        watch = Stopwatch(workflow.graph)
        graph = upload_pictures(client, workflow.graph, workflow.catalogue, workflow.path, watch)
        observer.prepared(graph)
        frames = _Frames(graph, place.staging)
        meter = Meter(client.url, graph, workflow.catalogue, stats)

        def on_event(event: Event) -> None:
            watch.observe(event)
            meter.observe(event)
            frames.observe(event)
            observer.event(event)

        prompt_id = new_prompt_id()
        with meter, cancelled_on_departure(client, prompt_id):
            watch.submitted()
            extra_data = _picture_metadata(workflow, graph)
            accepted = client.submit(graph, prompt_id=prompt_id, extra_data=extra_data)
            for problem in accepted.problems:
                observer.dropped(problem)
            record = client.wait(prompt_id, on_event=on_event, timeout=request.timeout)
        watch.ended()
        files = [*_download(client, graph, record, place, watch), *frames.files]
        memory = {**meter.use().to_json(), "reports": reports_in(record.outputs)}
        return _publish(client, stats, workflow, place, files, record, watch, memory)


def _lacking(client: Client, graph: Graph) -> Iterator[str]:
    """What the server will leave out of the texts."""
    named = named_embeddings(graph)
    if named:
        yield from missing_embeddings(named, client.embeddings())


def _picture_metadata(workflow: Workflow, graph: Graph) -> dict[str, Any]:
    """What pictures carry besides the graph: the canvas file, with the values of this run."""
    if workflow.canvas is None:
        return {}
    canvas = with_values(workflow.canvas, graph, workflow.catalogue)
    return {} if canvas is None else {"extra_pnginfo": {"workflow": canvas}}


def _publish(
    client: Client,
    stats: SystemStats,
    workflow: Workflow,
    place: Outputs,
    files: list[Gathered],
    record: HistoryRecord,
    watch: Stopwatch,
    memory: dict[str, Any],
) -> dict[str, Any]:
    if not files:
        raise JobError("the workflow ended without a picture; add a node that saves one")
    result = {
        "prompt_id": record.prompt_id,
        "server": {
            "url": client.url,
            "kind": stats.kind,
            "version": stats.version,
            "device": stats.device,
        },
        "workflow": {"file": str(workflow.path), "sha256": workflow.sha256},
        "notes": list(workflow.notes),
        "parameters": parameters(workflow.graph, workflow.catalogue, record.outputs),
        "artifacts": [vars(artifact) for artifact in place.place(files)],
        "timings": watch.timings(record).to_json(),
        "memory": memory,
    }
    place.publish(files, result)
    return result


def _download(
    client: Client, graph: Graph, record: HistoryRecord, place: Outputs, watch: Stopwatch
) -> list[Gathered]:
    counts: dict[str, int] = {}
    gathered = []
    for number, (node, file) in enumerate(_wanted(record)):
        index = counts.get(node, 0)
        counts[node] = index + 1
        path = place.staging / f"{number:06}"
        with watch.transfer():
            client.download(file, path)
        name = plain_name(file.filename)
        seed = seed_of_image(graph, node, index) if node in graph else None
        gathered.append(Gathered(path=path, name=name, node=node, seed=seed))
    return gathered


def _wanted(record: HistoryRecord) -> list[tuple[str, FileRef]]:
    """The files to keep: those saved, or the previews of a workflow that saves nothing."""
    files = files_of(record.outputs)
    return [entry for entry in files if entry[1].type == "output"] or files


class _Frames:
    """Pictures of SaveImageWebsocket, which come as previews and are kept nowhere else."""

    def __init__(self, graph: Graph, staging: Path) -> None:
        self._graph = graph
        self._staging = staging
        self.files: list[Gathered] = []

    def observe(self, event: Event) -> None:
        if not isinstance(event, Preview) or event.node_id not in self._graph:
            return
        node = event.node_id
        if self._graph[node]["class_type"] != WEBSOCKET_OUTPUT:
            return
        index = sum(file.node == node for file in self.files)
        name = f"websocket_{len(self.files) + 1:05}_.{event.format}"
        path = self._staging / name
        with writing(path):
            path.write_bytes(event.image)
        seed = seed_of_image(self._graph, node, index)
        self.files.append(Gathered(path=path, name=name, node=node, seed=seed))


@contextmanager
def cancelled_on_departure(client: Client, prompt_id: str) -> Iterator[None]:
    """Take the job from the server where we leave before it has ended."""
    try:
        yield
    except BaseException as error:
        ended = isinstance(error, JobError | ServerError) and not isinstance(error, JobTimedOut)
        if not ended:
            # Where the server is gone the job is, too, and the first reason is the one to tell.
            with suppress(ServerError):
                client.cancel(prompt_id)
        raise
