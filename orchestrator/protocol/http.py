"""Requests and answers of ComfyUI's HTTP routes."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias

from ..errors import NodeProblem, ProtocolError

# {node_id: {"class_type": str, "inputs": {...}, "_meta": {"title": str}}}
Graph: TypeAlias = dict[str, dict[str, Any]]

_CANONICAL_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def new_prompt_id() -> str:
    """Mint a `prompt_id`: a canonical lower-case UUID, the only form that ComfyUI 0.33.0 takes."""
    return str(uuid.uuid4())


def is_prompt_id(value: Any) -> bool:
    """Say whether `value` is a canonical lower-case UUID."""
    return isinstance(value, str) and _CANONICAL_UUID.fullmatch(value) is not None


def with_meta(graph: Graph) -> Graph:
    """The graph with a `_meta` in every node: its own, or an empty one.

    ComfyUI 0.33.0 fails with a 500 at a node without, where it puts another in the place of a class
    that is gone. No title is made up: without one ComfyUI names the class.
    """
    return {node_id: {**node, "_meta": node.get("_meta") or {}} for node_id, node in graph.items()}


@dataclass(frozen=True, kw_only=True)
class PromptRequest:
    """Body of `POST /prompt`."""

    graph: Graph
    prompt_id: str | None = None
    client_id: str | None = None
    extra_data: Mapping[str, Any] = field(default_factory=dict)
    # Position in the queue; None lets the server count on.
    number: float | None = None
    # True puts the job before all that wait.
    front: bool = False

    def to_json(self) -> dict[str, Any]:
        body: dict[str, Any] = {
            "prompt": with_meta(self.graph),
            "extra_data": dict(self.extra_data),
        }
        if self.prompt_id is not None:
            body["prompt_id"] = self.prompt_id
        if self.client_id is not None:
            body["client_id"] = self.client_id
        if self.number is not None:
            body["number"] = self.number
        if self.front:
            body["front"] = True
        return body

    @classmethod
    def from_json(cls, body: Any) -> PromptRequest:
        """Read a body; raises ProtocolError where it has no graph or odd extra data."""
        if not isinstance(body, dict) or not isinstance(body.get("prompt"), dict):
            raise ProtocolError("no prompt provided")
        if not isinstance(body.get("extra_data") or {}, dict):
            raise ProtocolError("extra_data must be an object")
        return cls(
            graph=body["prompt"],
            prompt_id=body.get("prompt_id"),
            client_id=body.get("client_id"),
            extra_data=body.get("extra_data") or {},
            number=body.get("number"),
            front=bool(body.get("front", False)),
        )


@dataclass(frozen=True, kw_only=True)
class PromptAccepted:
    """Answer 200 to `POST /prompt`. `problems` are branches the server dropped silently."""

    prompt_id: str
    # None where the answer was lost and the job was then found on the server
    number: float | None
    problems: tuple[NodeProblem, ...] = ()

    @classmethod
    def from_json(cls, body: Any) -> PromptAccepted:
        try:
            return cls(
                prompt_id=str(body["prompt_id"]),
                number=float(body["number"]),
                problems=read_node_errors(body.get("node_errors")),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ProtocolError(f"the answer to POST /prompt is not ComfyUI's: {body!r}") from error


def read_node_errors(node_errors: Any) -> tuple[NodeProblem, ...]:
    """Flatten `node_errors` ({id: {errors: [...], class_type}}, or an empty list) to problems."""
    if not isinstance(node_errors, dict):
        return ()
    return tuple(
        NodeProblem(
            node_id=str(node_id),
            class_type=str(entry.get("class_type", "?")),
            type=str(error.get("type", "")),
            message=str(error.get("message", "")),
            details=str(error.get("details", "")),
        )
        for node_id, entry in node_errors.items()
        for error in entry.get("errors", [])
    )


def read_refusal(body: Any) -> tuple[str, tuple[NodeProblem, ...]]:
    """Read the body of a 400 answer: the sentence and the problems of the nodes."""
    if not isinstance(body, dict):
        return str(body), ()
    error = body.get("error", "")
    problems = read_node_errors(body.get("node_errors"))
    if not isinstance(error, dict):
        return str(error), problems
    message, details = str(error.get("message", "")), str(error.get("details", ""))
    # ComfyUI repeats the problems of all nodes in `details`; we print those ourselves.
    return (f"{message}: {details}" if details and not problems else message), problems


@dataclass(frozen=True, kw_only=True)
class FileRef:
    """A file on the server, as `/view` wants it."""

    filename: str
    subfolder: str = ""
    # "output", "temp" or "input"
    type: str = "output"

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> FileRef:
        return cls(
            filename=str(body["filename"]),
            subfolder=str(body.get("subfolder", "")),
            type=str(body.get("type", "output")),
        )

    def to_json(self) -> dict[str, str]:
        return {"filename": self.filename, "subfolder": self.subfolder, "type": self.type}


def files_of(outputs: Mapping[str, Any]) -> list[tuple[str, FileRef]]:
    """List (node id, file) of every file in a history record's `outputs`, in order."""
    found: list[tuple[str, FileRef]] = []
    for node_id, output in outputs.items():
        for values in (output or {}).values():
            if not isinstance(values, list):
                continue
            found += [
                (str(node_id), FileRef.from_json(value))
                for value in values
                if isinstance(value, dict) and "filename" in value
            ]
    return found


class JobState(str, Enum):
    """Where a job is, as far as its server tells."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    # neither in the queue nor in the history
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class HistoryRecord:
    """One entry of `GET /history`."""

    prompt_id: str
    graph: Graph
    # {node_id: {"images": [file, ...], ...}}
    outputs: Mapping[str, Any]
    state: JobState
    # (event name, its data, whose `timestamp` is in milliseconds)
    messages: tuple[tuple[str, Mapping[str, Any]], ...] = ()

    @classmethod
    def from_json(cls, prompt_id: str, body: Any) -> HistoryRecord:
        try:
            status = body.get("status") or {}
            messages = tuple((str(name), dict(data)) for name, data in status.get("messages", []))
            return cls(
                prompt_id=prompt_id,
                graph=body["prompt"][2],
                outputs=body.get("outputs") or {},
                state=_state_of(status.get("status_str"), messages),
                messages=messages,
            )
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise ProtocolError(f"the history record of {prompt_id} cannot be read") from error

    def message(self, name: str) -> Mapping[str, Any] | None:
        """The data of the last message called `name`, or None."""
        return next((data for event, data in reversed(self.messages) if event == name), None)


def _state_of(
    status_str: str | None, messages: Iterable[tuple[str, Mapping[str, Any]]]
) -> JobState:
    # An interrupted run says "error" too; only its messages tell (pitfall 9). A record without a
    # status is one of an old server, which wrote records of successes only.
    if status_str in (None, "success"):
        return JobState.SUCCEEDED
    names = {name for name, _ in messages}
    return JobState.INTERRUPTED if "execution_interrupted" in names else JobState.FAILED


@dataclass(frozen=True, kw_only=True)
class QueueState:
    """Answer to `GET /queue`: ids in the order in which they run."""

    running: tuple[str, ...]
    pending: tuple[str, ...]

    @classmethod
    def from_json(cls, body: Any) -> QueueState:
        try:
            pending = sorted(body["queue_pending"], key=lambda item: (item[0], item[1]))
            return cls(
                running=tuple(str(item[1]) for item in body["queue_running"]),
                pending=tuple(str(item[1]) for item in pending),
            )
        except (KeyError, IndexError, TypeError) as error:
            raise ProtocolError("the answer to GET /queue is not ComfyUI's") from error


# What the embedded engine is called in records.
ENGINE = "spriteworks-engine"


@dataclass(frozen=True, kw_only=True)
class SystemStats:
    """What `GET /system_stats` says of a server."""

    # "comfyui", or ENGINE for the embedded one
    kind: str
    version: str
    device: str
    # "cpu", "cuda", "mps", ... of the first device
    device_type: str = "cpu"
    # bytes; total and free on the first device
    vram_total: int = 0
    vram_free: int = 0
    # bytes that torch holds there for this server; on a CPU or MPS it means nothing
    torch_vram_total: int = 0
    # bytes; total and free in the system
    ram_total: int = 0
    ram_free: int = 0

    @property
    def is_engine(self) -> bool:
        """Whether it is the embedded engine, which knows the nodes of the shipped workflows."""
        return self.kind == ENGINE

    @classmethod
    def from_json(cls, body: Any) -> SystemStats:
        try:
            system = body["system"]
            device = (body.get("devices") or [{}])[0]
            return cls(
                kind=ENGINE if "spriteworks_version" in system else "comfyui",
                version=str(system.get("spriteworks_version") or system.get("comfyui_version", "")),
                device=str(device.get("name", "unknown")),
                device_type=str(device.get("type", "cpu")),
                vram_total=int(device.get("vram_total", 0)),
                vram_free=int(device.get("vram_free", 0)),
                torch_vram_total=int(device.get("torch_vram_total", 0)),
                ram_total=int(system.get("ram_total", 0)),
                ram_free=int(system.get("ram_free", 0)),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ProtocolError("the answer to GET /system_stats is not ComfyUI's") from error
