"""One ComfyUI server, or embedded engine, over HTTP and WebSocket.

Queue and history are the truth, the WebSocket is a hint (docs/protocol.md has the reasons). A
client serves one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from ..errors import (
    InputError,
    JobInterrupted,
    JobRefused,
    JobTimedOut,
    NodeFailed,
    OutputError,
    ProtocolError,
    ResultMissing,
    ServerError,
    SpriteworksError,
)
from ..protocol import (
    Event,
    FileRef,
    Graph,
    HistoryRecord,
    JobState,
    PromptAccepted,
    PromptRequest,
    QueueState,
    SystemStats,
    new_prompt_id,
    read_refusal,
)
from ..workflow.catalogue import Catalogue
from .bounds import AnswerTooLarge
from .cancelling import Canceller
from .foreign import Reaction, judge
from .listener import Listener
from .watch import Watch, ignore, state_in
from .wire import (
    ANSWER_LIMIT,
    FILE_LIMIT,
    LARGE_ANSWER_LIMIT,
    AddressNotFound,
    BadRequest,
    Timeouts,
    Wire,
    base_url,
)
from .wire import (
    ReceivedFile as ReceivedFile,
)


def _nothing_to_check() -> None:
    """Stand in for a check that nobody asked for."""


class Client:
    """A connection to one server. Use it as a context manager, from one thread.

    `check` is called when the server does not answer; it may raise an error that says why, for
    example that the process we started has ended.
    """

    def __init__(
        self,
        url: str,
        *,
        timeouts: Timeouts | None = None,
        check: Callable[[], None] = _nothing_to_check,
    ) -> None:
        self.url = base_url(url)
        self.timeouts = timeouts or Timeouts()
        self._check = check
        self._wire = Wire(self.url, self.timeouts)
        self._listener = Listener(self.url, self.timeouts, left=self._wire.bounds.left)
        self._canceller = Canceller(self._wire, self.queue)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def client_id(self) -> str:
        """The id under which the current WebSocket, if any, was opened."""
        return self._listener.client_id

    def close(self) -> None:
        """Close all connections. What was submitted goes on."""
        self._listener.close()
        self._wire.close()

    def abort(self) -> None:
        """From any thread: end what is under way, within a second or so, by ServerLost.

        Nothing can be asked any more; `close` is still for the client's own thread.
        """
        self._wire.bounds.abort()

    def until(self, deadline: float) -> AbstractContextManager[None]:
        """End all that happens inside, pauses and downloads too, by a time of time.monotonic().

        What is not done by then raises JobTimedOut; a job that was sent goes on, see `cancel`. Of
        several, one within the other, the earliest holds.
        """
        return self._wire.until(deadline)

    def at_most(self, seconds: float | None) -> AbstractContextManager[None]:
        """Do the same after so many s; None is for ever."""
        return nullcontext() if seconds is None else self.until(time.monotonic() + seconds)

    # ------------------------------------------------------------------ the server

    def system_stats(self) -> SystemStats:
        """Ask once what the server is; raises ServerUnreachable at once when nobody answers."""
        return SystemStats.from_json(self._wire.json("GET", "/system_stats"))

    def _stats(self) -> SystemStats:
        """Do the same with patience."""
        return SystemStats.from_json(self._get("/system_stats"))

    def object_info(self, node_class: str | None = None) -> dict[str, Any]:
        """Return the server's node classes, or the one asked for ({} where it is unknown)."""
        path = "/object_info" if node_class is None else f"/object_info/{node_class}"
        body = self._get(path, limit=LARGE_ANSWER_LIMIT)
        if not isinstance(body, dict):
            raise ProtocolError(f"{self.url} answered GET {path} with no object")
        return body

    def catalogue(self) -> Catalogue:
        """Return the server's node classes, decoded: ask once, and hand it on."""
        return Catalogue(self.object_info(), engine=self._stats().is_engine)

    def models(self, folder: str) -> list[str]:
        """Return the names of the models in one of the server's folders, e.g. "checkpoints"."""
        return self._names(f"/models/{folder}")

    def embeddings(self) -> list[str]:
        """Return the names of the embeddings that texts can name, without their suffixes."""
        return self._names("/embeddings")

    def queue(self) -> QueueState:
        """Return the ids of the jobs that run and wait."""
        return self._wire.patiently(self._look_in_queue)

    def free(self, *, unload_models: bool = True, free_memory: bool = True) -> None:
        """Ask the server to give back memory once its current job is done."""
        self._post("/free", {"unload_models": unload_models, "free_memory": free_memory})

    # ------------------------------------------------------------------------ jobs

    def submit(
        self,
        graph: Graph,
        *,
        prompt_id: str | None = None,
        extra_data: Mapping[str, Any] | None = None,
        front: bool = False,
    ) -> PromptAccepted:
        """Put a graph into the server's queue, once, whatever happens to the connection.

        The id is ours and minted before anything is sent. After any doubt whether the request
        arrived we look for that id before we post again. Raises JobRefused when the server's
        validation says no.
        """
        # Before the POST: a fast job would be over before a later socket hears of it.
        self._listener.open()
        request = PromptRequest(
            graph=graph,
            prompt_id=prompt_id or new_prompt_id(),
            client_id=self._listener.client_id or None,
            extra_data=extra_data or {},
            front=front,
        )
        for attempt in range(1, self.timeouts.tries):
            try:
                return self._post_prompt(request)
            except SpriteworksError as error:
                # Whatever the answer is too large for, the job may be there.
                verdict = Reaction.DOUBT if isinstance(error, AnswerTooLarge) else judge(error)
                if verdict is Reaction.FATAL:
                    raise
                self._check()
            if verdict is Reaction.DOUBT and self._arrived(str(request.prompt_id)):
                return PromptAccepted(prompt_id=str(request.prompt_id), number=None)
            self._wire.pause(attempt)
        return self._post_prompt(request)

    def wait(
        self,
        prompt_id: str,
        *,
        on_event: Callable[[Event], None] = ignore,
        timeout: float | None = None,
        on_turn: Callable[[], None] = _nothing_to_check,
    ) -> HistoryRecord:
        """Wait until a job has ended and return its history record.

        `on_event` gets the job's events as they are heard; some may be missing. `timeout` is in
        s; None waits for ever. `on_turn` is called about every `Timeouts.poll` and may raise to
        end the waiting. Raises NodeFailed, JobInterrupted, JobLost, JobTimedOut, ServerLost.
        """
        with self._at_most(prompt_id, timeout):
            record = self._watch(prompt_id, on_event, on_turn).run()
        raise_for_state(record)
        return record

    def hear_out(
        self,
        prompt_id: str,
        *,
        on_event: Callable[[Event], None] = ignore,
        on_turn: Callable[[], None] = _nothing_to_check,
        gather: float = 0.0,
    ) -> HistoryRecord | None:
        """Do what `wait` does for a job that was sent since the last one was waited for.

        Returns None where the server said over one connection that the job went well: its record
        is there, and whoever wants it looks for it, perhaps for several jobs at once. Events may
        be `gather` s late, which lets one awakening hear many.
        """
        record = self._watch(prompt_id, on_event, on_turn, gather=gather).hear_out()
        if record is not None:
            raise_for_state(record)
        return record

    def history(self, prompt_id: str) -> HistoryRecord | None:
        """Return a job's record; None while it waits or runs, and when the server forgot it."""
        return self._wire.patiently(lambda: self.look(prompt_id))

    def look(self, prompt_id: str) -> HistoryRecord | None:
        """Do what `history` does, in one try."""
        body = self._wire.json("GET", f"/history/{prompt_id}")
        if not isinstance(body, dict):
            raise ProtocolError(f"{self.url} answered GET /history with no object")
        entry = body.get(prompt_id)
        return None if entry is None else HistoryRecord.from_json(prompt_id, entry)

    def state(self, prompt_id: str) -> JobState:
        """Say where a job is. UNKNOWN may also be the moment between queue and history."""
        record = self.history(prompt_id)
        return record.state if record else state_in(self.queue(), prompt_id)

    def cancel(self, prompt_id: str, *, within: float = 5.0) -> None:
        """Take a job out of the queue, or stop it where it runs; others are left alone.

        It may take `within` s in all, also where the time of `until` is over; ServerLost then.
        """
        with self._wire.within(within):
            self._canceller.cancel(prompt_id)

    def interrupt(self, prompt_id: str) -> None:
        """Stop a running job."""
        self._canceller.interrupt(prompt_id)

    # ----------------------------------------------------------------------- files

    def upload(self, path: Path, *, kind: str = "input", subfolder: str = "") -> FileRef:
        """Send a picture to the server; the name in the answer may be another one than ours."""
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InputError(f"the picture {path} cannot be read: {error.strerror}") from error
        return self.upload_content(path.name, content, kind=kind, subfolder=subfolder)

    def upload_content(
        self, name: str, content: bytes, *, kind: str = "input", subfolder: str = ""
    ) -> FileRef:
        """Do what `upload` does with a picture that is in memory."""
        data = {"type": kind, "subfolder": subfolder}
        # The server recognises the same content under the same name, so a repeat does no harm.
        body = self._wire.patiently(
            lambda: self._wire.json(
                "POST", "/upload/image", data=data, files={"image": (name, content)}
            )
        )
        try:
            return FileRef.from_json({**body, "filename": body["name"]})
        except (KeyError, TypeError, ProtocolError) as error:
            raise ProtocolError(f"{self.url} does not say where it put {name}") from error

    def fetch(self, file: FileRef, sink: BinaryIO, *, limit: int = FILE_LIMIT) -> ReceivedFile:
        """Write a file of the server into `sink`, from where it stands, and hash it on the way.

        `sink` must be seekable: another try begins there again. Where this raises, something of
        the file may stand in it. Raises ResultMissing where the server has it no longer, and
        ProtocolError where it has more than `limit` bytes; what `sink` raises passes as it is.
        """
        begin = sink.tell()

        def fetch() -> ReceivedFile:
            sink.seek(begin)
            sink.truncate()
            with self._present(file):
                return self._wire.fetch("/view", file.to_json(), sink, limit=limit)

        return self._wire.patiently(fetch)

    def content(self, file: FileRef) -> bytes:
        """Fetch a file of the server whole; raises ResultMissing where it has it no longer."""
        sink = BytesIO()
        self.fetch(file, sink)
        return sink.getvalue()

    # -------------------------------------------------------------------- privates

    def _watch(
        self,
        prompt_id: str,
        on_event: Callable[[Event], None],
        on_turn: Callable[[], None],
        *,
        gather: float = 0.0,
    ) -> Watch:
        return Watch(
            self._listener,
            prompt_id,
            url=self.url,
            look=self.look,
            queue=self._look_in_queue,
            timeouts=self.timeouts,
            on_event=on_event,
            check=self._check,
            on_turn=on_turn,
            left=self._wire.bounds.left,
            gather=gather,
        )

    def _look_in_queue(self) -> QueueState:
        body = self._wire.json("GET", "/queue", limit=LARGE_ANSWER_LIMIT)
        return QueueState.from_json(body)

    def _at_most(self, prompt_id: str, timeout: float | None) -> AbstractContextManager[None]:
        if timeout is None:
            return nullcontext()

        def late() -> JobTimedOut:
            return JobTimedOut(
                f"job {prompt_id} was not done within {timeout:g} s on {self.url}; give it more "
                "time (timeout, or --timeout)"
            )

        return self._wire.bounds.until(time.monotonic() + timeout, late)

    def _names(self, path: str) -> list[str]:
        body = self._get(path)
        if not isinstance(body, list):
            raise ProtocolError(f"{self.url} answered GET {path} with no list")
        return [str(name) for name in body]

    def _get(self, path: str, *, limit: int = ANSWER_LIMIT) -> Any:
        return self._wire.patiently(lambda: self._wire.json("GET", path, limit=limit))

    def _post(self, path: str, body: dict[str, Any]) -> None:
        self._wire.patiently(lambda: self._wire.send("POST", path, json=body))

    def _post_prompt(self, request: PromptRequest) -> PromptAccepted:
        try:
            body = self._wire.json("POST", "/prompt", json=request.to_json())
        except BadRequest as error:
            sentence, problems = read_refusal(error.body)
            raise JobRefused(f"{self.url} refused the workflow: {sentence}", problems) from error
        accepted = PromptAccepted.from_json(body)
        ours = str(request.prompt_id)
        if accepted.prompt_id == ours or self._arrived(ours):
            return replace(accepted, prompt_id=ours)
        # No other try: the job runs, and we could not tell it from others.
        raise ServerError(
            f"{self.url} took the workflow under another id than ours; it needs ComfyUI 0.3.45 or "
            "newer"
        )

    def _arrived(self, prompt_id: str) -> bool:
        # The server may still be reading what we sent: one look is not enough to be sure.
        for attempt in range(1, self.timeouts.tries):
            if self.state(prompt_id) is not JobState.UNKNOWN:
                return True
            self._wire.pause(attempt)
        return False

    @contextmanager
    def _present(self, file: FileRef) -> Iterator[None]:
        try:
            yield
        except AddressNotFound as error:
            raise ResultMissing(
                f"{self.url} no longer has {file.filename}; its node was answered from the "
                "server's cache, and the file has been deleted since: change the seed or the file "
                "name prefix, or empty the server's cache, and run it again"
            ) from error


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Turn an error of writing `target` into an OutputError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"{target} cannot be written ({reason}); make room, or give another --out"
        ) from error


def raise_for_state(record: HistoryRecord) -> None:
    """Raise the error that a record tells of; return for a success."""
    if record.state is JobState.SUCCEEDED:
        return
    if record.state is JobState.INTERRUPTED:
        raise JobInterrupted(f"job {record.prompt_id} was stopped on the server; run it again")
    data = _failure_in(record)
    raise NodeFailed(
        node_id=_shown(data.get("node_id", "?")),
        class_type=_shown(data.get("node_type", "?")),
        message=_shown(data.get("exception_message", "the server gives no reason")),
        kind=_shown(data.get("exception_type", "")),
        traceback=_shown("".join(_strings(data.get("traceback"))), _LONGEST_TRACEBACK),
    )


# Characters that are kept of what a failed node says, and of where it failed.
_LONGEST, _LONGEST_TRACEBACK = 10_000, 100_000


def _shown(value: Any, longest: int = _LONGEST) -> str:
    # Databases take no NUL.
    return str(value)[:longest].replace("\0", "")


def _failure_in(record: HistoryRecord) -> Mapping[str, Any]:
    """The data of the error that ended a run; {} where the record has none."""
    errors = (data for name, data in reversed(record.messages) if name == "execution_error")
    # ExecutionBlocked is no failure: the run went on after it.
    return next((one for one in errors if one.get("exception_type") != "ExecutionBlocked"), {})


def _strings(values: Any) -> Iterable[str]:
    return map(str, values) if isinstance(values, list | tuple) else ()
