"""A service, workers and servers as processes, on which anything may be killed, for tests.

Workers have a supervisor that starts them anew, as systemd does. What happens is seen from outside:
by the record, the servers' queues, and what the servers wrote down of what they made.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import sqlalchemy as sa

from orchestrator.local.process import free_port, python_environment
from served import LONG, Served
from service_world import graph, until

_SERVE = """
import json, sys, threading, time
from orchestrator.testing import FakeServer

class Logged(FakeServer):
    def store(self, kind, prefix, content):
        line = json.dumps({"prompt_id": self._running.prompt_id, "at": time.time()})
        log.write(line + "\\n")
        log.flush()
        return super().store(kind, prefix, content)

log = open(sys.argv[3], "a", encoding="utf-8")
server = Logged(host=sys.argv[1], port=int(sys.argv[2]))
server.pace = float(sys.argv[4])
print("ready", flush=True)
threading.Event().wait()
"""
_SUPERVISE = """
import subprocess, sys, time
while True:
    child = subprocess.Popen(sys.argv[2:])
    with open(sys.argv[1], "w") as file:
        file.write(str(child.pid))
    child.wait()
    time.sleep(0.5)
"""
# A lease that is shorter than the command's own, for tests that shall end in seconds.
_SHORTER = """
import sys
from orchestrator.service import loop
from orchestrator.service.workers import worker
loop.LEASE = worker.LEASE = float(sys.argv.pop(1))
from orchestrator.__main__ import main
sys.exit(main())
"""
_FINAL = ("done", "failed", "quarantined", "cancelled", "unwanted")
# s between two looks
_LOOK = 0.25


class Fake:
    """A fake server as a process."""

    def __init__(
        self,
        folder: Path,
        pace: float,
        host: str = "127.0.0.1",
        inside: Sequence[str] = (),
        port: int = 0,
    ) -> None:
        self._inside, self._host, self.port = inside, host, port or free_port()
        self._pace = pace
        self._log = folder / f"server-{'there-' if inside else ''}{self.port}.jsonl"
        self._process: subprocess.Popen[str] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"http://{self._host}:{self.port}"

    def start(self) -> None:
        arguments = [self._host, str(self.port), str(self._log), str(self._pace)]
        self._process = subprocess.Popen(
            [*self._inside, sys.executable, "-c", _SERVE, *arguments],
            env=python_environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        """End it as a power cut does: queue, history and pictures are gone."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def queue(self) -> set[str] | None:
        """The prompt_ids that it runs or will run; None where it does not answer us."""
        if self._inside and self._host == "127.0.0.1":
            return None
        try:
            found = requests.get(f"{self.url}/queue", timeout=1).json()
        except (requests.RequestException, ValueError):
            return None
        return {item[1] for part in ("queue_running", "queue_pending") for item in found[part]}

    def made(self) -> list[str]:
        """The prompt_id of each picture that it ever made."""
        return [line["prompt_id"] for line in self._lines()]

    def moments(self) -> list[float]:
        """When it made them, s since the epoch."""
        return [line["at"] for line in self._lines()]

    def _lines(self) -> list[dict[str, Any]]:
        if not self._log.is_file():
            return []
        return [json.loads(line) for line in self._log.read_text(encoding="utf-8").splitlines()]


class Hand:
    """`spriteworks worker` under a supervisor, over servers of its own."""

    def __init__(
        self,
        folder: Path,
        name: str,
        fakes: Sequence[Fake],
        environment: Mapping[str, str],
        *,
        lease: float | None = None,
        inside: Sequence[str] = (),
    ) -> None:
        self.name, self.fakes = name, list(fakes)
        self._inside, self._environment = inside, dict(environment)
        self._pid_file, self.log = folder / f"{name}.pid", folder / f"{name}.log"
        start = ["-m", "orchestrator"] if lease is None else ["-c", _SHORTER, str(lease)]
        servers = [part for one in fakes for part in ("--server", one.url)]
        self._command = [sys.executable, *start, "worker", "--name", name, *servers]
        # whether it can do anything: not killed, frozen or cut off, as far as the test did that
        self.is_well = True
        self._supervisor: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start the supervisor, which starts the worker."""
        self._pid_file.unlink(missing_ok=True)
        supervise = [sys.executable, "-c", _SUPERVISE, str(self._pid_file), *self._command]
        with self.log.open("ab") as log:
            self._supervisor = subprocess.Popen(
                [*self._inside, *supervise],
                env={**python_environment(), **self._environment},
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        self.is_well = True

    def times_at_work(self) -> int:
        """How often a worker has begun to claim."""
        return self.log.read_text(encoding="utf-8").count(" is at work on ")

    def kill_child(self) -> None:
        """End the worker as the kernel does that is out of memory; it is started anew."""
        os.kill(self._pid(), signal.SIGKILL)

    def kill_group(self) -> None:
        """End the worker and its supervisor, as a power cut does."""
        self.is_well = False
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            os.killpg(supervisor.pid, signal.SIGKILL)
            supervisor.wait()

    def freeze(self) -> None:
        self.is_well = False
        os.kill(self._pid(), signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self._pid(), signal.SIGCONT)
        self.is_well = True

    def _pid(self) -> int:
        return int(until(lambda: self._pid_file.is_file() and self._pid_file.read_text(), bool))


@dataclass(kw_only=True)
class Spans:
    """From when to when something was so, by what; s, monotonic."""

    ended: list[tuple[str, float, float]] = field(default_factory=list)
    begun: dict[str, float] = field(default_factory=dict)

    def see(self, those: set[str], now: float) -> None:
        """It is so for those, at this moment."""
        for one in [*self.begun]:
            if one not in those:
                self.ended.append((one, self.begun.pop(one), now))
        for one in those:
            self.begun.setdefault(one, now)


class Observer(threading.Thread):
    """Looks from outside which jobs nobody makes, and which servers have nothing to do."""

    def __init__(self, database: str, hands: Sequence[Hand]) -> None:
        super().__init__(daemon=True)
        self._engine = sa.create_engine(
            database.replace("postgresql://", "postgresql+psycopg://"),
            connect_args={} if database.startswith("sqlite") else {"connect_timeout": 2},
        )
        self._hands = hands
        self._ending = threading.Event()
        self.idle, self.free = Spans(), Spans()
        self.done = 0
        self.fault: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._ending.wait(_LOOK):
                self._look()
        except BaseException as error:  # noqa: BLE001  (shown by the test)
            self.fault = error

    def end(self) -> None:
        self._ending.set()
        self.join()
        self._engine.dispose()
        if self.fault is not None:
            raise self.fault

    def longest(self) -> tuple[float, str, str]:
        """For how many s a job was idle while one and the same server was free, and which ones."""
        now = time.monotonic()
        self.idle.see(set(), now)
        self.free.see(set(), now)
        overlaps = [
            (min(till, end) - max(since, begin), job, server)
            for server, begin, end in self.free.ended
            for job, since, till in self.idle.ended
        ]
        return max(overlaps, default=(0.0, "", ""))

    def _look(self) -> None:
        queues = {fake.url: fake.queue() for hand in self._hands for fake in hand.fakes}
        try:
            alive, open_attempts = self._record()
        except sa.exc.DBAPIError:
            # Nobody can be given anything.
            self._engine.dispose()
            self.free.see(set(), time.monotonic())
            return
        running = set().union(*(one for one in queues.values() if one))
        busy = {key for key, prompt_id in open_attempts if prompt_id in running}
        now = time.monotonic()
        self.idle.see(alive - busy, now)
        well = {fake.url for hand in self._hands if hand.is_well for fake in hand.fakes}
        self.free.see({url for url, queue in queues.items() if queue == set() and url in well}, now)

    def _record(self) -> tuple[set[str], list[tuple[str, str]]]:
        with self._engine.connect() as connection:
            jobs = connection.execute(sa.text("SELECT key, state FROM jobs")).all()
            attempts = connection.execute(
                sa.text(
                    "SELECT s.key, a.prompt_id FROM attempts a JOIN shots s ON s.attempt_id = a.id "
                    "WHERE a.outcome IS NULL"
                )
            ).all()
        self.done = sum(state == "done" for _, state in jobs)
        alive = {key for key, state in jobs if state not in _FINAL}
        return alive, [(key, prompt_id) for key, prompt_id in attempts]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a bad day."""

    total: int
    done: int
    # results of a job that were kept beyond its first
    doubles: int
    # pictures that servers made, kept or not
    made: int
    # s that a job was idle while a server was free, at most
    idle: float
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.done} of {self.total} done, {self.doubles} doubles, {self.made} pictures made, "
            f"longest idle {self.idle:.1f} s, {self.seconds:.0f} s in all"
        )


class Cluster:
    """A service without servers, and hands that make its jobs."""

    def __init__(
        self,
        folder: Path,
        *,
        database: str = "",
        broker: str = "",
        lease: float | None = None,
        pace: float = 0.1,
    ) -> None:
        self.folder, self.lease, self.pace = folder, lease, pace
        self._home, storage = folder / "service", folder / "files"
        self.environment = {"SPRITEWORKS_STORAGE": str(storage)}
        options = ["--no-servers", "--storage", str(storage)]
        if database:
            options += ["--store", database]
        if broker:
            self.environment["SPRITEWORKS_BROKER"] = broker
            options += ["--broker", broker]
        self._options = options
        self.service = Served(self._home, *options)
        self.database = database or f"sqlite:///{self._home / 'batch.sqlite'}"
        self.environment["SPRITEWORKS_DATABASE"] = self.database
        self.hands: list[Hand] = []
        self.ids: list[str] = []
        self._began = time.monotonic()
        self.observer: Observer | None = None

    def fakes(self, count: int, **more: Any) -> list[Fake]:
        return [Fake(self.folder, self.pace, **more) for _ in range(count)]

    def hire(
        self, name: str, fakes: Sequence[Fake], environment: Any = None, inside: Any = ()
    ) -> Hand:
        """Start a worker."""
        hand = Hand(
            self.folder,
            name,
            fakes,
            {**self.environment, **(environment or {})},
            lease=self.lease,
            inside=inside,
        )
        self.hands.append(hand)
        return hand

    def open(self) -> None:
        """Wait until all is at work, and begin to look."""
        with self._explained():
            for hand in self.hands:
                until(hand.times_at_work, bool, LONG)
        self.service.wait_until_ready()
        self.observer = Observer(self.database, self.hands)
        self.observer.start()
        self._began = time.monotonic()

    def post(self, count: int) -> None:
        for number in range(count):
            body = {"workflow": graph(color=number)}
            answer = self.service.call("POST", "/api/v2/jobs", json=body)
            assert answer.status_code == 201, answer.text
            self.ids.append(answer.json()["id"])

    def restart_service(self) -> None:
        """Kill the service, and start it anew."""
        port = int(self.service.url.rpartition(":")[2])
        self.service.kill()
        self.service = Served(self._home, *self._options, port=port)

    def wait_until_done(self, count: int, seconds: float = 240.0) -> None:
        """Wait until so many are done; says where the others stand, where that takes too long."""
        observer = self.observer
        assert observer is not None
        with self._explained():
            until(lambda: observer.fault or observer.done, lambda one: _least(one, count), seconds)

    def outcome(self, seconds: float = 240.0) -> Outcome:
        """What came of all jobs, once they have ended."""
        assert self.observer is not None
        self.wait_until_done(len(self.ids), seconds)
        took = time.monotonic() - self._began
        until(self._statuses, lambda found: set(found) == {"succeeded"}, 30.0)
        self.observer.end()
        kept = self._kept()
        made = [one for hand in self.hands for fake in hand.fakes for one in fake.made()]
        # What was kept is what a server made, and says to have made.
        assert set(kept.values()) <= set(made)
        for hand in self.hands:
            told = hand.log.read_text(encoding="utf-8")
            assert "fault of Spriteworks" not in told, told
        idle, job, server = self.observer.longest()
        print(f"longest idle: {job} for {idle:.1f} s, while {server} was free")
        return Outcome(
            total=len(self.ids),
            done=len(kept),
            doubles=self._doubles(),
            made=len(made),
            idle=idle,
            seconds=took,
        )

    def close(self) -> None:
        for hand in self.hands:
            with suppress(ProcessLookupError):
                hand.thaw()
            hand.kill_group()
            for fake in hand.fakes:
                fake.kill()
        self.service.kill()

    def _statuses(self) -> list[str]:
        jobs = [self.service.call("GET", f"/api/v2/jobs/{id}").json() for id in self.ids]
        assert all(len(job["outputs"]) == (job["status"] == "succeeded") for job in jobs)
        return [job["status"] for job in jobs]

    def _rows(self, query: str) -> Sequence[Any]:
        url = self.database.replace("postgresql://", "postgresql+psycopg://")
        engine = sa.create_engine(url)
        try:
            with engine.connect() as connection:
                return connection.execute(sa.text(query)).all()
        finally:
            engine.dispose()

    def _kept(self) -> dict[str, str]:
        """Of each job whose result was kept the prompt_id that made it, by the record."""
        rows = self._rows(
            "SELECT s.key, a.prompt_id FROM artifacts f JOIN attempts a ON a.id = f.attempt_id "
            "JOIN shots s ON s.attempt_id = a.id AND s.key = f.key WHERE a.outcome = 'done'"
        )
        return {row[0]: row[1] for row in rows}

    def _doubles(self) -> int:
        """Results that were kept more than once: attempts that count, pictures, and files."""
        found = 0
        for query in (
            "SELECT s.key FROM attempts a JOIN shots s ON s.attempt_id = a.id "
            "WHERE a.outcome = 'done'",
            "SELECT key FROM artifacts",
            "SELECT job_id FROM assets WHERE job_id IS NOT NULL",
        ):
            counts = Counter(row[0] for row in self._rows(query))
            assert set(counts) == set(self.ids)
            found += sum(counts.values()) - len(counts)
        return found

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Say where all stand when it takes too long."""
        try:
            yield
        except AssertionError:
            print(self._why())
            for hand in self.hands:
                print(hand.name, hand.log.read_text(encoding="utf-8")[-4000:])
            raise

    def _why(self) -> str:
        """Where jobs stand that have not ended, for people."""
        rows = self._rows(
            "SELECT j.key, j.state, j.reason, a.server, a.owner, a.lease, a.outcome, a.error "
            "FROM jobs j LEFT JOIN shots s ON s.key = j.key LEFT JOIN attempts a "
            "ON a.id = s.attempt_id WHERE j.state <> 'done' ORDER BY j.key, a.id"
        )
        return "\n".join(map(str, rows[:40]))


def _least(done: Any, count: int) -> bool:
    if isinstance(done, BaseException):
        raise done
    return bool(done >= count)


@contextmanager
def cluster(folder: Path, **more: Any) -> Iterator[Cluster]:
    """A cluster that is taken down whatever happens."""
    found = Cluster(folder, **more)
    try:
        yield found
    finally:
        found.close()
