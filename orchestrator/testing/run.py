"""How the fake server in testing.py "runs" a job: node by node, as its script says."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..protocol import (
    Event,
    Executed,
    Executing,
    ExecutionCached,
    ExecutionError,
    ExecutionInterrupted,
    ExecutionStart,
    ExecutionSuccess,
    FileRef,
    Graph,
    NodeProgress,
    Preview,
    ProgressState,
    PromptRequest,
    StepProgress,
    event_data,
    event_name,
)
from ..workflow.graph import ancestors, order
from .nodes import is_picture, picture

# A gate of this name is passed after success is announced and before the record is written.
RECORD = "record"


@dataclass(frozen=True, kw_only=True)
class Script:
    """What happens to one job. As it stands: every node runs at once, and all goes well."""

    # {node id: event}: the run waits for the event before the node; RECORD is a gate, too
    gates: Mapping[str, threading.Event] = field(default_factory=dict)
    # that node raises
    fail_in: str | None = None
    # with an error of this type and this message
    fail_as: tuple[str, str] = ("RuntimeError", "it broke")
    # that node raises ExecutionBlocked, after which the run goes on
    blocked_in: str | None = None
    # someone else stops the job in that node
    interrupted_in: str | None = None
    # the server process dies before that node
    die_in: str | None = None
    # {node id: ids of the nodes that it expands to}
    expands: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    # previews sent by each node
    previews: int = 0
    # steps that each node counts
    steps: int = 1
    # what is saved in place of each picture
    alters: Callable[[bytes], bytes] = lambda right: right
    # False: the record is never written
    remembered: bool = True


@dataclass(kw_only=True)
class FakeJob:
    """One accepted job."""

    number: float
    prompt_id: str
    request: PromptRequest
    script: Script
    # ids of the output nodes that will run
    outputs: list[str]
    # when it came, in ms
    created: int = field(default_factory=lambda: int(time.time() * 1000))
    # what its history record tells
    messages: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    @property
    def graph(self) -> Graph:
        """The graph as it was posted."""
        return self.request.graph

    def queue_item(self) -> list[Any]:
        """The job as GET /queue and history records show it."""
        extra = {**self.request.extra_data, "create_time": self.created}
        if self.request.client_id is not None:
            extra["client_id"] = self.request.client_id
        return [self.number, self.prompt_id, self.graph, extra, self.outputs]


class RunServer(Protocol):
    """What a run needs of its server."""

    cached_output_is_null: bool
    pace: float
    interrupted: bool
    closed: bool
    cache: dict[str, Any]
    files: dict[tuple[str, str, str], bytes]

    def tell(self, job: FakeJob, event: Event) -> None:
        """Send an event to the client that submitted a job."""

    def pass_gate(self, job: FakeJob, moment: str) -> None:
        """Come to a moment and wait at its gate."""

    def store(self, kind: str, prefix: str, content: bytes) -> FileRef:
        """Save a picture."""

    def die(self) -> None:
        """End as a killed process does."""


class _Ended(Exception):
    """The run ends here, without success."""


class FakeRun:
    """The run of one job."""

    def __init__(self, stage: RunServer, job: FakeJob) -> None:
        self._stage = stage
        self._job = job
        self._graph = job.graph
        self._script = job.script
        self._progress: dict[str, NodeProgress] = {}

    def run(self) -> str:
        """Run to the end; return the record's `status_str`."""
        job = self._job
        self._note(ExecutionStart(prompt_id=job.prompt_id))
        cached = tuple(key for key in self._graph if self._signature(key) in self._stage.cache)
        self._note(ExecutionCached(prompt_id=job.prompt_id, nodes=cached))
        needed = {key for output in job.outputs for key in ancestors(self._graph, output)}
        try:
            for node_id in (key for key in order(self._graph) if key in needed):
                if node_id in cached:
                    self._skip(node_id)
                else:
                    self._run_node(node_id)
        except _Ended:
            return "error"
        self._note(ExecutionSuccess(prompt_id=job.prompt_id))
        return "success"

    def _skip(self, node_id: str) -> None:
        if node_id in self._job.outputs:
            known = self._stage.cache[self._signature(node_id)]
            self._executed(node_id, None if self._stage.cached_output_is_null else known)

    def _run_node(self, node_id: str) -> None:
        self._stage.pass_gate(self._job, node_id)
        if self._script.die_in == node_id:
            self._stage.die()
        if self._stage.closed:
            raise _Ended
        expanded = self._script.expands.get(node_id, ())
        for inner in (node_id, *expanded):
            self._set_progress(inner, node_id, "running")
        self._tell(Executing(prompt_id=self._job.prompt_id, node=node_id, display_node=node_id))
        time.sleep(self._stage.pace)
        self._stop_if_asked(node_id)
        self._raise_if_told(node_id)
        self._show(node_id)
        output = self._save(node_id) if node_id in self._job.outputs else {}
        self._stage.cache[self._signature(node_id)] = output
        if node_id in self._job.outputs:
            self._executed(node_id, output)
        for inner in (*expanded, node_id):
            self._set_progress(inner, node_id, "finished")

    def _stop_if_asked(self, node_id: str) -> None:
        if not self._stage.interrupted and self._script.interrupted_in != node_id:
            return
        kind = self._graph[node_id]["class_type"]
        prompt_id = self._job.prompt_id
        self._note(ExecutionInterrupted(prompt_id=prompt_id, node_id=node_id, node_type=kind))
        raise _Ended

    def _raise_if_told(self, node_id: str) -> None:
        if node_id == self._script.blocked_in:
            self._error(node_id, "ExecutionBlocked", "Execution Blocked: as scripted")
        elif node_id == self._script.fail_in:
            self._error(node_id, *self._script.fail_as)
            raise _Ended
        elif not self._can_load(node_id):
            self._error(node_id, "PIL.UnidentifiedImageError", "cannot identify image file")
            raise _Ended

    def _can_load(self, node_id: str) -> bool:
        node = self._graph[node_id]
        if node["class_type"] != "LoadImage":
            return True
        content = self._stage.files.get(("input", "", node["inputs"]["image"]))
        return content is None or is_picture(content)

    def _error(self, node_id: str, kind: str, message: str) -> None:
        error = ExecutionError(
            prompt_id=self._job.prompt_id,
            node_id=node_id,
            node_type=self._graph[node_id]["class_type"],
            exception_message=message,
            exception_type=kind,
            traceback=("  File fake.py\n",),
        )
        self._note(error)

    def _show(self, node_id: str) -> None:
        prompt_id, steps = self._job.prompt_id, self._script.steps
        for step in range(1, steps + 1):
            self._tell(StepProgress(prompt_id=prompt_id, node=node_id, value=step, max=steps))
        for _ in range(self._script.previews):
            image = picture(8, 8, {})
            self._tell(Preview(format="png", image=image, prompt_id=prompt_id, node_id=node_id))

    def _save(self, node_id: str) -> dict[str, Any]:
        node = self._graph[node_id]
        kind = "temp" if node["class_type"] == "PreviewImage" else "output"
        prefix = str(node["inputs"].get("filename_prefix", "ComfyUI"))
        texts = {"prompt": self._graph, **self._job.request.extra_data.get("extra_pnginfo", {})}
        files = [
            self._stage.store(kind, prefix, self._script.alters(picture(width, height, texts)))
            for width, height in _sizes(self._graph, node_id)
        ]
        return {"images": [file.to_json() for file in files]}

    def _executed(self, node_id: str, output: dict[str, Any] | None) -> None:
        self._tell(Executed(prompt_id=self._job.prompt_id, node=node_id, output=output))

    def _set_progress(self, node: str, real: str, state: str) -> None:
        self._progress[node] = NodeProgress(
            node_id=node, state=state, value=float(state == "finished"), real_node_id=real
        )
        nodes = tuple(self._progress.values())
        self._tell(ProgressState(prompt_id=self._job.prompt_id, nodes=nodes))

    def _note(self, event: Event) -> None:
        """Send an event that the history record keeps, too."""
        data = {**event_data(event), "timestamp": int(time.time() * 1000)}
        self._job.messages.append((event_name(event), data))
        self._tell(event)

    def _tell(self, event: Event) -> None:
        self._stage.tell(self._job, event)

    def _signature(self, node_id: str) -> str:
        return signature(self._graph, node_id)


def record_of(job: FakeJob, state: str, cache: Mapping[str, Any]) -> dict[str, Any]:
    """The history record of a job that ended as `state` says."""
    outputs = {
        key: cache[signature(job.graph, key)]
        for key in job.outputs
        if signature(job.graph, key) in cache
    }
    status = {"status_str": state, "completed": state == "success", "messages": job.messages}
    return {"prompt": job.queue_item(), "outputs": outputs, "status": status, "meta": {}}


def signature(graph: Graph, node_id: str) -> str:
    """What a node's result depends on: itself and all it is linked to."""
    nodes = [graph[key] for key in sorted(ancestors(graph, node_id))]
    return json.dumps([[node["class_type"], node["inputs"]] for node in nodes], sort_keys=True)


def _sizes(graph: Graph, node_id: str) -> Iterator[tuple[int, int]]:
    """Yield (width, height) in px of each image that an output node saves."""

    def nearest(name: str, default: int) -> int:
        values = (graph[key]["inputs"].get(name) for key in ancestors(graph, node_id))
        # A size of 0 is one that the node finds out.
        return next((value for value in values if isinstance(value, int) and value > 0), default)

    for _ in range(nearest("batch_size", 1)):
        yield nearest("width", 8), nearest("height", 8)
