"""Spriteworks from Python: servers, runs and batches. `import orchestrator as spriteworks`.

The command line stands on this module; docs/python.md shows it with examples that are tested.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias, overload

from .client.client import Client
from .errors import (
    JobError,
    JobInterrupted,
    JobLost,
    JobTimedOut,
    NodeProblem,
    ResultMissing,
    ResultWrong,
    ServerError,
    UsageError,
)
from .local.arguments import MANAGED
from .local.serving import Choice, reached
from .protocol import Event, Executing, ExecutionCached, Graph, JobState, Preview
from .protocol import StepProgress as Stepped
from .runs.converting import Converted, catalogue_in, convert_file
from .runs.made import Made
from .runs.run import Observer, Run, prepare
from .runs.workflows import Workflow, read_workflow
from .workflow.catalogue import Catalogue
from .workflow.document import Document
from .workflow.graph import owner, title
from .workflow.roles import Settings, parameters
from .workflow.values import Held

if TYPE_CHECKING:
    from .batch.execution.dispatcher import Dispatcher

# What a parameter of a workflow may be given as; a path names a picture.
Value: TypeAlias = str | int | float | bool | Path
# The name of a shipped workflow, a file, or what `read_workflow` gave.
AnyWorkflow: TypeAlias = str | os.PathLike[str] | Document
Folder: TypeAlias = str | os.PathLike[str]

# s between two looks at how many jobs of a batch are where: among 100,000 they take 20 ms
_COUNT_EVERY = 1.0


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a job is, at one moment."""

    # nodes of the workflow that have begun or were cached, and all of them
    node: int
    nodes: int
    # the title of the node that runs; "" before the first
    title: str = ""
    # steps of that node that are done, and all of them; 0 where it counts none
    step: float = 0.0
    steps: float = 0.0
    # an intermediate picture, JPEG or PNG, where this is news of one
    preview: bytes | None = None


# ---------------------------------------------------------------------------- servers


def start_engine(*, models: Folder | None = None, keep: float | None = None) -> Server:
    """Start the embedded engine, which needs nothing installed besides; best in a `with`.

    `models` is a folder of further models in ComfyUI's layout. With `keep` the engine is left
    running until nobody used it for so many s, and one that was left so is used. Raises
    ServerStartFailed.
    """
    if keep is None:
        return Server(Choice(engines=1, models=_path(models)))
    return Server(Choice(models=_path(models), keep=keep))


def start_comfyui(
    folder: Folder | None = None, *, models: Folder | None = None, previews: bool = False
) -> Server:
    """Start the ComfyUI of a folder with our nodes, without changing it; best in a `with`.

    Without a folder it is the newest that `spriteworks comfyui install` made. `previews` has it
    send intermediate pictures. Raises UsageError where the folder holds no ComfyUI, and where there
    is none of ours, ServerStartFailed where it does not start.
    """
    place = _path(folder) or Path(MANAGED)
    return Server(Choice(comfyui=place, models=_path(models), previews=previews))


def connect(url: str, *, timeout: float | None = None) -> Server:
    """Use a server that runs, for example "http://127.0.0.1:8188".

    It has `timeout` s for its first answer. Raises ServerUnreachable where nobody answers,
    ProtocolError where it is no ComfyUI.
    """
    if not isinstance(url, str):
        raise UsageError(
            f"connect takes the address of a server as a text, not {url!r}; without one, "
            "start_engine() starts one here"
        )
    return Server(Choice(urls=(url,)), timeout=timeout)


class Server:
    """A ComfyUI server, or an embedded engine. A context manager; threads may share it.

    Left by an error, it cancels the jobs that nobody has waited for. One that was started here ends
    with its block, or with `close`.
    """

    def __init__(
        self,
        choice: Choice,
        say: Callable[[str], None] = lambda text: None,
        *,
        timeout: float | None = None,
    ) -> None:
        """Use `connect`, `start_engine` or `start_comfyui`; `say` is told which server it is.

        A server that runs has `timeout` s for its first answer.
        """
        self._stack = ExitStack()
        self._jobs: list[Job] = []
        self._nodes: Catalogue | None = None
        self._reached = self._stack.enter_context(reached(choice, say, timeout))

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            for job in list(self._jobs):
                # Where the server is gone the jobs are, too; the first reason is the one to tell.
                with suppress(ServerError):
                    job.cancel()
        self.close()

    @property
    def url(self) -> str:
        """Its address, for example "http://127.0.0.1:8188"."""
        return self._reached.url

    @property
    def kind(self) -> str:
        """What it is: "comfyui" or "spriteworks-engine"."""
        return self._reached.stats.kind

    @property
    def version(self) -> str:
        """Its version, for example "0.33.0"."""
        return self._reached.stats.version

    @property
    def device(self) -> str:
        """What it computes on, as it says."""
        return self._reached.stats.device

    def close(self) -> None:
        """Give up all connections, and end the server where it was started here and is not kept.

        On a server that runs by itself, jobs that were not waited for go on.
        """
        for job in list(self._jobs):
            job.close()
        self._stack.close()

    def refresh(self) -> None:
        """Ask anew which nodes and models it has; else that is asked once."""
        self._nodes = None

    def run(
        self,
        workflow: AnyWorkflow,
        *,
        out: Folder | None = None,
        timeout: float | None = None,
        progress: Callable[[Progress], None] | None = None,
        observer: Observer | None = None,
        any_graph: bool = False,
        settings: Mapping[str, Value] | None = None,
        **roles: Value,
    ) -> Made:
        """Run a workflow once; gives its pictures, its timings and what it used of memory.

        `workflow` is the name of a shipped one (sprite, batch, pixel_art, inpaint,
        icons, frames), or a file: a
        canvas, a graph, or a picture that carries one. `roles` are those that the workflow has of
        prompt, negative, seed, steps, cfg, width, height, batch_size, sampler, scheduler, denoise,
        model, image and mask; `settings` are the
        same, or inputs by `NODE_ID.input` or `"Node title".input`; they are applied first.

        `out` is a folder that gets the pictures and run.json once all of it is here; without it the
        pictures are saved from what is given. `timeout` is in s, until the last picture is here.
        `progress` is called for every step and `observer` for every event, both in this thread. A
        picture that carries another graph than the one that was sent is another job's, and refused;
        `any_graph` takes it, for servers with node packs that rewrite graphs.

        Raises UsageError, GraphError, InputError and OutputError before anything is sent, and
        JobError and ServerError and their kin after it; the job is then taken from the server.
        """
        watching = _Watching(progress, observer)
        with self.client() as client, client.at_most(timeout):
            prepared = self._prepared(client, workflow, settings, roles, watching)
            with Run(
                client,
                prepared,
                self._reached.stats,
                watching,
                out=_path(out),
                metered=True,
                any_graph=any_graph,
            ) as run:
                run.submit()
                return run.wait()

    def submit(
        self,
        workflow: AnyWorkflow,
        *,
        out: Folder | None = None,
        progress: Callable[[Progress], None] | None = None,
        observer: Observer | None = None,
        any_graph: bool = False,
        settings: Mapping[str, Value] | None = None,
        **roles: Value,
    ) -> Job:
        """Send a workflow and return at once; all is as in `run`, but for the memory, which is not
        measured. Every job has a connection of its own: for thousands use `run_batch`.
        """
        watching = _Watching(progress, observer)
        with ExitStack() as stack:
            client = stack.enter_context(self.client())
            prepared = self._prepared(client, workflow, settings, roles, watching)
            run = stack.enter_context(
                Run(
                    client,
                    prepared,
                    self._reached.stats,
                    watching,
                    out=_path(out),
                    any_graph=any_graph,
                )
            )
            run.submit()
            job = Job(self, run, stack.pop_all())
        self._jobs.append(job)
        return job

    def parameters(
        self,
        workflow: AnyWorkflow,
        *,
        settings: Mapping[str, Value] | None = None,
        **roles: Value,
    ) -> dict[str, Held]:
        """What each role of a workflow has, settings applied; None where it follows the model."""
        found = self.check(workflow, settings=settings, **roles)
        return parameters(found.graph, found.catalogue)

    def check(
        self,
        workflow: AnyWorkflow,
        *,
        settings: Mapping[str, Value] | None = None,
        **roles: Value,
    ) -> Workflow:
        """A workflow as it would be sent, checked against this server; nothing is run.

        Raises UsageError and GraphError with all that is wrong.
        """
        with self.client() as client:
            return self._prepared(client, workflow, settings, roles)

    def convert(self, path: Folder) -> Converted:
        """A canvas file as the graph that ComfyUI's editor would send to this server."""
        with self.client() as client:
            return convert_file(_path(path), self._catalogue(client))

    def client(self) -> Client:
        """A connection of its own, for one thread, to be closed: all that the protocol knows."""
        return self._reached.client()

    def _forget(self, job: Job) -> None:
        with suppress(ValueError):
            self._jobs.remove(job)

    def _catalogue(self, client: Client) -> Catalogue:
        nodes = self._nodes
        if nodes is None:
            nodes = self._nodes = client.catalogue()
        return nodes

    def _prepared(
        self,
        client: Client,
        workflow: AnyWorkflow,
        settings: Mapping[str, Value] | None,
        roles: Mapping[str, Value],
        observer: Observer | None = None,
    ) -> Workflow:
        document = workflow if isinstance(workflow, Document) else read_workflow(_path(workflow))
        found = prepare(
            client,
            self._catalogue(client),
            Path(document.name),
            _settings(settings or {}, roles),
            document,
        )
        for note in found.notes if observer else ():
            assert observer is not None
            observer.noted(note)
        return found


class Job:
    """A workflow that a server was sent. Wait for it in one thread; cancel it from any."""

    def __init__(self, server: Server, run: Run, stack: ExitStack) -> None:
        """Use `Server.submit`."""
        self._server = server
        self._run = run
        self._stack = stack
        self._made: Made | None = None
        # what it ended with, where that is for good
        self._failure: JobError | None = None
        self._cancelled = False
        self._closed = False
        # held by the one thread that waits; what it does is not for two at once
        self._turn = threading.Lock()

    @property
    def id(self) -> str:
        """Its id on the server: a canonical UUID, minted here."""
        return self._run.prompt_id

    @property
    def state(self) -> JobState:
        """Where it is, as the server tells."""
        with self._server.client() as client:
            return client.state(self.id)

    def wait(self, timeout: float | None = None) -> Made:
        """Wait for its end and bring its pictures here; may be called again.

        `timeout` is in s; None waits for ever. Raises JobTimedOut, after which the job goes on:
        wait again, or cancel it. Raises NodeFailed where one of its nodes failed, JobInterrupted
        where it was cancelled, JobLost, ResultMissing, ServerLost and their kin, and UsageError
        where it, or its server, was closed before.
        """
        began = time.monotonic()
        patience = threading.TIMEOUT_MAX if timeout is None else max(timeout, 0.0)
        if not self._turn.acquire(timeout=min(patience, threading.TIMEOUT_MAX)):
            raise JobTimedOut(f"job {self.id} is still waited for by another thread")
        try:
            if self._made is None:
                left = None if timeout is None else timeout - (time.monotonic() - began)
                self._made = self._waited(left)
                self.close()
            return self._made
        finally:
            self._turn.release()

    def _waited(self, timeout: float | None) -> Made:
        if self._failure is not None:
            raise self._failure
        if self._closed:
            raise UsageError(
                f"job {self.id} was closed, so nobody can wait for it any more; wait "
                "before its server is closed"
            )
        try:
            return self._outcome(timeout)
        except (JobTimedOut, ResultMissing, ResultWrong):
            # It may go otherwise the next time.
            raise
        except JobError as error:
            self._failure = error
            self.close()
            raise

    def _outcome(self, timeout: float | None) -> Made:
        # A job that is cancelled before it began leaves nothing behind on its server.
        gone = JobInterrupted(f"job {self.id} was cancelled before it began")
        if self._cancelled and self.state is JobState.UNKNOWN:
            raise gone
        try:
            return self._run.wait(timeout)
        except JobLost as error:
            if self._cancelled:
                raise gone from error
            raise

    def cancel(self) -> None:
        """Take it from the server's queue, or stop it where it runs; others are left alone."""
        self._cancelled = True
        with self._server.client() as client:
            client.cancel(self.id)

    def close(self) -> None:
        """Give up the connection; the job itself goes on, and cannot be waited for any more."""
        self._closed = True
        self._stack.close()
        self._server._forget(self)


def convert(path: Folder, object_info: Folder) -> Converted:
    """A canvas file as the graph that ComfyUI's editor would send.

    `object_info` is a saved answer of GET /object_info; `Server.convert` asks a server instead.
    What is wrong with the canvas is in the answer; raises UsageError where `object_info` is none.
    """
    return convert_file(_path(path), catalogue_in(_path(object_info)))


# ---------------------------------------------------------------------------- batches


@dataclass(frozen=True, kw_only=True)
class BatchStatus:
    """Where a batch stands, in pictures."""

    total: int = 0
    done: int = 0
    # on a server, or on the way to one
    running: int = 0
    pending: int = 0
    # given up, with a reason
    failed: int = 0
    # set aside because servers died with them
    quarantined: int = 0
    cancelled: int = 0
    # no longer in the manifest; their pictures stay
    unwanted: int = 0
    # whether somebody is at work on it
    active: bool = False
    # how long the rest may take, in s; None where nothing is known
    seconds_left: float | None = None
    # {picture: why it was given up}; the first twenty
    failures: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """True where every picture that is wanted is there."""
        return self.done == self.total


def run_batch(
    manifest: Folder,
    servers: str | Server | Iterable[str | Server] = (),
    out: Folder = "out",
    *,
    engines: int = 0,
    comfyui: Folder | None = None,
    gpus: Iterable[int] = (),
    models: Folder | None = None,
    batch_size: int | None = None,
    progress: Callable[[BatchStatus], None] | None = None,
) -> BatchStatus:
    """Make what is missing of a manifest's pictures; start and resume in one.

    `servers` are addresses, or servers that run; besides them `engines` processes of the embedded
    engine are started, or the ComfyUI of a folder, once for each of `gpus`. None at all is one
    engine. `batch_size` is how many pictures that differ in the seed share a graph. `progress` is
    called about once a second, in this thread.

    Jobs that were given up are told in what is returned, and end no batch. Raises ManifestError
    with all that is wrong, BatchBusy where another is at work in `out`, OutputError where no
    picture can be written, ServerUnreachable where no server is left. Ctrl-C ends it in good order,
    and is then raised; the same call goes on.
    """
    from .batch import production

    if isinstance(servers, str | Server):
        # A text is a row of texts, too: its letters.
        servers = (servers,)
    choice = Choice(
        urls=tuple(one.url if isinstance(one, Server) else one for one in servers),
        engines=engines,
        comfyui=_path(comfyui),
        gpus=tuple(map(str, gpus)),
        models=_path(models),
    )
    request = production.BatchRequest(
        manifest=_path(manifest), out=_path(out), choice=choice, batch_size=batch_size
    )
    result = production.run(request, _BatchProgress(progress))
    if result.signal == signal.SIGINT:
        raise KeyboardInterrupt
    if result.signal:
        # It was meant for the program, whose own answer to it counts from here on.
        signal.raise_signal(result.signal)
    return batch_status(out)


def batch_status(out: Folder) -> BatchStatus:
    """Where the batch in a folder stands, also while it runs; raises StoreError and UsageError."""
    from .batch import production

    found = production.status(_path(out))
    failures = {one["name"]: one["reason"] for one in found["failures"]}
    return replace(
        _status(found),
        active=found["active"],
        seconds_left=found["seconds_left"],
        failures=failures,
    )


def _status(counts: Mapping[str, Any]) -> BatchStatus:
    names = [
        "total",
        "done",
        "running",
        "pending",
        "failed",
        "quarantined",
        "cancelled",
        "unwanted",
    ]
    return BatchStatus(**{name: counts[name] for name in names})


class _BatchProgress:
    """Sums up what happens to a batch."""

    def __init__(self, tell: Callable[[BatchStatus], None] | None) -> None:
        self._tell = tell
        self._told = 0.0

    def happened(self, kind: str, **details: Any) -> None:
        if self._tell is None or kind != "tick" or time.monotonic() - self._told < _COUNT_EVERY:
            return
        self._told = time.monotonic()
        dispatcher: Dispatcher = details["dispatcher"]
        self._tell(replace(_status(dispatcher.counts()), active=True))


# ---------------------------------------------------------------------------- privates


class _Watching:
    """Hands on what happens to a run: to a callback, and to an observer."""

    def __init__(
        self, progress: Callable[[Progress], None] | None, observer: Observer | None
    ) -> None:
        self._progress = progress
        self._observer = observer
        self._graph: Graph = {}
        self._begun: set[str] = set()
        self._now = Progress(node=0, nodes=0)

    def prepared(self, graph: Graph) -> None:
        self._graph = graph
        self._tell(Progress(node=0, nodes=len(graph)))
        if self._observer is not None:
            self._observer.prepared(graph)

    def noted(self, text: str) -> None:
        if self._observer is not None:
            self._observer.noted(text)

    def dropped(self, problem: NodeProblem) -> None:
        if self._observer is not None:
            self._observer.dropped(problem)

    def event(self, event: Event) -> None:
        graph = self._graph
        now = replace(self._now, node=len(self._begun), preview=None)
        match event:
            case ExecutionCached():
                self._begun.update(node for node in event.nodes if node in graph)
            case Executing(node=str()):
                node = owner(graph, event.node, event.display_node)
                self._begun.update([node] if node else [])
                name = title(graph, node) if node else ""
                self._tell(Progress(node=len(self._begun), nodes=len(graph), title=name))
            case Stepped():
                self._tell(replace(now, step=event.value, steps=event.max))
            case Preview():
                self._tell(replace(now, preview=event.image))
        if self._observer is not None:
            self._observer.event(event)

    def _tell(self, progress: Progress) -> None:
        self._now = progress
        if self._progress is not None:
            self._progress(progress)


def _settings(settings: Mapping[str, Value], roles: Mapping[str, Value]) -> Settings:
    given = {**settings, **roles}
    return [(n, str(v) if isinstance(v, Path) else v) for n, v in given.items()]


@overload
def _path(path: Folder) -> Path: ...
@overload
def _path(path: None) -> None: ...
@overload
def _path(path: Folder | None) -> Path | None: ...
def _path(path: Folder | None) -> Path | None:
    """A path as a person writes it, who is used to a shell that knows `~`."""
    return None if path is None else Path(os.path.expanduser(path))
