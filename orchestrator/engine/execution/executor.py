"""Runs one graph: in the order of its links, only what its outputs need, and only what changed.

Events are ComfyUI's, in ComfyUI's order. Without a client id (PROTOCOL: pitfall 3) only progress,
previews and an interruption are sent, to everybody.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, TypeAlias

from comfy_nodes.errors import PackError

from ...errors import SpriteworksError
from ...protocol import (
    Event,
    Executed,
    Executing,
    ExecutionCached,
    ExecutionError,
    ExecutionInterrupted,
    ExecutionStart,
    ExecutionSuccess,
    event_data,
    event_name,
)
from ..host import (
    ComfyNode,
    Hidden,
    HiddenHolder,
    InterruptedByUser,
    NodeOutput,
    UIOutput,
    activate,
)
from ..model_files import noted
from .cache import Cache, NodeResult
from .graph_progress import Audience, GraphProgress, NodeContext
from .jobs import GraphJob, Report
from .validation import Nodes, is_link, ordered, sources, type_name

logger = logging.getLogger(__name__)

# Values of one input or output; a node runs once for each item.
Values: TypeAlias = list[Any]


class Executor:
    """Runs jobs one after another and keeps the results of the last graph."""

    def __init__(self, nodes: Callable[[], Nodes], audience: Audience) -> None:
        """`nodes` gives the node classes; it is called in the worker, where waiting is fine."""
        self._nodes = nodes
        self._audience = audience
        self._cache = Cache()

    def run(self, job: GraphJob) -> Report:
        """Run a job to its end; whatever its nodes raise ends up in the report."""
        run = _Run(job, self._nodes(), self._cache, self._audience)
        report = run.report(run.execute())
        if run.out_of_memory:
            # only now: until the run is over its frames hold what filled the memory
            self.free()
        return report

    def free(self) -> None:
        """Forget all results and models, and give the memory back."""
        self._cache.clear()
        free_memory()


def free_memory() -> None:
    """Give back memory that nothing refers to any more."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


class _Run:
    """One run of one job."""

    def __init__(self, job: GraphJob, nodes: Nodes, cache: Cache, audience: Audience) -> None:
        self.job = job
        self.nodes = nodes
        self.cache = cache
        self.audience = audience
        self.progress = GraphProgress(job, audience)
        self.executed: list[str] = []
        # {node id: ui output} of what ran, or was told from the cache
        self.shown: dict[str, dict[str, Any]] = {}
        self.messages: list[Any] = []
        self.out_of_memory = False

    def execute(self) -> bool:
        """Run all outputs; True for success."""
        job = self.job
        self._note(ExecutionStart(prompt_id=job.prompt_id, timestamp=_now()))
        order = ordered(job.graph, job.outputs)
        self.cache.begin(job.graph, self.nodes, order)
        cached = tuple(node_id for node_id in order if self.cache.get(node_id) is not None)
        self._note(ExecutionCached(prompt_id=job.prompt_id, nodes=cached, timestamp=_now()))
        try:
            with _inference_mode():
                for node_id in self._needed():
                    if not self._execute_node(node_id):
                        return False
        finally:
            self.progress.end()
        self._note(ExecutionSuccess(prompt_id=job.prompt_id, timestamp=_now()))
        return True

    def report(self, success: bool) -> Report:
        meta = {
            node_id: {
                "node_id": node_id,
                "display_node": node_id,
                "parent_node": None,
                "real_node_id": node_id,
            }
            for node_id in self.shown
        }
        return Report(success=success, outputs=self.shown, meta=meta, messages=self.messages)

    def _needed(self) -> Iterator[str]:
        """Nodes in the order in which they run: each output as early as its sources allow.

        Lazily, since a node that runs can make an equal one further on a cached one.
        """
        done: set[str] = set()
        for output in self.job.outputs:
            stack = [output]
            while stack:
                node_id = stack[-1]
                if node_id in done:
                    stack.pop()
                    continue
                linked = [] if self.cache.get(node_id) else sources(self.job.graph, node_id)
                missing = [each for each in linked if each not in done and not self.cache.get(each)]
                if missing:
                    stack += reversed(missing)
                    continue
                stack.pop()
                done.add(node_id)
                yield node_id

    def _execute_node(self, node_id: str) -> bool:
        cached = self.cache.get(node_id)
        if cached is not None:
            self._tell_executed(node_id, cached.ui)
            self.progress.finish(node_id)
            return True
        node = self.job.graph[node_id]
        self.progress.start(node_id)
        self._tell(Executing(prompt_id=self.job.prompt_id, node=node_id, display_node=node_id))
        values: dict[str, Values] = {}
        try:
            cls = self.nodes[node["class_type"]]
            values = self._gather(cls, node["inputs"])
            result = self._call(cls, node_id, values)
        except InterruptedByUser:
            self._interrupted(node_id)
            return False
        except (Exception, SystemExit) as error:  # noqa: BLE001 - told to the client
            self._failed(node_id, values, error)
            return False
        if result.ui is not None:
            self._tell_executed(node_id, result.ui)
        self.cache.set(node_id, result)
        self.progress.finish(node_id)
        self.executed.append(node_id)
        return True

    def _gather(self, cls: type[ComfyNode], inputs: Mapping[str, Any]) -> dict[str, Values]:
        known = {each.id for each in cls.GET_SCHEMA().inputs}
        found: dict[str, Values] = {}
        for name, value in inputs.items():
            if name not in known:
                continue
            if is_link(value):
                source = self.cache.get(value[0])
                assert source is not None, "sources run first"
                found[name] = source.outputs[value[1]]
            else:
                found[name] = [value]
        return found

    def _call(self, cls: type[ComfyNode], node_id: str, values: dict[str, Values]) -> NodeResult:
        schema = cls.GET_SCHEMA()
        clone = cls.PREPARE_CLASS_CLONE(self._hidden(schema.hidden, node_id))
        host = NodeContext(self.progress, node_id)
        calls = [values] if schema.is_input_list else list(_slices(values))
        given: list[NodeOutput] = []
        with activate(host), noted() as files:
            for arguments in calls:
                host.check_interrupted()
                given.append(_normal(clone.execute(**arguments)))
        merged = _merge(given, [each.is_output_list for each in schema.outputs])
        return replace(merged, files=files)

    def _hidden(self, wanted: list[Hidden], node_id: str) -> HiddenHolder:
        there: dict[Hidden, Any] = {
            Hidden.unique_id: node_id,
            Hidden.prompt: self.job.graph,
            Hidden.extra_pnginfo: self.job.extra_data.get("extra_pnginfo"),
        }
        return HiddenHolder(**{item.name: there.get(item) for item in wanted})

    def _interrupted(self, node_id: str) -> None:
        event = ExecutionInterrupted(
            prompt_id=self.job.prompt_id,
            node_id=node_id,
            node_type=self.job.graph[node_id]["class_type"],
            executed=tuple(self.executed),
            timestamp=_now(),
        )
        self._note(event, broadcast=True)

    def _failed(self, node_id: str, values: dict[str, Values], error: BaseException) -> None:
        node_type = self.job.graph[node_id]["class_type"]
        # Where a file or a value is to blame, its sentence says all; the rest is a fault of ours.
        foreseen = isinstance(error, (SpriteworksError, PackError))
        trace = None if foreseen else error
        logger.error("node %s (%s) failed: %s", node_id, node_type, error, exc_info=trace)
        message = str(error) or type(error).__name__
        if is_out_of_memory(error) and not foreseen:
            message += (
                "\nThere is not enough memory. Use a smaller batch or picture, or the offload and "
                "tiling settings of the loader."
            )
        self._note(
            ExecutionError(
                prompt_id=self.job.prompt_id,
                node_id=node_id,
                node_type=node_type,
                exception_message=message,
                exception_type=type_name(type(error)),
                traceback=tuple(traceback.format_tb(error.__traceback__)),
                executed=tuple(self.executed),
                current_inputs={name: list(map(_shown, held)) for name, held in values.items()},
                current_outputs=tuple(self.job.graph),
                timestamp=_now(),
            )
        )
        self.out_of_memory = is_out_of_memory(error)

    def _note(self, event: Event, *, broadcast: bool = False) -> None:
        """Send an event and keep it for the history record."""
        self.messages.append([event_name(event), event_data(event)])
        self._tell(event, broadcast=broadcast)

    def _tell(self, event: Event, *, broadcast: bool = False) -> None:
        if self.job.client_id is not None or broadcast:
            self.audience.send(event, self.job.client_id)

    def _tell_executed(self, node_id: str, ui: dict[str, Any] | None) -> None:
        if ui is not None:
            self.shown[node_id] = ui
        self._tell(
            Executed(prompt_id=self.job.prompt_id, node=node_id, display_node=node_id, output=ui)
        )


def _now() -> int:
    return int(time.time() * 1000)


def _inference_mode() -> Any:
    torch = sys.modules.get("torch")
    return nullcontext() if torch is None else torch.inference_mode()


def _slices(values: dict[str, Values]) -> Iterator[dict[str, Any]]:
    """Arguments of each call: as many as the longest list, shorter ones repeat their last."""
    count = max(map(len, values.values()), default=1)
    for index in range(count):
        yield {name: held[min(index, len(held) - 1)] for name, held in values.items()}


def _normal(returned: Any) -> NodeOutput:
    """What `execute` returned, in the one form."""
    if inspect.isawaitable(returned):
        returned = asyncio.run(_wait(returned))
    if returned is None:
        return NodeOutput()
    if isinstance(returned, NodeOutput):
        return returned
    if isinstance(returned, tuple):
        return NodeOutput(*returned)
    if isinstance(returned, dict):
        return NodeOutput(*returned.get("result", ()), ui=returned.get("ui"))
    raise TypeError(f"a node returned {type(returned).__name__} instead of NodeOutput")


async def _wait(awaitable: Any) -> Any:
    return await awaitable


def _merge(given: list[NodeOutput], is_list: list[bool]) -> NodeResult:
    """Join the results of all calls; an output that is a list itself adds its items."""
    results = [each.result for each in given if each.result is not None]
    outputs: list[Values] = [[] for _ in is_list]
    for result in results:
        for held, value, many in zip(outputs, result, is_list, strict=True):
            held.extend(value if many else [value])
    shown = [_ui(each.ui) for each in given if each.ui is not None]
    ui = {key: [item for each in shown for item in each[key]] for key in shown[0]} if shown else {}
    return NodeResult(outputs, ui or None)


def _ui(ui: UIOutput | Mapping[str, Any]) -> Mapping[str, Any]:
    return ui.as_dict() if isinstance(ui, UIOutput) else ui


def _shown(value: Any) -> Any:
    """A value for an error report; a tensor as its type and shape."""
    if value is None or isinstance(value, (int, float, str, bool)):
        return value
    shape = getattr(value, "shape", None)
    return type(value).__name__ + ("" if shape is None else f" {list(shape)}")


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether memory ran out, on the device or off it."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    # torch on the CPU has no class of its own for it, and words that differ from system to system
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
