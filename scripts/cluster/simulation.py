"""A cluster on a virtual clock: servers, workers and clients are played, all that decides is real.

Each worker process is a real `Dispatcher` with its own view of one record, as `spriteworks worker`
has it: it chooses by `scheduler.choose`, claims in SQL, finds out there that others were quicker,
looks once a second whether something new waits. What is played: how long servers take, when jobs
are posted, and time itself, which jumps from one event to the next. Statements are executed one
after the other, so that two claims never meet in the same moment; that they may come too late, as
each worker's view is up to a second old, is real.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from orchestrator.batch.execution.dispatcher import Dispatcher, DispatchSettings, Finished
from orchestrator.batch.logic.assignments import Assignment
from orchestrator.batch.logic.jobs import Artifact, Job, Timing
from orchestrator.batch.logic.scheduler import Rules

from .counting import CountingStore

_DAY = 86_400.0
# s between two looks of a server that has nothing to do, as in `ServerWorker` and `Dispatcher`
_PULSE = 1.001
# s that it takes a hint that something has come to reach a worker, at most
_HINT = 0.02
# What a job's row carries: a prompt and a few settings of usual length.
PARAMETERS = {
    "positive": "a knight in rusty armour with a red cape, walking, left foot forward, "
    "pixel art, game sprite, full body, plain white background",
    "negative": "blurry, photo",
    "steps": 20,
    "cfg": 6.5,
    "width": 512,
    "height": 512,
}


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What is simulated."""

    gpus: int = 1000
    # of each worker process
    gpus_each: int = 4
    models: int = 40
    # who post, of whom one posts most
    owners: int = 50
    sprites_a_day: float = 1e6
    # virtual s that are counted, and before that until the servers have models
    seconds: float = 300.0
    warm_up: float = 300.0
    # s of a job whose model is loaded, and of loading one
    job: float = 5.0
    load: float = 12.0
    # sprites of one request, on average; those of one request share owner and model
    together: int = 20
    # how workers hear of new jobs: "poll", "all" (each is told) or "model" (those with a server
    # that has the model, or with one that has done nothing yet)
    wake: str = "poll"
    # s, `scheduler.Rules.head_start`
    head_start: float = 1.0
    # `scheduler.Rules.lead`
    lead: int = 4
    # `scheduler.Rules.newcomers_first`
    newcomers_first: bool = False
    # jobs that wait at the beginning
    backlog: int = 0
    seed: int = 1

    @property
    def workers(self) -> int:
        """Worker processes, each of which is an orchestrator."""
        return math.ceil(self.gpus / self.gpus_each)


@dataclass(kw_only=True)
class SimulationOutcome:
    """What came of it."""

    posted: int = 0
    done: int = 0
    # loads of a model by a server that had another one, or none
    loads: int = 0
    # s that servers ran jobs, and that they loaded
    busy: float = 0.0
    loading: float = 0.0
    # s from posting to the moment in which a server began, of each job
    waits: list[float] = field(default_factory=list)
    # the same of each owner
    waits_of: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    done_of: Counter[str] = field(default_factory=Counter)
    # requests to the record, by kind
    asked: Counter[str] = field(default_factory=Counter)
    # the most jobs that a worker's window had
    window: int = 0


class _Deaf:
    def happened(self, kind: str, **details: Any) -> None:
        """Take note of nothing."""


@dataclass(kw_only=True)
class _Server:
    """A GPU: what it has, the first of which runs."""

    name: str
    worker: _Worker
    held: list[Assignment] = field(default_factory=list)
    model: str = ""


@dataclass(kw_only=True)
class _Worker:
    """A worker process."""

    dispatcher: Dispatcher
    servers: list[_Server] = field(default_factory=list)


class Simulation:
    """One run of a cluster; `run` gives what came of it, `parts` what came of each part of it."""

    def __init__(self, cluster: Cluster, store: CountingStore) -> None:
        self.cluster = cluster
        self.store = store
        self.now = 0.0
        self.outcome = SimulationOutcome()
        self._random = random.Random(cluster.seed)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._names = itertools.count()
        self._posted: dict[str, float] = {}
        self._models = _ranked("model", cluster.models)
        self._owners = _ranked("owner", cluster.owners)
        self._workers = [self._worker(number) for number in range(cluster.workers)]

    def run(self) -> SimulationOutcome:
        """Let the seconds pass."""
        (outcome,) = self.parts(self.cluster.seconds)
        return outcome

    def parts(self, each: float) -> Iterator[SimulationOutcome]:
        """Let the seconds pass, and give what came of each part; a last one may be shorter."""
        self._start()
        self._pass(self.cluster.warm_up)
        end = self.cluster.warm_up + self.cluster.seconds
        while self.now < end:
            self.outcome = SimulationOutcome()
            self.store.asked.clear()
            self._pass(min(end, self.now + each))
            self.outcome.asked = self.store.asked.copy()
            yield self.outcome

    def _start(self) -> None:
        with self.store.uncounted():
            while self.outcome.posted < self.cluster.backlog:
                self._post()
        for worker in self._workers:
            self._at(self._random.uniform(0, _PULSE), self._poller(worker))
        if self.cluster.sprites_a_day:
            self._at(self._gap(), self._posting)

    def _pass(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            self.now, _, act = heapq.heappop(self._events)
            act()
        self.now = until

    # ------------------------------------------------------------------ what happens

    def _posting(self) -> None:
        self._post()
        self._at(self._gap(), self._posting)

    def _post(self) -> None:
        """A client posts some jobs of one model."""
        size = 1 + int(self._random.expovariate(1 / max(1e-9, self.cluster.together - 0.5)))
        owner, model = self._one_of(self._owners), self._one_of(self._models)
        with self.store.uncounted():
            jobs = self.store.add(self._jobs(size, owner, model))
        self._posted.update((job.key, self.now) for job in jobs)
        self.outcome.posted += size
        if self.cluster.wake != "poll":
            for worker in self._workers:
                if self.cluster.wake == "all" or _may_have(worker, model):
                    self._at(self._random.uniform(0, _HINT), self._hint(worker))

    def _poller(self, worker: _Worker) -> Callable[[], None]:
        def poll() -> None:
            self._fill(worker)
            self._at(_PULSE, poll)

        return poll

    def _hint(self, worker: _Worker) -> Callable[[], None]:
        def hint() -> None:
            worker.dispatcher.arrived()
            self._fill(worker)

        return hint

    def _fill(self, worker: _Worker) -> None:
        """Let the servers of a worker take what they get, those first that do nothing."""
        for server in sorted(worker.servers, key=lambda one: len(one.held)):
            while (assignment := worker.dispatcher.take(server.name)) is not None:
                server.held.append(assignment)
                if len(server.held) == 1:
                    self._begin(server)
        window = len(worker.dispatcher._queue.window)
        self.outcome.window = max(self.outcome.window, window)

    def _begin(self, server: _Server) -> None:
        assignment = server.held[0]
        job = assignment.jobs[0]
        server.worker.dispatcher.submitted(assignment)
        seconds = self.cluster.job * self._random.uniform(0.8, 1.25)
        if job.model != server.model:
            server.model = job.model
            self.outcome.loads += 1
            self.outcome.loading += self.cluster.load
            seconds += self.cluster.load
        self.outcome.busy += seconds
        wait = self.now - self._posted.pop(job.key)
        self.outcome.waits.append(wait)
        self.outcome.waits_of[job.owner].append(wait)
        self._at(seconds, lambda: self._end(server))

    def _end(self, server: _Server) -> None:
        assignment, dispatcher = server.held.pop(0), server.worker.dispatcher
        dispatcher.ended(assignment)
        if server.held:
            self._begin(server)
        self._fill(server.worker)
        dispatcher.done(finished(assignment))
        self.outcome.done += 1
        self.outcome.done_of[assignment.jobs[0].owner] += 1

    # ------------------------------------------------------------------ what there is

    def _worker(self, number: int) -> _Worker:
        settings = DispatchSettings(
            owner=f"worker-{number}",
            lease=None,
            endless=True,
            rules=Rules(
                head_start=self.cluster.head_start,
                lead=self.cluster.lead,
                newcomers_first=self.cluster.newcomers_first,
            ),
        )
        dispatcher = Dispatcher(self.store, _Deaf(), settings, clock=lambda: self.now)
        worker = _Worker(dispatcher=dispatcher)
        first = number * self.cluster.gpus_each
        for gpu in range(first, min(first + self.cluster.gpus_each, self.cluster.gpus)):
            worker.servers.append(_Server(name=f"http://gpu-{gpu}", worker=worker))
            dispatcher.join(f"http://gpu-{gpu}")
        return worker

    def _jobs(self, size: int, owner: str, model: str) -> Iterator[Job]:
        for number in itertools.islice(self._names, size):
            yield Job(
                key=f"{number:064}",
                name=f"sprite-{number}",
                item_id="i",
                parameters=PARAMETERS,
                seed=number,
                owner=owner,
                model=model,
            )

    def _at(self, seconds: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._order), act))

    def _gap(self) -> float:
        a_second = self.cluster.sprites_a_day / _DAY / self.cluster.together
        return self._random.expovariate(a_second)

    def _one_of(self, ranked: tuple[list[str], list[float]]) -> str:
        names, weights = ranked
        return self._random.choices(names, cum_weights=weights)[0]


def finished(assignment: Assignment) -> Finished:
    """The end of an attempt as real workers write it down: a picture and its timings."""
    job = assignment.jobs[0]
    picture = Artifact(
        path=f"{job.name}.png",
        key=job.key,
        sha256=job.key,
        pixels_sha256=job.key,
        bytes=30_000,
        mtime_ns=1,
        width=512,
        height=512,
        seed=job.seed,
        attempt_id=assignment.attempt.id,
        measured={},
    )
    names = ("queued", "run", "node", "node", "node", "fetch")
    spans = [Timing(span=name, node_class="KSampler", seconds=0.5) for name in names]
    return Finished(assignment=assignment, artifacts=[picture], seconds=5.0, spans=spans)


def _ranked(kind: str, count: int) -> tuple[list[str], list[float]]:
    """Names with cumulative weights: the n-th is asked for 1/n times as often as the first."""
    names = [f"{kind}-{number}" for number in range(count)]
    return names, list(itertools.accumulate(1 / number for number in range(1, count + 1)))


def _may_have(worker: _Worker, model: str) -> bool:
    return any(server.model in ("", model) for server in worker.servers)
