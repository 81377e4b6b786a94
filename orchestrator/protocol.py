"""ComfyUI's HTTP and WebSocket messages as types, for both ends, with no I/O.

A message is decoded once, here; the client, the embedded engine and the fake server of the tests
match on these types and never on dict keys. Read in ComfyUI 0.3.64; docs/protocol.md has the whole
picture and its pitfalls.
"""

from __future__ import annotations

import json
import re
import struct
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias

from .errors import NodeProblem, ProtocolError

# {node_id: {"class_type": str, "inputs": {...}, "_meta": {"title": str}}}
Graph: TypeAlias = dict[str, dict[str, Any]]

_CANONICAL_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def new_prompt_id() -> str:
    """Mint a `prompt_id`: a canonical lower-case UUID, the only form newer servers accept."""
    return str(uuid.uuid4())


def is_prompt_id(text: str) -> bool:
    """Say whether `text` is a canonical lower-case UUID."""
    return _CANONICAL_UUID.fullmatch(text) is not None


# --------------------------------------------------------------------------- HTTP


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
        body: dict[str, Any] = {"prompt": self.graph, "extra_data": dict(self.extra_data)}
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
        """Read a body; raises ProtocolError where it has no graph."""
        if not isinstance(body, dict) or not isinstance(body.get("prompt"), dict):
            raise ProtocolError("no prompt provided")
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


@dataclass(frozen=True, kw_only=True)
class SystemStats:
    """What `GET /system_stats` says of a server."""

    # "comfyui", or "spriteworks-engine" for the embedded one
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

    @classmethod
    def from_json(cls, body: Any) -> SystemStats:
        try:
            system = body["system"]
            device = (body.get("devices") or [{}])[0]
            return cls(
                kind="spriteworks-engine" if "spriteworks_version" in system else "comfyui",
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


# ---------------------------------------------------------------------- WebSocket


@dataclass(frozen=True, kw_only=True)
class Status:
    """The queue's length changed; the first one after connecting carries the session id."""

    queue_remaining: int
    sid: str | None = None


@dataclass(frozen=True, kw_only=True)
class ExecutionStart:
    """A run began."""

    prompt_id: str
    timestamp: int = 0


@dataclass(frozen=True, kw_only=True)
class ExecutionCached:
    """These nodes will not run again. Sent once a run, the list may be empty."""

    prompt_id: str
    nodes: tuple[str, ...]
    timestamp: int = 0


@dataclass(frozen=True, kw_only=True)
class Executing:
    """A node began; `node` is None once the run is over and its history record exists."""

    prompt_id: str
    node: str | None
    display_node: str | None = None


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A node's own count, for example sampling steps."""

    prompt_id: str
    node: str
    value: float
    max: float


@dataclass(frozen=True, kw_only=True)
class NodeProgress:
    """One node of a `progress_state` message."""

    node_id: str
    # "running", "finished" or "error"; nodes that wait are omitted by the server
    state: str
    value: float = 0.0
    max: float = 1.0
    display_node_id: str | None = None
    # the node of the submitted graph that an expanded node stands for
    real_node_id: str | None = None
    parent_node_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class ProgressState:
    """The state of every node that has begun."""

    prompt_id: str
    nodes: tuple[NodeProgress, ...]


@dataclass(frozen=True, kw_only=True)
class Executed:
    """An output node ended; `output` is None for a cached node whose output is not kept."""

    prompt_id: str
    node: str
    output: Mapping[str, Any] | None
    display_node: str | None = None


@dataclass(frozen=True, kw_only=True)
class ExecutionSuccess:
    """The run succeeded; its history record may not exist yet (pitfall 1)."""

    prompt_id: str
    timestamp: int = 0


@dataclass(frozen=True, kw_only=True)
class ExecutionError:
    """A node raised; the history record may not exist yet."""

    prompt_id: str
    node_id: str
    node_type: str
    exception_message: str
    exception_type: str = ""
    traceback: tuple[str, ...] = ()
    executed: tuple[str, ...] = ()
    current_inputs: Mapping[str, Any] = field(default_factory=dict)
    current_outputs: tuple[str, ...] = ()
    timestamp: int = 0

    @property
    def terminal(self) -> bool:
        """False for ExecutionBlocked, after which the run goes on (pitfall 8)."""
        return self.exception_type != "ExecutionBlocked"


@dataclass(frozen=True, kw_only=True)
class ExecutionInterrupted:
    """The run was stopped."""

    prompt_id: str
    node_id: str | None = None
    node_type: str | None = None
    executed: tuple[str, ...] = ()
    timestamp: int = 0


@dataclass(frozen=True, kw_only=True)
class FeatureFlags:
    """What an end can do; a client sends it as its first message."""

    data: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Preview:
    """A picture on the way: an intermediate one, or the result of SaveImageWebsocket."""

    # "jpeg" or "png"
    format: str
    image: bytes
    # only where the server knows that we understand event 4
    prompt_id: str | None = None
    node_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Text:
    """Text for a node, binary event 3."""

    node_id: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Unknown:
    """An event that this version does not know; newer servers may send some."""

    type: str
    data: Any


Event: TypeAlias = (
    Status
    | ExecutionStart
    | ExecutionCached
    | Executing
    | Progress
    | ProgressState
    | Executed
    | ExecutionSuccess
    | ExecutionError
    | ExecutionInterrupted
    | FeatureFlags
    | Preview
    | Text
    | Unknown
)

_TYPES: dict[str, Any] = {
    "execution_start": ExecutionStart,
    "execution_cached": ExecutionCached,
    "executing": Executing,
    "progress": Progress,
    "executed": Executed,
    "execution_success": ExecutionSuccess,
    "execution_error": ExecutionError,
    "execution_interrupted": ExecutionInterrupted,
}
_NAMES = {cls: name for name, cls in _TYPES.items()}

_EVENT_PREVIEW, _EVENT_TEXT, _EVENT_PREVIEW_METADATA = 1, 3, 4
_FORMATS = {1: "jpeg", 2: "png"}
_FORMAT_NUMBERS = {name: number for number, name in _FORMATS.items()}


def decode_event(frame: str | bytes) -> Event:
    """Decode one WebSocket frame, text or binary; raises ProtocolError where it is malformed."""
    try:
        if isinstance(frame, bytes):
            return _decode_binary(frame)
        message = json.loads(frame)
        return _decode_text(str(message["type"]), message.get("data") or {})
    except (KeyError, TypeError, ValueError, AttributeError, struct.error) as error:
        raise ProtocolError(f"a WebSocket message cannot be read: {frame[:200]!r}") from error


def _decode_text(name: str, data: Any) -> Event:
    match name:
        case "status":
            remaining = data.get("status", {}).get("exec_info", {}).get("queue_remaining", 0)
            return Status(queue_remaining=int(remaining), sid=data.get("sid"))
        case "feature_flags":
            return FeatureFlags(data=data)
        case "progress_state":
            nodes = tuple(_node_progress(key, node) for key, node in data["nodes"].items())
            return ProgressState(prompt_id=data["prompt_id"], nodes=nodes)
    cls = _TYPES.get(name)
    if cls is None:
        return Unknown(type=name, data=data)
    known = {key: data[key] for key in cls.__dataclass_fields__ if key in data}
    for key, value in known.items():
        if isinstance(value, list):
            known[key] = tuple(value)
    # Sent before the run's id is known, an event belongs to no job of ours.
    known.setdefault("prompt_id", "")
    event: Event = cls(**known)
    return event


def _node_progress(key: str, node: Mapping[str, Any]) -> NodeProgress:
    return NodeProgress(
        node_id=str(node.get("node_id", key)),
        state=str(node["state"]),
        value=float(node.get("value", 0)),
        max=float(node.get("max", 1)),
        display_node_id=node.get("display_node_id"),
        real_node_id=node.get("real_node_id"),
        parent_node_id=node.get("parent_node_id"),
    )


def _decode_binary(frame: bytes) -> Event:
    (event,) = struct.unpack_from(">I", frame)
    if event == _EVENT_PREVIEW:
        (number,) = struct.unpack_from(">I", frame, 4)
        return Preview(format=_FORMATS.get(number, "jpeg"), image=frame[8:])
    if event == _EVENT_TEXT:
        (length,) = struct.unpack_from(">I", frame, 4)
        return Text(node_id=frame[8 : 8 + length].decode(), text=frame[8 + length :].decode())
    if event == _EVENT_PREVIEW_METADATA:
        (length,) = struct.unpack_from(">I", frame, 4)
        metadata = json.loads(frame[8 : 8 + length])
        return Preview(
            format=str(metadata.get("image_type", "image/jpeg")).removeprefix("image/"),
            image=frame[8 + length :],
            prompt_id=metadata.get("prompt_id"),
            node_id=metadata.get("node_id"),
        )
    return Unknown(type=f"binary {event}", data=frame)


def encode_event(event: Event, *, preview_metadata: bool = False) -> str | bytes:
    """Encode an event as the frame that ComfyUI would send.

    `preview_metadata` says that the receiver's first message announced
    `supports_preview_metadata`; previews then go as event 4 instead of event 1.
    """
    match event:
        case Preview():
            return _encode_preview(event, preview_metadata)
        case Text():
            name = event.node_id.encode()
            return struct.pack(">II", _EVENT_TEXT, len(name)) + name + event.text.encode()
        case Status():
            data: dict[str, Any] = {
                "status": {"exec_info": {"queue_remaining": event.queue_remaining}}
            }
            if event.sid is not None:
                data["sid"] = event.sid
            return _message("status", data)
        case ProgressState():
            nodes = {
                node.node_id: {"prompt_id": event.prompt_id, **vars(node)} for node in event.nodes
            }
            return _message("progress_state", {"prompt_id": event.prompt_id, "nodes": nodes})
        case FeatureFlags():
            return _message("feature_flags", dict(event.data))
        case Unknown():
            return _message(event.type, event.data)
    return _message(_NAMES[type(event)], event_data(event))


def event_data(event: Event) -> dict[str, Any]:
    """The `data` of a plain event, as it stands in messages and in history records."""
    data = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in vars(event).items()
    }
    # The event that ends a run has no node to show.
    if isinstance(event, Executing) and event.node is None:
        del data["display_node"]
    return data


def event_name(event: Event) -> str:
    """The wire name of a plain event, for example "execution_start"."""
    return _NAMES[type(event)]


def _message(name: str, data: Any) -> str:
    return json.dumps({"type": name, "data": data})


def _encode_preview(event: Preview, metadata: bool) -> bytes:
    if not metadata:
        return struct.pack(">II", _EVENT_PREVIEW, _FORMAT_NUMBERS[event.format]) + event.image
    header = json.dumps(
        {
            "node_id": event.node_id,
            "prompt_id": event.prompt_id,
            "display_node_id": event.node_id,
            "parent_node_id": event.node_id,
            "real_node_id": event.node_id,
            "image_type": f"image/{event.format}",
        }
    ).encode()
    return struct.pack(">II", _EVENT_PREVIEW_METADATA, len(header)) + header + event.image
