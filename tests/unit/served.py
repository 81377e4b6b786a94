"""`spriteworks serve` as a process, for tests."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import requests

from orchestrator.local.process import python_environment
from orchestrator.local.watchdog import Watchdog

# s for starting, imports and an engine included
LONG = 120.0


class Served:
    """A service that runs as a process of its own."""

    def __init__(
        self,
        data: Path,
        *options: str,
        port: int = 0,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        command = [sys.executable, "-m", "orchestrator", "serve", "--data", str(data)]
        self.process = subprocess.Popen(
            [*command, "--port", str(port), "--log-level", "warning", *options],
            stderr=subprocess.PIPE,
            text=True,
            env={**python_environment(), "OMP_WAIT_POLICY": "PASSIVE", **environment},
            # a kill of this process must not reach the test's own
            start_new_session=True,
        )
        # and a kill of the test's own ends this process
        self._watchdog: Watchdog | None = Watchdog(self.process.pid)
        self.lines: list[str] = []
        self._listening = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._listening.wait(LONG)
        found = next((re.search(r"serving on (\S+)", line) for line in self.lines), None)
        assert found, self.lines
        self.url = found[1]

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            self._listening.set()
        self._listening.set()

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        return requests.request(method, self.url + path, timeout=LONG, **options)

    def wait_until_ready(self) -> None:
        late = time.monotonic() + LONG
        while not (answer := self.call("GET", "/ready")).ok:
            assert time.monotonic() < late, answer.text
            time.sleep(0.1)

    def kill(self) -> None:
        """End it as a power cut does."""
        self.process.kill()
        self._ended(None)

    def end(self, number: int) -> int:
        """Send a signal; returns the exit code."""
        self.process.send_signal(number)
        return self._ended(LONG)

    def _ended(self, within: float | None) -> int:
        code = self.process.wait(within)
        if self._watchdog is not None:
            self._watchdog.dismiss()
            self._watchdog = None
        return code


@contextmanager
def served(
    data: Path,
    options: Sequence[str] = (),
    *,
    port: int = 0,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Served]:
    """Serve until the block ends."""
    service = Served(data, *options, port=port, environment=environment)
    try:
        yield service
    finally:
        try:
            service.end(signal.SIGTERM)
        except subprocess.TimeoutExpired:
            service.kill()
