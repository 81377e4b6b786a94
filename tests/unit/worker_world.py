"""A service without servers and workers beside it, for tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from orchestrator.local.process import python_environment
from orchestrator.local.serving import Choice
from orchestrator.service.workers.joining import service_at
from orchestrator.service.workers.worker import WorkerProcess, WorkerSetup, joined
from service_world import World, quick_care, serving, until

# s for starting a process, imports included
LONG = 120.0

NOTHING = Choice(nothing=True)


@contextmanager
def working(
    folder: Path, urls: Sequence[str], name: str = "", **setup: Any
) -> Iterator[WorkerProcess]:
    """A worker in this process, for a service that has its data in a folder."""
    what = WorkerSetup(
        service=service_at(folder, "", ""),
        choice=Choice(urls=tuple(urls)),
        name=name,
        care=quick_care(),
        **setup,
    )
    with joined(what) as worker:
        worker.start()
        yield worker


@contextmanager
def cluster(folder: Path, *urls: str, **setup: Any) -> Iterator[World]:
    """A service without servers and a worker for each address, ready to serve."""
    with ExitStack() as stack:
        world = stack.enter_context(serving(folder, choice=NOTHING, is_ready=False, **setup))
        for url in urls:
            stack.enter_context(working(folder, [url]))
        until(
            world.service.servers,
            lambda found: sum(one.is_open for one, _, _ in found) == len(urls),
        )
        yield world


class Working:
    """`spriteworks worker` as a process of its own."""

    def __init__(self, *options: str, environment: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "orchestrator", "worker", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**python_environment(), **(environment or {})},
            # a kill of this process must not reach the test's own
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._begun = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if re.match("worker .* is at work on", line):
                self._begun.set()
        self._begun.set()

    @property
    def text(self) -> str:
        """What it has said so far."""
        return "".join(self.lines)

    def wait_until_it_works(self) -> None:
        assert self._begun.wait(LONG)
        assert "is at work on" in self.text, self.text

    def kill(self) -> None:
        """End it as a power cut does."""
        self.process.kill()
        self.process.wait()

    def end(self, number: int) -> int:
        """Send a signal; returns the exit code."""
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, number)
        return self.code()

    def code(self) -> int:
        """The exit code, once it has ended."""
        code = self.process.wait(LONG)
        self._reader.join(LONG)
        return code


@contextmanager
def working_process(*options: str, **more: Any) -> Iterator[Working]:
    """Work until the block ends."""
    worker = Working(*options, **more)
    try:
        yield worker
    finally:
        worker.process.terminate()
        try:
            worker.process.wait(20)
        except subprocess.TimeoutExpired:
            worker.kill()
