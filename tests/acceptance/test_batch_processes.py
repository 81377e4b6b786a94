"""A batch on real server processes: killed and started again, frozen and let go."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.batch import production as batch
from orchestrator.batch.execution.fleet import Care
from orchestrator.batch.execution.store.store import Store
from orchestrator.batch.logic.pace import PaceBounds
from orchestrator.client.wire import Timeouts
from orchestrator.local.process import free_port, python_environment
from orchestrator.local.serving import Choice

GRAPH = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0},
    },
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}
SERVE = """
import sys
from orchestrator.testing import FakeServer
server = FakeServer(port=int(sys.argv[1]))
server.pace = 0.03
print("ready", flush=True)
for line in sys.stdin:
    server.pace = float(line)
"""
CARE = Care(
    timeouts=Timeouts(
        connect=2.0,
        read=2.0,
        poll=0.2,
        lost_polls=3,
        lost_after=1.0,
        tries=2,
        delays=lambda: itertools.repeat(0.1),
    ),
    patience=PaceBounds(first=60.0, least=60.0),
    grace=0.5,
)


@dataclass
class Process:
    """A fake server in a process of its own, which signals reach."""

    port: int
    running: subprocess.Popen[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def take(self, seconds: float) -> None:
        """Take so long for each node from the next one on."""
        assert self.running.stdin is not None
        self.running.stdin.write(f"{seconds}\n")
        self.running.stdin.flush()


def serve(port: int) -> Process:
    running = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(port)],
        env={**os.environ, **python_environment()},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    return Process(port=port, running=running)


@pytest.fixture
def servers() -> Iterator[list[Process]]:
    found = [serve(free_port()) for _ in range(2)]
    yield found
    for server in found:
        server.running.kill()
        server.running.communicate()


class Told:
    def __init__(self) -> None:
        self.pictures = 0
        self._changed = threading.Condition()
        self._notes = ""

    def happened(self, kind: str, **details: Any) -> None:
        with self._changed:
            self.pictures += kind == "done"
            self._notes += details["text"] + "\n" if kind == "note" else ""
            self._changed.notify_all()

    def wait_for(self, pictures: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.pictures >= pictures, 60)

    def wait_for_words(self, words: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: words in self._notes, 60), self._notes


class Run(threading.Thread):
    def __init__(self, folder: Path, servers: list[Process], count: int, care: Care) -> None:
        super().__init__()
        (folder / "graph.json").write_text(json.dumps(GRAPH), encoding="utf-8")
        items = [{"id": f"dot-{n}", "set": {"1.color": n}, "output": "{id}"} for n in range(count)]
        manifest = folder / "dots.yaml"
        text = {"name": "dots", "workflow": "graph.json", "items": items}
        manifest.write_text(json.dumps(text), encoding="utf-8")
        self.out = folder / "out"
        self.told = Told()
        self.result: batch.BatchResult | None = None
        choice = Choice(urls=tuple(server.url for server in servers))
        self._request = batch.BatchRequest(
            manifest=manifest, out=self.out, choice=choice, care=care
        )
        self.start()

    def run(self) -> None:
        self.result = batch.run(self._request, self.told)

    def assert_complete(self, count: int) -> str:
        self.join(90)
        assert self.result is not None
        assert self.result.is_complete
        assert {path.name for path in self.out.glob("*.png")} == {
            f"dot-{n}.png" for n in range(count)
        }
        with Store.open(self.out) as store:
            return "\n".join(event.text for event in store.events())


def test_a_server_process_is_killed_and_started_again(
    tmp_path: Path, servers: list[Process]
) -> None:
    run = Run(tmp_path, servers, 40, CARE)
    run.told.wait_for(5)
    victim, other = servers
    # It may not be done before the first is back.
    other.take(1.0)
    victim.running.kill()
    victim.running.communicate()
    run.told.wait_for_words(f"{victim.url} is set aside")
    servers[0] = serve(victim.port)
    run.told.wait_for_words(f"{victim.url} is back after")
    other.take(0.03)
    log = run.assert_complete(40)
    assert f"{victim.url} is back after" in log


@pytest.mark.skipif(os.name != "posix", reason="Windows cannot stop a process for a while")
def test_a_server_process_is_frozen_and_let_go(tmp_path: Path, servers: list[Process]) -> None:
    run = Run(tmp_path, servers, 40, CARE)
    run.told.wait_for(5)
    victim, other = servers
    other.take(0.3)
    victim.running.send_signal(signal.SIGSTOP)
    run.told.wait_for_words(f"{victim.url} is set aside")
    run.told.wait_for(run.told.pictures + 2)
    victim.running.send_signal(signal.SIGCONT)
    other.take(0.03)
    log = run.assert_complete(40)
    assert f"{victim.url} is set aside" in log


@pytest.mark.skipif(os.name != "posix", reason="Windows cannot stop a process for a while")
def test_the_only_server_is_frozen_and_its_jobs_are_waited_for(
    tmp_path: Path, servers: list[Process]
) -> None:
    run = Run(tmp_path, servers[:1], 20, replace(CARE, grace=0.0))
    run.told.wait_for(3)
    servers[0].running.send_signal(signal.SIGSTOP)
    run.told.wait_for_words("is set aside")
    servers[0].running.send_signal(signal.SIGCONT)
    log = run.assert_complete(20)
    assert "is back after" in log
    # Nobody else could have taken its jobs, so none was sent twice.
    with Store.open(run.out) as store:
        assert all(len(store.attempts_of(entry.job.key)) == 1 for entry in store.entries())
