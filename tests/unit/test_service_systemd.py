"""What systemd is told, on a socket as systemd has one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.local.process import python_environment
from orchestrator.service.systemd import Systemd
from orchestrator.testing import FakeServer
from served import LONG, served

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no systemd")


class Manager:
    """The end of the socket on which systemd listens."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.settimeout(LONG)

    def heard(self) -> dict[str, str]:
        """The next datagram; raises TimeoutError where none comes."""
        lines = self._socket.recv(4096).decode().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def silent(self) -> bool:
        self._socket.setblocking(False)
        try:
            self._socket.recv(4096)
        except BlockingIOError:
            return True
        finally:
            self._socket.settimeout(LONG)
        return False

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager() -> Iterator[Manager]:
    # a socket's name has 107 bytes at most, fewer than some temporary folders of tests
    with tempfile.TemporaryDirectory() as folder:
        one = Manager(str(Path(folder) / "notify"))
        yield one
        one.close()


def test_it_is_told_of_the_start_and_the_end(manager: Manager) -> None:
    systemd = Systemd({"NOTIFY_SOCKET": manager.address})
    systemd.ready("two\nlines")
    systemd.stopping("for good")
    assert manager.heard() == {"READY": "1", "STATUS": "two lines"}
    assert manager.heard() == {"STOPPING": "1", "STATUS": "for good"}


@pytest.mark.skipif(sys.platform != "linux", reason="abstract names are Linux'")
def test_the_socket_may_have_an_abstract_name() -> None:
    manager = Manager(f"@spriteworks-{os.getpid()}")
    Systemd({"NOTIFY_SOCKET": manager.address}).beat()
    assert manager.heard() == {"WATCHDOG": "1"}
    manager.close()


@pytest.mark.parametrize(
    ("environment", "period"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_beats_are_for_who_waits_for_them(
    environment: dict[str, str], period: float | None
) -> None:
    assert Systemd({"NOTIFY_SOCKET": "/run/x", **environment}).period == period
    assert Systemd(environment).period is None


def test_it_beats_while_all_is_well(manager: Manager) -> None:
    systemd = Systemd({"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "20000"})
    asked = threading.Semaphore(0)
    is_well = True

    def answer() -> bool:
        asked.release()
        return is_well

    with systemd.beating(answer):
        assert manager.heard() == {"WATCHDOG": "1"}
        is_well = False
        # a beat may be on its way from before
        for _ in range(3):
            assert asked.acquire(timeout=LONG)
        while not manager.silent():
            pass
        for _ in range(3):
            assert asked.acquire(timeout=LONG)
        assert manager.silent()


def test_nobody_there_is_no_harm(tmp_path: Path) -> None:
    Systemd({}).ready("x")
    Systemd({"NOTIFY_SOCKET": str(tmp_path / "none")}).ready("x")
    with Systemd({}).beating(lambda: True):
        pass


def test_the_service_tells(tmp_path: Path, manager: Manager) -> None:
    told_by = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "200000"}
    with (
        FakeServer() as fake,
        served(tmp_path, ["--server", fake.url], environment=told_by) as service,
    ):
        assert manager.heard() == {"READY": "1", "STATUS": f"serving on {service.url}"}
        # beats go on while it is asked
        assert service.call("GET", "/health").ok
        assert [manager.heard() for _ in range(3)] == [{"WATCHDOG": "1"}] * 3
        service.end(signal.SIGTERM)
        told = manager.heard()
        while told == {"WATCHDOG": "1"}:
            told = manager.heard()
        assert told["STOPPING"] == "1"


def test_a_worker_tells(tmp_path: Path, manager: Manager) -> None:
    with FakeServer() as fake, served(tmp_path, ["--no-servers"]):
        command = [sys.executable, "-m", "orchestrator", "worker", "--data", str(tmp_path)]
        told_by = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "200000"}
        worker = subprocess.Popen(
            [*command, "--server", fake.url, "--log-level", "warning"],
            env={**python_environment(), **told_by},
            stderr=subprocess.DEVNULL,
        )
        try:
            told = manager.heard()
            while told == {"WATCHDOG": "1"}:
                told = manager.heard()
            assert told == {"READY": "1", "STATUS": "at work on 1 servers"}
            assert manager.heard() == {"WATCHDOG": "1"}
            worker.terminate()
            while (told := manager.heard()) == {"WATCHDOG": "1"}:
                pass
            assert told["STOPPING"] == "1"
            assert worker.wait(LONG) == 0
        finally:
            worker.kill()
            worker.wait()
