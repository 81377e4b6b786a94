"""What the service tells of a request: values that both faces put into their own form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from enum import Enum
from typing import Any

from ..batch.logic.jobs import State
from .tracing import Trace, job_trace, parsed

# what notes call the trace of the request that was posted: [traceparent, tracestate]
_TRACE = "trace"


class Status(str, Enum):
    """Where a request stands, in the words of Comfy API v2."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    CANCELING = "canceling"
    CANCELED = "canceled"
    FAILED = "failed"
    EXPIRED = "expired"

    @property
    def is_final(self) -> bool:
        """True where nothing will change any more."""
        return self in (
            Status.SUCCEEDED,
            Status.CANCELED,
            Status.FAILED,
            Status.EXPIRED,
        )


_OF_STATE: Mapping[State, Status] = {
    State.DONE: Status.SUCCEEDED,
    State.FAILED: Status.FAILED,
    State.QUARANTINED: Status.FAILED,
    State.CANCELLED: Status.CANCELED,
    State.UNWANTED: Status.EXPIRED,
}


def status_of(state: State, *, started: bool, cancelling: bool) -> Status:
    """What a job's state means; `started` where its server runs it."""
    if state in _OF_STATE:
        return _OF_STATE[state]
    if cancelling:
        return Status.CANCELING
    return Status.RUNNING if started else Status.QUEUED


@dataclass(frozen=True, kw_only=True, slots=True)
class ProgressView:
    """How far a request is; complete in itself, so that one brings a watcher up to date."""

    # of the whole, 0 .. 1; never falls while a request runs
    value: float
    nodes_done: int
    nodes_total: int
    node: str | None = None
    node_class: str | None = None
    # of the node that runs, where it counts any
    step: int | None = None
    steps: int | None = None

    @property
    def message(self) -> str | None:
        """The node that runs and its steps, for people."""
        if self.node_class is None:
            return None
        return f"{self.node_class} {self.step}/{self.steps}" if self.steps else self.node_class

    def to_fields(self) -> dict[str, Any]:
        """By the names of the fields, from which it can be made again."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    def to_json(self) -> dict[str, Any]:
        """In the words of Comfy API v2."""
        return {
            "value": self.value,
            "nodes_done": self.nodes_done,
            "nodes_total": self.nodes_total,
            "current_node": self.node,
            "current_node_class": self.node_class,
            "step": self.step,
            "steps": self.steps,
            "message": self.message,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputView:
    """One file that a request made."""

    # of the asset that it is
    id: str
    node_id: str
    name: str
    # image, video, audio, text, file or latent
    type: str
    content_type: str
    # bytes
    size: int
    # "blake3:<hex>"
    hash: str
    job_id: str

    def to_json(self) -> dict[str, Any]:
        """In the words of Comfy API v2, without links, which depend on who asks."""
        return {
            "node_id": self.node_id,
            "name": self.name,
            "type": self.type,
            "content_type": self.content_type,
            "size_bytes": self.size,
            "id": self.id,
            "hash": self.hash,
            "job_id": self.job_id,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorView:
    """Why a request failed."""

    code: str
    message: str
    node_id: str | None = None
    class_type: str | None = None
    traceback: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestView:
    """A request as its owner may see it. Moments are s since the epoch by the wall clock."""

    id: str
    owner: str
    status: Status
    created_at: float
    started_at: float | None = None
    ended_at: float | None = None
    # when its record and its files go
    expires_at: float
    # the place of the row: a newer request has a higher one
    order: int = 0
    # from 1, among those that wait; None where it does not
    queue_position: int | None = None
    # the server that has it, as its options name it
    server: str = ""
    progress: ProgressView | None = None
    outputs: Sequence[OutputView] = ()
    error: ErrorView | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    # what is worth knowing of it, for people
    warnings: Sequence[str] = ()
    # what the face that took it wants to tell again: its seed, its workflow's name
    notes: Mapping[str, Any] = field(default_factory=dict)
    priority: int = 0
    # of its graph
    nodes: int = 0
    # URL that is told of its end; "" where none is
    webhook: str = ""

    @property
    def trace(self) -> Trace | None:
        """Its span, in the trace of the HTTP request that it came with."""
        return trace_in(self.notes, self.id)

    @property
    def updated_at(self) -> float:
        """When it changed last."""
        return self.ended_at or self.started_at or self.created_at

    @property
    def queue_ms(self) -> int | None:
        """ms that it waited; None while it still does."""
        until = self.started_at or self.ended_at
        return None if until is None else max(0, round((until - self.created_at) * 1000))

    @property
    def execution_ms(self) -> int | None:
        """ms that it ran; None before it has."""
        if self.started_at is None or self.ended_at is None:
            return None
        return max(0, round((self.ended_at - self.started_at) * 1000))


def trace_in(notes: Mapping[str, Any], id: str) -> Trace | None:
    """The span of a request, as `traced` left it in its notes."""
    header, state = notes.get(_TRACE, ("", ""))
    parent = parsed(header, [state])
    return None if parent is None else job_trace(parent, id)


def traced(trace: Trace | None) -> dict[str, Any]:
    """What a request's notes keep of the trace that it is a part of."""
    return {} if trace is None else {_TRACE: [trace.header, trace.state]}


def told_of(view: RequestView) -> dict[str, Any]:
    """What a webhook says of a request that has come to its end."""
    return {
        "id": view.id,
        "status": view.status.value,
        "created_at": view.created_at,
        "completed_at": view.ended_at,
        "metadata": dict(view.labels),
        "outputs": [one.to_json() for one in view.outputs],
        "error": None if view.error is None else asdict(view.error),
        **({} if view.trace is None else {"traceparent": view.trace.header}),
    }
