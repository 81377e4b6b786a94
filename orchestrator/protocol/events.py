"""What ComfyUI's WebSocket says, as text and binary frames."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ..errors import ProtocolError
from .decoding import (
    MALFORMED,
    decode_json,
    encode_json,
    mapping,
    number,
    text,
    text_or_none,
    texts,
    whole,
)


@dataclass(frozen=True, kw_only=True)
class QueueStatus:
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
class StepProgress:
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
    QueueStatus
    | ExecutionStart
    | ExecutionCached
    | Executing
    | StepProgress
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
    "progress": StepProgress,
    "executed": Executed,
    "execution_success": ExecutionSuccess,
    "execution_error": ExecutionError,
    "execution_interrupted": ExecutionInterrupted,
}
_NAMES = {cls: name for name, cls in _TYPES.items()}

_EVENT_PREVIEW, _EVENT_TEXT, _EVENT_PREVIEW_METADATA = 1, 3, 4
_FORMATS = {1: "jpeg", 2: "png"}
_FORMAT = re.compile(r"[a-z0-9]{1,16}")
_FORMAT_NUMBERS = {name: number for number, name in _FORMATS.items()}


def decode_event(frame: str | bytes) -> Event:
    """Decode one WebSocket frame, text or binary; raises ProtocolError where it is malformed."""
    try:
        if isinstance(frame, bytes):
            return _decode_binary(frame)
        message = mapping(decode_json(frame, "a WebSocket message"))
        return _decode_text(text(message["type"]), message.get("data") or {})
    except (*MALFORMED, struct.error) as error:
        raise ProtocolError(f"a WebSocket message cannot be read: {frame[:200]!r}") from error


def _decode_text(name: str, data: Any) -> Event:
    if name not in _TYPES and name not in ("status", "feature_flags", "progress_state"):
        return Unknown(type=name, data=data)
    data = mapping(data)
    match name:
        case "status":
            queue = mapping(mapping(data.get("status") or {}).get("exec_info") or {})
            remaining = whole(queue.get("queue_remaining", 0))
            return QueueStatus(queue_remaining=remaining, sid=text_or_none(data.get("sid")))
        case "feature_flags":
            return FeatureFlags(data=data)
        case "progress_state":
            nodes = mapping(data["nodes"]).items()
            return ProgressState(
                prompt_id=text(data["prompt_id"]),
                nodes=tuple(_node_progress(key, mapping(node)) for key, node in nodes),
            )
    cls = _TYPES[name]
    known = {
        key: _READ.get(field.type, _as_it_is)(data[key])
        for key, field in cls.__dataclass_fields__.items()
        if key in data
    }
    # Sent before the run's id is known, an event belongs to no job of ours.
    known.setdefault("prompt_id", "")
    event: Event = cls(**known)
    return event


def _as_it_is(value: Any) -> Any:
    return value


def _mapping_or_none(value: Any) -> Mapping[str, Any] | None:
    return None if value is None else mapping(value)


# How a field is read, by its type as it is written above.
_READ: Mapping[Any, Callable[[Any], Any]] = {
    "str": text,
    "str | None": text_or_none,
    "tuple[str, ...]": texts,
    "int": whole,
    "float": number,
    "Mapping[str, Any]": mapping,
    "Mapping[str, Any] | None": _mapping_or_none,
}


def _node_progress(key: str, node: Mapping[str, Any]) -> NodeProgress:
    return NodeProgress(
        node_id=text(node.get("node_id", key)),
        state=text(node["state"]),
        value=float(number(node.get("value", 0))),
        max=float(number(node.get("max", 1))),
        display_node_id=text_or_none(node.get("display_node_id")),
        real_node_id=text_or_none(node.get("real_node_id")),
        parent_node_id=text_or_none(node.get("parent_node_id")),
    )


def _decode_binary(frame: bytes) -> Event:
    (event,) = struct.unpack_from(">I", frame)
    if event == _EVENT_PREVIEW:
        (kind_number,) = struct.unpack_from(">I", frame, 4)
        return Preview(format=_FORMATS.get(kind_number, "jpeg"), image=frame[8:])
    if event == _EVENT_TEXT:
        node_id, rest = _led_by_length(frame)
        return Text(node_id=node_id.decode(), text=rest.decode())
    if event == _EVENT_PREVIEW_METADATA:
        head, image = _led_by_length(frame)
        metadata = mapping(decode_json(head, "a preview's head"))
        kind = text(metadata.get("image_type", "image/jpeg")).removeprefix("image/")
        # It becomes the ending of a file's name.
        if not _FORMAT.fullmatch(kind):
            raise ValueError("an image type is expected")
        return Preview(
            format=kind,
            image=image,
            prompt_id=text_or_none(metadata.get("prompt_id")),
            node_id=text_or_none(metadata.get("node_id")),
        )
    return Unknown(type=f"binary {event}", data=frame)


def _led_by_length(frame: bytes) -> tuple[bytes, bytes]:
    """What follows the length after a binary event's number, in so many bytes, and the rest."""
    (length,) = struct.unpack_from(">I", frame, 4)
    if length > len(frame) - 8:
        raise ValueError("a part is longer than the whole")
    return frame[8 : 8 + length], frame[8 + length :]


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
        case QueueStatus():
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
    return encode_json({"type": name, "data": data})


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
