"""Starting, watching and stopping server processes, on real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from orchestrator.client.client import Client
from orchestrator.errors import ServerLost, ServerStartFailed
from orchestrator.local.process import (
    Command,
    ServerProcess,
    free_port,
    python_environment,
    running,
    signals_held,
)

# A server that starts a child of its own, as servers with workers do.
SERVER = """
import subprocess, sys, threading
from orchestrator.testing import FakeServer
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("child", child.pid, flush=True)
server = FakeServer(port=int(sys.argv[1]))
threading.Event().wait()
"""


def command(source: str, *, patience: float = 60.0) -> Command:
    def arguments(port: int) -> Sequence[str]:
        return [sys.executable, "-c", textwrap.dedent(source), str(port)]

    return Command(
        name="the test server", arguments=arguments, env=python_environment(), patience=patience
    )


def child_of(process: ServerProcess) -> psutil.Process:
    (line,) = [line for line in process.log().splitlines() if line.startswith("child ")]
    return psutil.Process(int(line.split()[1]))


def test_a_server_is_ready_when_it_answers_and_gone_with_its_children(tmp_path: Path) -> None:
    with running(command(SERVER), tmp_path / "log") as process:
        with Client(process.url) as client:
            assert client.system_stats().device == "fake"
        process.check()
        family = [psutil.Process(process.pid), child_of(process)]
        assert all(one.is_running() for one in family)
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []


def test_it_stops_when_we_are_interrupted(tmp_path: Path) -> None:
    family: list[psutil.Process] = []

    def be_interrupted() -> None:
        with running(command(SERVER), tmp_path / "log") as process:
            family.extend([psutil.Process(process.pid), child_of(process)])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        be_interrupted()
    assert len(family) == 2
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []


def test_a_signal_is_held_back_until_its_moment() -> None:
    steps: list[str] = []

    def start() -> None:
        with signals_held():
            signal.raise_signal(signal.SIGINT)
            steps.append("started")
        steps.append("never")

    # A shell starts what it runs in the background with Ctrl-C ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            start()
    finally:
        signal.signal(signal.SIGINT, before)
    assert steps == ["started"]


def test_an_early_end_is_told_with_its_reason(tmp_path: Path) -> None:
    source = "print('no module named torch'); raise SystemExit(7)"
    with (
        pytest.raises(ServerStartFailed, match="exit code 7 before it was ready") as caught,
        running(command(source), tmp_path / "log"),
    ):
        pass
    assert "no module named torch" in str(caught.value)


def test_one_that_never_answers_is_given_up(tmp_path: Path) -> None:
    source = "import time; time.sleep(600)"
    with (
        pytest.raises(ServerStartFailed, match=r"not ready after 0\.3 s"),
        running(command(source, patience=0.3), tmp_path / "log"),
    ):
        pass


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    missing = Command(name="nothing", arguments=lambda port: [str(tmp_path / "no-python")])
    with (
        pytest.raises(ServerStartFailed, match="nothing cannot be started"),
        running(missing, tmp_path / "log"),
    ):
        pass


def test_a_death_later_on_is_told_with_the_end_of_the_log(tmp_path: Path) -> None:
    with running(command(SERVER), tmp_path / "log") as process:
        victim = psutil.Process(process.pid)
        child = child_of(process)
        victim.kill()
        psutil.wait_procs([victim], timeout=10)
        with pytest.raises(ServerLost, match="the test server ended with exit code"):
            process.check()
        # An orphan is out of our sight; do not leave it to others.
        child.kill()


def test_another_port_is_taken_where_the_first_was_lost(tmp_path: Path) -> None:
    marker = tmp_path / "second"
    source = f"""
    import pathlib, sys
    marker = pathlib.Path({str(marker)!r})
    if not marker.exists():
        marker.touch()
        sys.exit("OSError: [Errno 98] error while attempting to bind: address already in use")
    {textwrap.indent(SERVER, "    ").strip()}
    """
    with running(command(source), tmp_path / "log") as process:
        process.check()


def test_free_ports_are_free() -> None:
    ports = {free_port() for _ in range(10)}
    assert len(ports) > 1


def test_a_child_python_finds_the_package_from_anywhere(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import orchestrator, comfy_nodes"],
        cwd=tmp_path,
        env={**python_environment()},
        check=False,
    )
    assert done.returncode == 0


# Starts a server as we do, says which processes that made, and waits to be killed.
STARTER = """
import sys, threading
from pathlib import Path
from orchestrator.local.process import Command, python_environment, running
command = Command(
    name="the server",
    arguments=lambda port: [sys.executable, "-c", sys.argv[1], str(port)],
    env=python_environment(),
)
with running(command, Path(sys.argv[2])) as process:
    print(process.pid, process.log().split()[1], flush=True)
    threading.Event().wait()
"""


def test_a_server_goes_with_us_however_we_end(tmp_path: Path) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, SERVER, str(tmp_path / "log")],
        env={**os.environ, **python_environment()},
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    assert starter.stdout is not None
    family = [psutil.Process(int(pid)) for pid in starter.stdout.readline().split()]
    assert len(family) == 2
    watchdogs = [one for one in psutil.Process(starter.pid).children() if one not in family]
    starter.kill()
    starter.communicate()
    _, alive = psutil.wait_procs([*family, *watchdogs], timeout=20)
    assert alive == []
