"""Requests and answers of ComfyUI's HTTP routes."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice
from typing import Any, TypeAlias, TypeVar

from ..errors import NodeProblem, ProtocolError
from .decoding import (
    MALFORMED,
    listing,
    mapping,
    mappings,
    number,
    text,
    text_or_none,
    texts,
    whole,
)

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


_ANNOTATION = re.compile(r"^(?P<name>.*?) ?\[(?P<type>input|output|temp)\]$")


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
    # The output nodes to run; None runs all.
    targets: tuple[str, ...] | None = None

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
        if self.targets is not None:
            body["partial_execution_targets"] = list(self.targets)
        return body

    @classmethod
    def from_json(cls, body: Any) -> PromptRequest:
        """Read a body; raises ProtocolError where it has no graph, or what it has beside is odd."""
        if not isinstance(body, dict) or not isinstance(body.get("prompt"), dict):
            raise ProtocolError("no prompt provided")
        extra_data = _extra_data(body)
        return cls(
            graph=body["prompt"],
            prompt_id=body.get("prompt_id"),
            client_id=_field(body, "client_id", text_or_none, "a text"),
            extra_data=extra_data,
            number=_field(body, "number", _place_in_queue, "a number"),
            front=bool(body.get("front", False)),
            targets=_field(body, "partial_execution_targets", _targets, "a list of node ids"),
        )


_T = TypeVar("_T")


def _field(body: Mapping[str, Any], name: str, read: Callable[[Any], _T], kind: str) -> _T:
    try:
        return read(body.get(name))
    except MALFORMED as error:
        raise ProtocolError(f"{name} must be {kind}, not {_shown(body[name])[:200]}") from error


def _place_in_queue(value: Any) -> float | None:
    # ComfyUI takes a text that is a number, too
    return None if value is None else number(float(value) if isinstance(value, str) else value)


def _targets(value: Any) -> tuple[str, ...] | None:
    return None if value is None else texts(value)


# What a text chunk of a PNG may be called: 1 to 79 letters of Latin-1 that print (PNG, 11.3.3.2).
_CHUNK = re.compile(r"[\x20-\x7e\xa1-\xff]{1,79}")


def _extra_data(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """What comes beside the graph: what pictures carry must be an object that can be written."""
    found = _field(body, "extra_data", lambda value: mapping(value or {}), "an object")
    _field(found, "client_id", text_or_none, "a text")
    carried = _field(found, "extra_pnginfo", lambda value: mapping(value or {}), "an object")
    for name in carried:
        if not _CHUNK.fullmatch(name):
            raise ProtocolError(
                f"{_shown(name)[:100]!r} in extra_pnginfo cannot be the name of a picture's text: "
                "those have 1 to 79 letters of Latin-1"
            )
    return found


@dataclass(frozen=True, kw_only=True)
class PromptAccepted:
    """Answer 200 to `POST /prompt`. `problems` are branches the server dropped silently."""

    prompt_id: str
    # None where the answer was lost and the job was then found on the server
    number: float | None
    problems: tuple[NodeProblem, ...] = ()

    @classmethod
    def from_json(cls, body: Any) -> PromptAccepted:
        """Read an answer; raises ProtocolError where it is none."""
        try:
            return cls(
                prompt_id=text(body["prompt_id"]),
                number=float(number(body["number"])),
                problems=read_node_errors(body.get("node_errors")),
            )
        except MALFORMED as error:
            raise ProtocolError(
                f"the answer to POST /prompt is not ComfyUI's: {_shown(body)}"
            ) from error


# More problems of one graph are not told; nobody reads them.
_MOST_PROBLEMS = 1000


def read_node_errors(node_errors: Any) -> tuple[NodeProblem, ...]:
    """Flatten `node_errors` ({id: {errors: [...], class_type}}, or an empty list) to problems.

    What is malformed is left out: a refusal stays one.
    """
    if not isinstance(node_errors, dict):
        return ()
    found = (
        NodeProblem(
            node_id=_shown(node_id),
            class_type=_shown(entry.get("class_type", "?")),
            type=_shown(error.get("type", "")),
            message=_shown(error.get("message", "")),
            details=_shown(error.get("details", "")),
        )
        for node_id, entry in node_errors.items()
        if isinstance(entry, dict) and isinstance(entry.get("errors", []), list)
        for error in entry.get("errors", [])
        if isinstance(error, dict)
    )
    return tuple(islice(found, _MOST_PROBLEMS))


def read_refusal(body: Any) -> tuple[str, tuple[NodeProblem, ...]]:
    """Read the body of a 400 answer: the sentence and the problems of the nodes."""
    if not isinstance(body, dict):
        return _shown(body), ()
    error = body.get("error", "")
    problems = read_node_errors(body.get("node_errors"))
    if not isinstance(error, dict):
        return _shown(error), problems
    message, details = _shown(error.get("message", "")), _shown(error.get("details", ""))
    # ComfyUI repeats the problems of all nodes in `details`; we print those ourselves.
    return (f"{message}: {details}" if details and not problems else message), problems


# Characters of a message that are shown.
_LONGEST = 4000


def _shown(value: Any) -> str:
    """A value of a message for people to read, of any type and length."""
    words = value if isinstance(value, str) else repr(value)
    # No terminal, log or database has a use for it.
    return words[:_LONGEST].replace("\0", "")


def annotated(name: str, default: str) -> tuple[str, str]:
    """Split "name [output]" into the name and the folder's type."""
    match = _ANNOTATION.match(name)
    return (match["name"], match["type"]) if match else (name, default)


@dataclass(frozen=True, kw_only=True)
class FileRef:
    """A file on the server, as `/view` wants it."""

    filename: str
    subfolder: str = ""
    # "output", "temp" or "input"
    type: str = "output"

    @classmethod
    def from_json(cls, body: Any) -> FileRef:
        """Read one; raises ProtocolError where it names no file."""
        try:
            return cls(
                filename=_name(body["filename"]),
                subfolder=_name(body.get("subfolder") or ""),
                type=_name(body.get("type") or "output"),
            )
        except MALFORMED as error:
            raise ProtocolError(f"a server names a file so: {_shown(body)[:200]}") from error

    def to_json(self) -> dict[str, str]:
        return {"filename": self.filename, "subfolder": self.subfolder, "type": self.type}


def _name(value: Any) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST or _CONTROL.search(value):
        raise ValueError("a name is expected")
    return value


_CONTROL = re.compile(r"[\x00-\x1f]")
# More files of one job are taken for a mistake, or malice.
_MOST_FILES = 10_000


def files_of(outputs: Mapping[str, Any]) -> list[tuple[str, FileRef]]:
    """List (node id, file) of every file in a history record's `outputs`, in order.

    Raises ProtocolError where one of them cannot be read.
    """
    found: list[tuple[str, FileRef]] = []
    for node_id, output in outputs.items():
        for values in output.values() if isinstance(output, dict) else ():
            if not isinstance(values, list):
                continue
            found += [
                (str(node_id), FileRef.from_json(value))
                for value in values
                if isinstance(value, dict) and "filename" in value
            ]
            if len(found) > _MOST_FILES:
                raise ProtocolError(f"a job's record names more than {_MOST_FILES:,} files")
    return found


def sheet_files_of(outputs: Mapping[str, Any]) -> list[tuple[str, FileRef]]:
    """List (node id, file) of what Save Sheet wrote beside its pages, in order.

    Raises ProtocolError where one of them cannot be read.
    """
    named: dict[str, Any] = {}
    for node_id, output in outputs.items():
        told = output.get("sheet_files") if isinstance(output, dict) else None
        entries = told if isinstance(told, list) else []
        files = [
            {**entry, "filename": entry["name"]}
            for entry in entries
            if isinstance(entry, dict) and "name" in entry
        ]
        named[node_id] = {"files": files}
    return files_of(named)


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
        """Read the record of a job; raises ProtocolError where it is none, or another job's."""
        try:
            status = mapping(body.get("status") or {})
            messages = tuple(
                (text(name), mapping(data)) for name, data in listing(status.get("messages") or [])
            )
            _, named, graph = body["prompt"][:3]
            outputs = mapping(body.get("outputs") or {})
            # they are looked through by whoever wants pictures
            for _ in (*mappings(outputs), *mappings(mapping(graph))):
                pass
            if named != prompt_id:
                raise ValueError("the record is another job's")
            return cls(
                prompt_id=prompt_id,
                graph=graph,
                outputs=outputs,
                state=_state_of(text_or_none(status.get("status_str")), messages),
                messages=messages,
            )
        except MALFORMED as error:
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
        """Read an answer; raises ProtocolError where it is none."""
        try:
            waiting = listing(body["queue_pending"])
            pending = sorted((number(item[0]), text(item[1])) for item in waiting)
            return cls(
                running=tuple(text(item[1]) for item in listing(body["queue_running"])),
                pending=tuple(prompt_id for _, prompt_id in pending),
            )
        except MALFORMED as error:
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
        """Read an answer; raises ProtocolError where it is none."""
        try:
            system = mapping(body["system"])
            device = mapping((body.get("devices") or [{}])[0])
            version = system.get("spriteworks_version") or system.get("comfyui_version") or ""
            return cls(
                kind=ENGINE if "spriteworks_version" in system else "comfyui",
                version=text(version)[:_LONGEST],
                device=text(device.get("name", "unknown"))[:_LONGEST],
                device_type=text(device.get("type", "cpu"))[:_LONGEST],
                vram_total=whole(device.get("vram_total", 0)),
                vram_free=whole(device.get("vram_free", 0)),
                torch_vram_total=whole(device.get("torch_vram_total", 0)),
                ram_total=whole(system.get("ram_total", 0)),
                ram_free=whole(system.get("ram_free", 0)),
            )
        except MALFORMED as error:
            raise ProtocolError("the answer to GET /system_stats is not ComfyUI's") from error
