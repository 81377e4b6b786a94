"""Every error that Spriteworks raises on purpose.

SpriteworksError
├── UsageError                what the user asked for cannot be done as asked
│   ├── UnknownParameter      --set names something the graph does not have
│   ├── BadValue              a value of the wrong type or out of range
│   ├── ManifestError         a manifest of a batch with mistakes, all of them
│   └── BatchBusy             another orchestrator is at work in the batch folder
├── GraphError                the workflow itself is not usable
│   ├── CanvasError           a canvas file that cannot be turned into a graph
│   └── UnknownNodeClass      the server has no such node
├── ModelError                a model file or folder that is missing or damaged
├── InputError                an input picture that is missing or no picture
├── OutputError               the result cannot be written (full disk, read-only folder)
├── InstallFailed             ComfyUI cannot be fetched, or what it needs not be installed
├── StoreError                the record of a batch cannot be read or written
│   ├── RecordLost            it is gone, emptied or damaged; `batch recover` rebuilds it
│   ├── StoreUnreachable      its database does not answer, or is locked; later it may
│   ├── IllegalTransition     a job cannot go from the state it is in to that one
│   ├── LeaseLost             an attempt was taken over by another orchestrator
│   ├── OtherVersion          the record is of another version than the worker
│   └── WorkerReplaced        another process goes by the name of this worker
├── RequestError              what somebody asks of the service cannot be done
│   ├── AccessDenied          no key, a wrong one, or one that counts no longer
│   ├── NotFound              nothing of that name is there for the key that asks
│   ├── HashMismatch          the bytes that came are not those that their hash names
│   ├── TooLarge              more bytes than the service takes
│   ├── RangeUnsatisfiable    the part of a file that is asked for lies behind its end
│   ├── LimitReached          more than a key may ask for at once, or in a minute
│   └── RequestRefused        what is asked for is not taken, and a program may read why
├── ServerError               something between us and the server
│   ├── ServerUnreachable     nobody answers at that address
│   ├── ServerLost            it answered before, and no longer does
│   ├── ServerFrozen          it answers, and does not get on with its job
│   ├── ServerStartFailed     a server that we start ended or never came up
│   ├── ServerFailed          HTTP 5xx: the server itself stumbled
│   ├── ProtocolError         the answer is not ComfyUI's protocol
│   └── JobRefused            HTTP 400: the server's own validation said no
└── JobError                  the job was accepted and did not succeed
    ├── NodeFailed            a node raised
    ├── JobInterrupted        stopped by a person or another client
    ├── JobTimedOut           not done within the time the user gave it
    ├── ResultMissing         done, but the server no longer has a file of it
    ├── ResultWrong           done, and what came is no whole picture, or another job's
    └── JobLost               neither in the queue nor in the history

The message of an error is one sentence for a person: what happened, to what, and what to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


class SpriteworksError(Exception):
    """Base of all; `exit_code` is what the command line ends with."""

    exit_code = 1


class UsageError(SpriteworksError):
    """What the user asked for cannot be done as asked."""

    exit_code = 2


class UnknownParameter(UsageError):
    """--set names something the graph does not have."""


class BadValue(UsageError):
    """A value of the wrong type or out of range."""


@dataclass(frozen=True, kw_only=True)
class ManifestProblem:
    """One mistake in a manifest, and where it stands."""

    file: str
    # from 1; None where the mistake is no single line's
    line: int | None
    # such as "items[3].seeds.count"; empty where it is the whole file
    field: str
    message: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return (
            f"{place}: {self.field}: {self.message}" if self.field else f"{place}: {self.message}"
        )


class ManifestError(UsageError):
    """A manifest of a batch with mistakes, all of them."""

    # more than these are counted in the message; `problems` has them all
    SHOWN = 100

    def __init__(self, message: str, problems: Sequence[ManifestProblem] = ()) -> None:
        self.problems = tuple(problems)
        rest = len(self.problems) - self.SHOWN
        more = [f"and {rest} more"] if rest > 0 else []
        super().__init__("\n  ".join([message, *map(str, self.problems[: self.SHOWN]), *more]))


class BatchBusy(UsageError):
    """Another orchestrator is at work in the batch folder."""


class GraphError(SpriteworksError):
    """The workflow itself is not usable."""

    exit_code = 2


class CanvasError(GraphError):
    """A canvas file that cannot be turned into a graph."""


class UnknownNodeClass(GraphError):
    """The server has no node of that class."""


class ModelError(SpriteworksError):
    """A model file or folder that is missing or damaged."""


class InputError(SpriteworksError):
    """An input picture that is missing or no picture."""

    exit_code = 2


class OutputError(SpriteworksError):
    """The result cannot be written."""


class InstallFailed(SpriteworksError):
    """ComfyUI cannot be fetched, or what it needs cannot be installed."""


class StoreError(SpriteworksError):
    """The record of a batch cannot be read or written."""


class RecordLost(StoreError):
    """The record of a batch is gone, emptied, damaged, or no record; it can be rebuilt."""


class StoreUnreachable(StoreError):
    """The database of a record does not answer for now, or is locked; the same may work later."""


class IllegalTransition(StoreError):
    """A job cannot go from the state it is in to that one."""


class LeaseLost(StoreError):
    """An attempt has ended, or was taken over by another orchestrator; nothing was written."""


class OtherVersion(StoreError):
    """The record of a service is of another version than this worker's."""


class WorkerReplaced(StoreError):
    """Another process goes by the name of this worker."""


class RequestError(SpriteworksError):
    """What somebody asks of the service cannot be done."""


class AccessDenied(RequestError):
    """No key, a wrong one, or one that counts no longer; the message does not say which."""


class NotFound(RequestError):
    """Nothing of that name is there for the key that asks; it may be there for others."""


class HashMismatch(RequestError):
    """The bytes that came are not those that their hash names."""


class TooLarge(RequestError):
    """More bytes than the service takes."""


class RangeUnsatisfiable(RequestError):
    """The part of a file that is asked for lies behind its end; `size` is the whole's, in bytes."""

    def __init__(self, message: str, size: int) -> None:
        self.size = size
        super().__init__(message)


class LimitReached(RequestError):
    """More than a key may ask for at once, or in a minute; `retry_after` s later it may."""

    def __init__(self, message: str, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class RequestRefused(RequestError):
    """What is asked for is not taken; `code` is why in a word, for programs.

    `details` are JSON values; `retry_after` s later the same may be taken.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        details: Mapping[str, Any] | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.code = code
        self.details = dict(details or {})
        self.retry_after = retry_after
        super().__init__(message)


class ServerError(SpriteworksError):
    """Something between us and the server."""

    exit_code = 3


class ServerUnreachable(ServerError):
    """Nobody answers at that address."""


class ServerLost(ServerError):
    """The server answered before, and no longer does."""


class ServerFrozen(ServerError):
    """The server answers, and does not get on with its job."""


class ServerStartFailed(ServerError):
    """A server that we start ended early or never came up."""


class ServerFailed(ServerError):
    """HTTP 5xx: the server itself stumbled over a request."""


class ProtocolError(ServerError):
    """The answer is not ComfyUI's protocol."""


@dataclass(frozen=True, kw_only=True)
class NodeProblem:
    """One reason why a server, or our own validation, refuses a node."""

    node_id: str
    class_type: str
    # ComfyUI's error type, for example "value_not_in_list"
    type: str
    message: str
    details: str = ""

    def __str__(self) -> str:
        text = f"node {self.node_id} ({self.class_type}): {self.message}"
        return f"{text}: {self.details}" if self.details else text


class JobRefused(ServerError):
    """HTTP 400: the server's own validation said no."""

    exit_code = 2

    def __init__(self, message: str, problems: Sequence[NodeProblem] = ()) -> None:
        self.problems = tuple(problems)
        super().__init__("\n  ".join([message, *map(str, self.problems)]))


class JobError(SpriteworksError):
    """The job was accepted and did not succeed."""

    exit_code = 4


class NodeFailed(JobError):
    """A node raised while it ran."""

    def __init__(
        self, *, node_id: str, class_type: str, message: str, traceback: str = "", kind: str = ""
    ) -> None:
        self.node_id = node_id
        self.class_type = class_type
        self.kind = kind
        self.traceback = traceback
        super().__init__(f"node {node_id} ({class_type}) failed: {message.strip()}")


class JobInterrupted(JobError):
    """Stopped by a person or by another client."""

    exit_code = 130


class JobTimedOut(JobError):
    """The job was not done within the time the user gave it."""


class ResultMissing(JobError):
    """The job is done, but its server no longer has a file of it."""


class ResultWrong(JobError):
    """What the server sent is no whole picture, or is another job's: the server is at fault."""


class JobLost(JobError):
    """The job is neither in the queue nor in the history of its server."""
