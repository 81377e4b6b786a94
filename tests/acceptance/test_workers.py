"""`spriteworks serve --no-servers` and `spriteworks worker` as processes, on one database."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.testing import FakeServer, Script
from served import Served, served
from service_world import graph, until
from worker_world import Working, working_process

pytestmark = pytest.mark.slow


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a service has its data, as options say it."""

    folder: Path
    serve: tuple[str, ...]
    worker: tuple[str, ...]


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A service in a folder, and one in PostgreSQL with its files in a folder that all see."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'service' / 'batch.sqlite'}"
        return Place(folder=tmp_path / "service", serve=(), worker=("--database", url))
    url, files = request.getfixturevalue("postgres_url"), str(tmp_path / "files")
    return Place(
        folder=tmp_path / "service",
        serve=("--store", url, "--storage", files),
        worker=("--database", url, "--storage", files),
    )


class Cluster:
    """A service, and workers that come and go."""

    def __init__(self, place: Place, stack: ExitStack) -> None:
        self.place, self._stack = place, stack
        self.service = self.serve()

    def serve(self, port: int = 0) -> Served:
        """Start the service."""
        options = ("--no-servers", *self.place.serve)
        return self._stack.enter_context(served(self.place.folder, options, port=port))

    def work(self, *options: str) -> Working:
        """Start a worker."""
        worker = self._stack.enter_context(working_process(*self.place.worker, *options))
        worker.wait_until_it_works()
        return worker

    def post(self, count: int, first: int = 0) -> list[str]:
        """Post jobs; returns their ids."""
        bodies = [{"workflow": graph(color=first + one)} for one in range(count)]
        return [self.service.call("POST", "/api/v2/jobs", json=one).json()["id"] for one in bodies]

    def status(self, id: str) -> str:
        return str(self.service.call("GET", f"/api/v2/jobs/{id}").json()["status"])

    def wait_until_made(self, ids: list[str], seconds: float = 120.0) -> None:
        def look() -> set[str]:
            return {self.status(id) for id in ids}

        until(look, lambda found: found == {"succeeded"}, seconds)


@pytest.fixture
def cluster(place: Place) -> Iterator[Cluster]:
    with ExitStack() as stack:
        yield Cluster(place, stack)


def test_two_workers_share_the_work(cluster: Cluster) -> None:
    with FakeServer() as one, FakeServer() as two:
        one.pace = two.pace = 0.1
        cluster.work("--server", one.url)
        cluster.work("--server", two.url)
        cluster.service.wait_until_ready()
        cluster.wait_until_made(cluster.post(20))
        counts = len(one.submissions), len(two.submissions)
        assert sum(counts) == 20
        assert min(counts) > 0


def test_what_a_killed_worker_had_is_made_by_another(cluster: Cluster) -> None:
    gate = threading.Event()
    with FakeServer() as one, FakeServer() as two:
        one.script(Script(gates={"2": gate}))
        first = cluster.work("--server", one.url, "--name", "one")
        cluster.service.wait_until_ready()
        ids = cluster.post(4)
        until(lambda: len(one.submissions), bool)
        first.kill()
        gate.set()
        cluster.work("--server", two.url, "--name", "two")
        cluster.wait_until_made(ids)


def test_a_worker_that_drains_ends_what_runs_and_gives_the_rest_back(cluster: Cluster) -> None:
    gate = threading.Event()
    with FakeServer() as one, FakeServer() as two:
        one.script(Script(gates={"2": gate}))
        first = cluster.work("--server", one.url)
        cluster.service.wait_until_ready()
        ids = cluster.post(4)
        until(lambda: {cluster.status(id) for id in ids}, lambda found: "running" in found)
        first.process.send_signal(signal.SIGTERM)
        until(lambda: first.text, lambda text: "ending: what runs has" in text)
        gate.set()
        assert first.code() == 0, first.text
        done = [id for id in ids if cluster.status(id) == "succeeded"]
        assert done
        assert {cluster.status(id) for id in ids if id not in done} == {"queued"}
        cluster.work("--server", two.url)
        cluster.wait_until_made(ids)
        assert len(two.submissions) == 4 - len(done)


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_a_worker_that_has_no_time_gives_back_what_runs(cluster: Cluster) -> None:
    gate = threading.Event()
    with FakeServer() as fake:
        fake.script(Script(gates={"2": gate}))
        worker = cluster.work("--server", fake.url, "--drain", "0")
        cluster.service.wait_until_ready()
        ids = cluster.post(2)
        until(lambda: {cluster.status(id) for id in ids}, lambda found: "running" in found)
        assert worker.end(signal.SIGTERM) == 0, worker.text
        until(lambda: {cluster.status(id) for id in ids}, lambda found: found == {"queued"})
        assert set(fake.cancelled) == {one.prompt_id for one in fake.submissions}
        gate.set()


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_a_second_signal_ends_a_worker_at_once(cluster: Cluster) -> None:
    gate = threading.Event()
    with FakeServer() as fake:
        fake.script(Script(gates={"2": gate}))
        worker = cluster.work("--server", fake.url)
        cluster.service.wait_until_ready()
        ids = cluster.post(1)
        until(lambda: cluster.status(ids[0]), lambda status: status == "running")
        worker.process.send_signal(signal.SIGTERM)
        until(lambda: worker.text, lambda text: "ending: what runs has" in text)
        assert worker.end(signal.SIGINT) == 128 + signal.SIGINT
        gate.set()
        # on the same machine the next of its name knows that it is dead
        cluster.work("--server", fake.url)
        cluster.wait_until_made(ids)
        assert len(fake.submissions) == 1


def test_workers_go_on_while_the_service_is_started_anew(cluster: Cluster) -> None:
    gate = threading.Event()
    with FakeServer() as fake:
        fake.script(Script(gates={"2": gate}))
        cluster.work("--server", fake.url)
        cluster.service.wait_until_ready()
        ids = cluster.post(10)
        until(lambda: {cluster.status(id) for id in ids}, lambda found: "running" in found)
        cluster.service.kill()
        gate.set()
        until(lambda: len(fake.submissions), lambda count: count == 10)
        cluster.service = cluster.serve()
        cluster.service.wait_until_ready()
        cluster.wait_until_made(ids)
        assert len(fake.submissions) == 10
        cluster.wait_until_made(cluster.post(1, first=100))


def test_the_command_lists_workers(cluster: Cluster) -> None:
    with FakeServer() as fake:
        cluster.work("--server", fake.url, "--name", "paints")
        cluster.service.wait_until_ready()
        command = [sys.executable, "-m", "orchestrator", "workers", *cluster.place.worker[:2]]
        told = json.loads(subprocess.check_output([*command, "--json"], text=True))
        (worker,) = told["workers"]
        assert (worker["name"], worker["status"]) == ("paints", "live")
        (server,) = worker["servers"]
        assert server["open"]
        assert server["name"].endswith(fake.url)
        table = subprocess.check_output(command, text=True)
        assert "paints" in table
        assert "live" in table
