"""The orchestrator is killed at random moments, and every picture is made once."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from orchestrator.client.client import Client
from orchestrator.local.process import python_environment
from orchestrator.protocol import QueueState
from orchestrator.runs.looking import look
from orchestrator.testing import FakeServer, Script

GRAPH = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0},
    },
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}


# Two nodes save the picture.
TWICE = {
    **GRAPH,
    "3": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "y"}},
}


def write_manifest(folder: Path, count: int, graph: Any = GRAPH) -> Path:
    (folder / "graph.json").write_text(json.dumps(graph), encoding="utf-8")
    manifest = folder / "dots.yaml"
    items = "".join(
        f'  - {{id: {name_of(n)}, set: {{"1.color": {n}}}}}\n' for n in range(1, count + 1)
    )
    text = f"name: dots\nworkflow: graph.json\nitems:\n{items}"
    manifest.write_text(text, encoding="utf-8")
    return manifest


def name_of(number: int) -> str:
    return "dot" if number == 1 else f"dot-{number}"


def start(manifest: Path, out: Path, servers: list[FakeServer]) -> subprocess.Popen[str]:
    arguments = ["run", str(manifest), "--out", str(out)]
    for server in servers:
        arguments += ["--server", server.url]
    return subprocess.Popen(
        [sys.executable, "-m", "orchestrator", "batch", *arguments],
        env={**os.environ, **python_environment()},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )


@pytest.fixture
def servers() -> Iterator[list[FakeServer]]:
    with ExitStack() as stack:
        yield [stack.enter_context(FakeServer()) for _ in range(2)]


def made(servers: list[FakeServer]) -> int:
    return sum(len(server.submissions) for server in servers)


def wait_until(count: int, servers: list[FakeServer], process: subprocess.Popen[str]) -> None:
    late = time.monotonic() + 60
    while made(servers) < count and process.poll() is None:
        assert time.monotonic() < late, f"{made(servers)} submissions, not {count}"
        time.sleep(0.002)


def kill_and_resume(
    tmp_path: Path, servers: list[FakeServer], jobs: int, kills: int, graph: Any = GRAPH
) -> None:
    chance = random.Random(20_26)
    for server in servers:
        server.pace = 0.01
    manifest, out = write_manifest(tmp_path, jobs, graph), tmp_path / "out"
    # Moments spread over the batch, each a little after some submission, wherever that is.
    for goal in sorted(chance.sample(range(1, jobs - 2), kills)):
        process = start(manifest, out, servers)
        wait_until(goal, servers, process)
        time.sleep(chance.uniform(0, 0.03))
        process.kill()
        process.communicate()
    process = start(manifest, out, servers)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output

    # With two pictures a job, names look like those of each other's pictures.
    ends = [""] if graph is GRAPH else ["", "=2"]
    expected = {
        f"{name_of(number)}{end}.png": number for number in range(1, jobs + 1) for end in ends
    }
    assert {path.name for path in out.glob("*.png")} == set(expected)
    for name, number in expected.items():
        found = look(out / name)
        assert found.graph is not None
        assert found.graph["1"]["inputs"]["color"] == number
    assert list((out / ".parts").iterdir()) == []
    sent = Counter(
        request.graph["1"]["inputs"]["color"]
        for server in servers
        for request in server.submissions
    )
    assert sent == {number: 1 for number in range(1, jobs + 1)}


@pytest.mark.parametrize("graph", [GRAPH, TWICE], ids=["one picture", "two pictures"])
def test_four_kills(tmp_path: Path, servers: list[FakeServer], graph: Any) -> None:
    kill_and_resume(tmp_path, servers, jobs=60, kills=4, graph=graph)


@pytest.mark.slow
@pytest.mark.parametrize("graph", [GRAPH, TWICE], ids=["one picture", "two pictures"])
def test_thirty_kills(tmp_path: Path, servers: list[FakeServer], graph: Any) -> None:
    kill_and_resume(tmp_path, servers, jobs=200, kills=30, graph=graph)


def test_a_long_job_is_found_again_on_its_server(tmp_path: Path, servers: list[FakeServer]) -> None:
    manifest, out = write_manifest(tmp_path, 3), tmp_path / "out"
    hold = threading.Event()
    server = servers[0]
    server.script(Script(gates={"2": hold}))
    for _ in range(2):
        process = start(manifest, out, [server])
        # Queue and history are looked at again and again while it runs.
        before = len(server.requests)
        server.reached("2", timeout=60)
        server.requested("GET", "/queue", times=count(server, "/queue", before) + 2, timeout=60)
        process.kill()
        process.communicate()
    process = start(manifest, out, [server])
    server.requested("GET", "/queue", times=count(server, "/queue", 0) + 4, timeout=60)
    hold.set()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert f"{server.url} still has dot" in output
    assert len(server.submissions) == 3


def count(server: FakeServer, path: str, since: int) -> int:
    return sum(one.startswith(path) for _, one in server.requests[: since or None])


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C reaches a process group only, tests included")
def test_ctrl_c_waits_for_what_runs_and_takes_back_the_rest(
    tmp_path: Path, servers: list[FakeServer]
) -> None:
    manifest, out = write_manifest(tmp_path, 20), tmp_path / "out"
    hold = threading.Event()
    for server in servers:
        server.script(Script(), Script(gates={"2": hold}))
    process = start(manifest, out, servers)
    wait_until(6, servers, process)
    process.send_signal(signal.SIGINT)
    # Each server has one that runs; the one behind it is taken from the queue.
    for server in servers:
        server.requested("POST", "/jobs", timeout=30)
    hold.set()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "stopping" in output
    assert "run the same command again" in output
    assert len(list(out.glob("*.png"))) == 4
    for server in servers:
        with Client(server.url) as client:
            assert client.queue() == QueueState(running=(), pending=())

    process = start(manifest, out, servers)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert len(list(out.glob("*.png"))) == 20


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize(
    ("signals", "code"),
    [((signal.SIGINT, signal.SIGINT), 130), ((signal.SIGTERM,), 143)],
)
def test_a_second_ctrl_c_or_sigterm_interrupts_what_runs(
    tmp_path: Path, servers: list[FakeServer], signals: tuple[int, ...], code: int
) -> None:
    manifest, out = write_manifest(tmp_path, 8), tmp_path / "out"
    for server in servers:
        # It would run for ever.
        server.script(Script(gates={"2": threading.Event()}))
    process = start(manifest, out, servers)
    wait_until(4, servers, process)
    for server in servers:
        server.reached("2")
    for number in signals:
        process.send_signal(number)
        for server in servers:
            # The one behind it is taken back; that is how we know that the signal was heeded.
            server.requested("POST", "/jobs", timeout=30)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == code, output
    assert "stopping at once" in output
    for server in servers:
        assert set(server.cancelled) == {one.prompt_id for one in server.submissions}
        with Client(server.url) as client:
            assert client.queue() == QueueState(running=(), pending=())
    assert list(out.glob("*.png")) == []

    process = start(manifest, out, servers)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert len(list(out.glob("*.png"))) == 8


def test_a_second_orchestrator_says_so_and_does_nothing(
    tmp_path: Path, servers: list[FakeServer]
) -> None:
    manifest, out = write_manifest(tmp_path, 4), tmp_path / "out"
    hold = threading.Event()
    servers[0].script(Script(gates={"2": hold}))
    first = start(manifest, out, servers[:1])
    servers[0].reached("2", timeout=60)
    second = start(manifest, out, servers[1:])
    output, _ = second.communicate(timeout=60)
    assert second.returncode == 2
    assert f"another orchestrator is at work in {out} (process {first.pid}" in output
    assert not servers[1].submissions
    hold.set()
    output, _ = first.communicate(timeout=60)
    assert first.returncode == 0, output
