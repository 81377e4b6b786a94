"""A scriptable fake of a ComfyUI server, for the tests of this project and of its users.

It speaks the real protocol over real HTTP and WebSocket on a free port of this machine, checks
graphs against its `object_info`, "runs" them node by node on a thread of its own, and does on
request what real servers do on bad days::

    with FakeServer() as fake:
        hold = threading.Event()
        fake.script(Script(gates={"2": hold}))           # stop before node 2 ...
        fake.break_next("POST", "/prompt", Fault.RESET_AFTER)
        with Client(fake.url) as client:
            job = client.submit(graph)
            fake.reached("2")                            # ... which is where it is now
            hold.set()
            record = client.wait(job.prompt_id)
        assert len(fake.submissions) == 1

No node computes anything: output nodes write small plain PNGs. The contract suite holds the fake to
what real ComfyUI does.
"""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Mapping
from enum import Enum
from types import TracebackType
from typing import Any

from ..protocol import (
    Event,
    Executing,
    FileRef,
    Graph,
    JobsOverview,
    PromptRequest,
    QueueStatus,
    is_prompt_id,
    new_prompt_id,
)
from ..workflow.catalogue import Catalogue
from ..workflow.checking import validate
from ..workflow.graph import ancestors
from .http import Door, Fault, HttpAnswer, HttpRequest, SocketConnection, json_answer
from .jobs import cancel_jobs, get_jobs
from .nodes import OBJECT_INFO, node_errors
from .run import RECORD, FakeJob, FakeRun, Script, record_of

__all__ = ["OBJECT_INFO", "RECORD", "FakeServer", "Fault", "Script", "SocketMode"]


# Requests that break while a server is away; more than any test sends.
_FOR_LONG = 100_000


class SocketMode(Enum):
    """How the fake treats WebSockets."""

    TALK = "talk"
    # connections stand, and nothing is ever said
    SILENT = "silent"
    REFUSE = "refuse"


class FakeServer:
    """A fake server; a context manager. All attributes may be read from the test's thread."""

    def __init__(
        self,
        *,
        object_info: Mapping[str, Any] | None = None,
        port: int = 0,
        host: str = "127.0.0.1",
    ) -> None:
        self.object_info = dict(object_info or OBJECT_INFO)
        self.sockets = SocketMode.TALK
        # True: cached output nodes report null instead of their output
        self.cached_output_is_null = False
        # True: uploads get another name than they ask for
        self.renames_uploads = False
        # False: there is nothing below /api/jobs and any text is an id, as in older ComfyUI
        self.has_jobs = True
        # s that each node takes
        self.pace = 0.0
        # every request for a job that was let in, in order
        self.submissions: list[PromptRequest] = []
        self.requests: list[tuple[str, str]] = []
        # every job that was taken from the queue or interrupted by its id, in order
        self.cancelled: list[str] = []
        self.freed: list[dict[str, Any]] = []
        # {(type, subfolder, filename): content}
        self.files: dict[tuple[str, str, str], bytes] = {}
        self.history: dict[str, Any] = {}
        self._scripts: deque[Script] = deque()
        self._faults: list[tuple[str, str, Fault]] = []
        self._connections: list[SocketConnection] = []
        self._pending: list[FakeJob] = []
        self._running: FakeJob | None = None
        self.cache: dict[str, Any] = {}
        # whether the cache is to be emptied once nothing runs
        self._forgets = False
        self._opened = 0
        self._numbers = 0
        self._counter = 0
        self.interrupted = False
        self.closed = False
        self._changed = threading.Condition()
        self._reached: dict[str, threading.Event] = defaultdict(threading.Event)
        self._door = Door(self, port, host)
        self.url = self._door.url
        self._worker = threading.Thread(target=self._work, daemon=True)
        self._worker.start()

    def __enter__(self) -> FakeServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.die()

    # ---------------------------------------------------------------- for the test

    def script(self, *scripts: Script) -> None:
        """Say what happens to the next jobs, one script each; later ones just succeed."""
        self._scripts.extend(scripts)

    def break_next(self, method: str, path: str, fault: Fault, times: int = 1) -> None:
        """Spoil the next `times` requests whose path begins with `path`."""
        self._faults += [(method, path, fault)] * times

    def go_away(self) -> None:
        """Break every connection and request from now on, and go on with the jobs."""
        for method in ("GET", "POST"):
            self.break_next(method, "/", Fault.RESET_BEFORE, times=_FOR_LONG)
        self.cut_sockets()

    def come_back(self) -> None:
        """Spoil no further request."""
        self._faults.clear()

    def reached(self, moment: str, timeout: float = 60.0) -> None:
        """Wait until a run has come to a node (or to RECORD); fails after `timeout` s."""
        if not self._reached[moment].wait(timeout):
            raise TimeoutError(f"no run came to {moment!r}")

    def socket_came(self, number: int, timeout: float = 60.0) -> None:
        """Wait until `number` WebSockets have been opened in all."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._opened >= number, timeout):
                raise TimeoutError(f"{self._opened} sockets came, not {number}")

    def requested(self, method: str, path: str, times: int = 1, timeout: float = 60.0) -> None:
        """Wait until a path that begins with `path` has been asked for `times` times."""

        def count() -> int:
            return sum(one == method and two.startswith(path) for one, two in self.requests)

        with self._changed:
            if not self._changed.wait_for(lambda: count() >= times, timeout):
                raise TimeoutError(f"{method} {path} came {count()} times, not {times}")

    def forget(self) -> None:
        """Lose queue and history, as a restart does; what runs is dropped."""
        with self._changed:
            self._pending.clear()
            self._running = None
            self.history.clear()

    def cut_sockets(self) -> None:
        """Break every WebSocket."""
        for connection in list(self._connections):
            connection.cut()

    def say(self, event: Event) -> None:
        """Send an event to every WebSocket, whoever it is for."""
        for connection in list(self._connections):
            connection.send(event)

    def ping(self) -> None:
        """Ping every WebSocket."""
        for connection in list(self._connections):
            connection.ping()

    def die(self) -> None:
        """End as a killed process does: the port closes, connections break."""
        with self._changed:
            if self.closed:
                return
            self.closed = True
            self._changed.notify_all()
        self._door.close()
        if threading.current_thread() is not self._worker:
            self._worker.join()

    # ------------------------------------------------------- for the HTTP handlers

    def next_fault(self, request: HttpRequest) -> Fault | None:
        """Take the fault that is due for a request, if any."""
        with self._changed:
            self.requests.append((request.method, request.path))
            self._changed.notify_all()
        for number, (method, path, fault) in enumerate(self._faults):
            if request.method == method and request.path.startswith(path):
                del self._faults[number]
                return fault
        return None

    def accepts_sockets(self) -> bool:
        """Say whether WebSockets are let in."""
        return self.sockets is not SocketMode.REFUSE

    def socket_opened(self, connection: SocketConnection) -> None:
        """Take note of a new WebSocket."""
        with self._changed:
            self._connections.append(connection)
            self._opened += 1
            self._changed.notify_all()
        if self.sockets is SocketMode.TALK:
            connection.send(
                QueueStatus(queue_remaining=self._remaining(), sid=connection.client_id)
            )

    def socket_closed(self, connection: SocketConnection) -> None:
        """Take note that it has gone."""
        self._connections.remove(connection)

    def answer(self, request: HttpRequest) -> HttpAnswer:
        """Act on a request."""
        first, _, rest = request.path.strip("/").partition("/")
        name = f"_{request.method.lower()}_{first}"
        route = getattr(self, name, None)
        if route is None:
            return HttpAnswer(body=b"404: Not Found", status=404, type="text/plain")
        answer: HttpAnswer = route(request, rest)
        return answer

    def _get_system_stats(self, request: HttpRequest, rest: str) -> HttpAnswer:
        device = {"name": "fake", "type": "cpu", "vram_total": 0, "vram_free": 0}
        system = {"comfyui_version": "0.33.0", "python_version": "3", "argv": []}
        return json_answer({"system": system, "devices": [device]})

    def _get_object_info(self, request: HttpRequest, rest: str) -> HttpAnswer:
        if not rest:
            return json_answer(self.object_info)
        return json_answer({rest: self.object_info[rest]} if rest in self.object_info else {})

    def _get_features(self, request: HttpRequest, rest: str) -> HttpAnswer:
        return json_answer({"supports_preview_metadata": True})

    def _get_models(self, request: HttpRequest, rest: str) -> HttpAnswer:
        return json_answer([])

    def _get_embeddings(self, request: HttpRequest, rest: str) -> HttpAnswer:
        return json_answer(["style"])

    def _get_queue(self, request: HttpRequest, rest: str) -> HttpAnswer:
        with self._changed:
            running = [self._running.queue_item()] if self._running else []
            pending = [job.queue_item() for job in self._pending]
        return json_answer({"queue_running": running, "queue_pending": pending})

    def _post_queue(self, request: HttpRequest, rest: str) -> HttpAnswer:
        body = request.json()
        with self._changed:
            gone = body.get("delete", [])
            keep = [] if body.get("clear") else self._pending
            self.cancelled += [job.prompt_id for job in keep if job.prompt_id in gone]
            self._pending = [job for job in keep if job.prompt_id not in gone]
        return HttpAnswer()

    def _get_history(self, request: HttpRequest, rest: str) -> HttpAnswer:
        with self._changed:
            if not rest:
                return json_answer(self.history)
            return json_answer({rest: self.history[rest]} if rest in self.history else {})

    def _get_jobs(self, request: HttpRequest, rest: str) -> HttpAnswer:
        if not self.has_jobs:
            return HttpAnswer(body=b"404: Not Found", status=404, type="text/plain")
        with self._changed:
            jobs = JobsOverview(
                running=[self._running.queue_item()] if self._running else [],
                pending=[job.queue_item() for job in self._pending],
                history=dict(self.history),
            )
        return get_jobs(request, rest, jobs)

    def _post_jobs(self, request: HttpRequest, rest: str) -> HttpAnswer:
        if not self.has_jobs:
            # the editor's files have every other address there, and are there to get
            return HttpAnswer(body=b"405: Method Not Allowed", status=405, type="text/plain")
        return cancel_jobs(request, rest, self._cancel)

    def _cancel(self, prompt_id: str) -> bool:
        with self._changed:
            if self._running is not None and self._running.prompt_id == prompt_id:
                self.interrupted = True
                self.cancelled.append(prompt_id)
                self._changed.notify_all()
                return True
            left = [job for job in self._pending if job.prompt_id != prompt_id]
            if len(left) == len(self._pending):
                return False
            self._pending = left
            self.cancelled.append(prompt_id)
        self._announce_queue()
        return True

    def _post_interrupt(self, request: HttpRequest, rest: str) -> HttpAnswer:
        wanted = request.json().get("prompt_id")
        with self._changed:
            running = self._running
            self.interrupted = running is not None and wanted in (None, running.prompt_id)
            if self.interrupted and wanted:
                self.cancelled.append(wanted)
            self._changed.notify_all()
        return HttpAnswer()

    def _post_free(self, request: HttpRequest, rest: str) -> HttpAnswer:
        self.freed.append(request.json())
        if request.json().get("free_memory"):
            with self._changed:
                # As real servers do it: when what runs has ended.
                self._forgets = True
                if self._running is None:
                    self._forget()
        return HttpAnswer()

    def _forget(self) -> None:
        if self._forgets:
            self._forgets = False
            self.cache.clear()

    def _get_view(self, request: HttpRequest, rest: str) -> HttpAnswer:
        query = request.query
        key = (query.get("type", "output"), query.get("subfolder", ""), query["filename"])
        content = self.files.get(key)
        if content is None:
            return HttpAnswer(status=404)
        return HttpAnswer(body=content, type="image/png")

    def _post_upload(self, request: HttpRequest, rest: str) -> HttpAnswer:
        fields, name, content = request.form()
        kind, subfolder = fields.get("type", "input"), fields.get("subfolder", "")
        known = self.files.get((kind, subfolder, name))
        if self.renames_uploads or known not in (None, content):
            stem, dot, suffix = name.rpartition(".")
            name = f"{stem} (1){dot}{suffix}"
        self.files[(kind, subfolder, name)] = content
        return json_answer({"name": name, "subfolder": subfolder, "type": kind})

    def _post_prompt(self, request: HttpRequest, rest: str) -> HttpAnswer:
        body = request.json()
        if not isinstance(body.get("prompt"), dict):
            return _refusal("no_prompt", "No prompt provided", "No prompt provided")
        wanted = PromptRequest.from_json(body)
        if self.has_jobs and not (wanted.prompt_id is None or is_prompt_id(wanted.prompt_id)):
            message = "prompt_id is no UUID in lower case with hyphens"
            return _refusal("invalid_prompt_id", message, str(wanted.prompt_id))
        return self._validate(wanted)

    def _validate(self, wanted: PromptRequest) -> HttpAnswer:
        for node_id, node in wanted.graph.items():
            if node.get("class_type") not in self.object_info:
                kind = node.get("class_type")
                message = f"the node class {kind!r} does not exist"
                info = {"node_id": node_id, "class_type": kind, "node_title": kind}
                return _refusal("missing_node_type", message, f"Node ID '#{node_id}'", info=info)
        outputs = [key for key in wanted.graph if self._is_output(wanted.graph, key)]
        if not outputs:
            return _refusal("prompt_no_outputs", "Prompt has no outputs", "")
        problems = validate(wanted.graph, Catalogue(self.object_info))
        bad = {problem.node_id for problem in problems}
        errors = node_errors(problems, outputs)
        # Branches with a problem are dropped; only where none is left the job is refused.
        sound = [key for key in outputs if bad.isdisjoint(ancestors(wanted.graph, key))]
        if sound:
            return self._accept(wanted, sound, errors)
        name, message = "prompt_outputs_failed_validation", "Prompt outputs failed validation"
        return _refusal(name, message, "", errors)

    def _accept(self, wanted: PromptRequest, outputs: list[str], errors: Any) -> HttpAnswer:
        with self._changed:
            number = wanted.number if wanted.number is not None else float(self._numbers)
            self._numbers += 1
            job = FakeJob(
                number=-number if wanted.front else number,
                prompt_id=wanted.prompt_id or new_prompt_id(),
                request=wanted,
                script=self._scripts.popleft() if self._scripts else Script(),
                outputs=outputs,
            )
            self.submissions.append(wanted)
            self._pending.append(job)
            self._pending.sort(key=lambda one: (one.number, one.prompt_id))
            self._changed.notify_all()
        self._announce_queue()
        answer = {"prompt_id": job.prompt_id, "number": job.number, "node_errors": errors}
        return json_answer(answer)

    def _is_output(self, graph: Graph, node_id: str) -> bool:
        return bool(self.object_info[graph[node_id]["class_type"]].get("output_node"))

    # ------------------------------------------------------------- the worker thread

    def _work(self) -> None:
        while (job := self._next_job()) is not None:
            state = FakeRun(self, job).run()
            if self.closed:
                return
            self.pass_gate(job, RECORD)
            with self._changed:
                dropped = self._running is not job
                self._running = None
                if job.script.remembered and not dropped:
                    self.history[job.prompt_id] = record_of(job, state, self.cache)
                self._forget()
            self._announce_queue()
            self.tell(job, Executing(prompt_id=job.prompt_id, node=None))

    def _next_job(self) -> FakeJob | None:
        with self._changed:
            self._changed.wait_for(lambda: self._pending or self.closed)
            if self.closed:
                return None
            self._running = self._pending.pop(0)
            self.interrupted = False
            return self._running

    # ----------------------------------------------------------------- for its runs

    def pass_gate(self, job: FakeJob, moment: str) -> None:
        """Come to a node (or to RECORD) and wait at its gate, if there is one."""
        self._reached[moment].set()
        gate = job.script.gates.get(moment)
        if gate is None:
            return
        # A gate ends when its event is set, when the job is interrupted and when the server dies.
        while not gate.wait(0.01):
            if self.interrupted or self.closed or self._running is not job:
                return

    def store(self, kind: str, prefix: str, content: bytes) -> FileRef:
        """Save a picture under the next number, as SaveImage does."""
        self._counter += 1
        subfolder, _, stem = prefix.rpartition("/")
        file = FileRef(filename=f"{stem}_{self._counter:05}_.png", subfolder=subfolder, type=kind)
        self.files[(kind, subfolder, file.filename)] = content
        return file

    def tell(self, job: FakeJob, event: Event) -> None:
        """Send an event to the client that submitted a job."""
        if self.sockets is not SocketMode.TALK or job.request.client_id is None:
            return
        for connection in list(self._connections):
            if connection.client_id == job.request.client_id:
                connection.send(event)

    def _announce_queue(self) -> None:
        if self.sockets is SocketMode.TALK:
            self.say(QueueStatus(queue_remaining=self._remaining()))

    def _remaining(self) -> int:
        return len(self._pending) + (self._running is not None)


def _refusal(
    kind: str, message: str, details: str, errors: Any = None, *, info: Any = None
) -> HttpAnswer:
    error = {"type": kind, "message": message, "details": details, "extra_info": info or {}}
    return json_answer({"error": error, "node_errors": errors or {}}, status=400)
