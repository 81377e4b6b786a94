"""One server of ours after the other: which starts when, and which is left behind."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, cast

import psutil
import pytest

from orchestrator.batch.execution import fleet
from orchestrator.batch.execution.fleet import Care, OwnServer, Processes
from orchestrator.batch.execution.store.store import Store
from orchestrator.errors import ServerStartFailed
from orchestrator.local.process import ServerProcess
from orchestrator.protocol import SystemStats

LONG = 60.0
CPU = SystemStats(kind="comfyui", version="1", device="cpu")
GPU = SystemStats(kind="comfyui", version="1", device="A", device_type="cuda", vram_free=2 << 30)


class Asked:
    """A client that tells one thing."""

    def __init__(self, stats: SystemStats) -> None:
        self._stats = stats

    def system_stats(self) -> SystemStats:
        return self._stats


class Makes:
    """A launcher of real processes that only wait, which notes what happens to them."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.may_start = threading.Event()
        self.may_start.set()
        self.is_starting = threading.Event()
        self.fails = False
        self.processes: list[psutil.Process] = []

    @contextmanager
    def _running(self, cancelled: threading.Event | None) -> Iterator[ServerProcess]:
        self.is_starting.set()
        while not self.may_start.wait(0.01):
            if cancelled is not None and cancelled.is_set():
                self.told.append("cancelled")
                raise ServerStartFailed("it was stopped before it was ready")
        if self.fails:
            raise ServerStartFailed("it does not start")
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
            number = len(self.processes) + 1
            self.processes.append(psutil.Process(process.pid))
            self.told.append(f"{number} runs")
            try:
                yield cast(ServerProcess, process)
            finally:
                self.told.append(f"{number} ends")
                process.kill()

    def __call__(
        self, *, cancelled: threading.Event | None = None
    ) -> AbstractContextManager[ServerProcess]:
        return self._running(cancelled)


@pytest.fixture
def makes() -> Makes:
    return Makes()


@pytest.fixture
def server(tmp_path: Path, makes: Makes) -> Iterator[OwnServer]:
    with Store.open(tmp_path) as store:
        server = OwnServer("engine-1", Care(), makes, Processes(store))
        yield server
        server.stop()
        assert store.fact("processes") == "{}"


def prepare(server: OwnServer, stats: SystemStats = CPU) -> None:
    server.prepare(cast(Any, Asked(stats)))


def test_the_next_one_runs_before_the_old_one_ends(server: OwnServer, makes: Makes) -> None:
    server.start()
    prepare(server)
    prepare(server)
    assert waited(lambda: "2 runs" in makes.told)
    server.retire()
    server.start()
    assert makes.told == ["1 runs", "2 runs", "1 ends"]
    assert not server.has_ended()
    server.stop()
    assert makes.told == ["1 runs", "2 runs", "1 ends", "2 ends"]


def test_one_that_is_not_ready_is_waited_for(server: OwnServer, makes: Makes) -> None:
    server.start()
    makes.may_start.clear()
    makes.is_starting.clear()
    prepare(server)
    assert makes.is_starting.wait(LONG)
    server.retire()
    starting = threading.Thread(target=server.start)
    starting.start()
    makes.may_start.set()
    starting.join(LONG)
    assert makes.told == ["1 runs", "1 ends", "2 runs"]


@pytest.mark.parametrize(
    ("room", "stats"), [(0, CPU), (1 << 50, SystemStats(**{**vars(GPU), "vram_free": 1 << 20}))]
)
def test_without_room_for_both_the_old_one_ends_first(
    server: OwnServer,
    makes: Makes,
    monkeypatch: pytest.MonkeyPatch,
    room: int,
    stats: SystemStats,
) -> None:
    monkeypatch.setattr(fleet, "room", lambda: room)
    server.start()
    prepare(server, stats)
    server.retire()
    server.start()
    assert makes.told == ["1 runs", "1 ends", "2 runs"]


def test_on_a_gpu_with_room_it_is_prepared(
    server: OwnServer, makes: Makes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "room", lambda: 1 << 50)
    server.start()
    prepare(server, GPU)
    assert waited(lambda: "2 runs" in makes.told)


def test_one_that_does_not_start_is_told_of_when_it_is_wanted(
    server: OwnServer, makes: Makes
) -> None:
    server.start()
    makes.fails = True
    prepare(server)
    server.retire()
    with pytest.raises(ServerStartFailed, match="does not start"):
        server.start()
    makes.fails = False
    server.start()
    assert makes.told == ["1 runs", "1 ends", "2 runs"]


def test_the_end_waits_for_no_start(server: OwnServer, makes: Makes) -> None:
    server.start()
    makes.may_start.clear()
    prepare(server)
    server.stop()
    assert sorted(makes.told) == ["1 ends", "1 runs", "cancelled"]


def test_one_that_is_ready_and_not_wanted_ends_with_the_other(
    server: OwnServer, makes: Makes
) -> None:
    server.start()
    prepare(server)
    assert waited(lambda: "2 runs" in makes.told)
    server.stop()
    assert sorted(makes.told) == ["1 ends", "1 runs", "2 ends", "2 runs"]
    assert not any(process.is_running() for process in makes.processes)


def waited(condition: Callable[[], bool]) -> bool:
    late = threading.Event()
    for _ in range(int(LONG / 0.02)):
        if condition():
            return True
        late.wait(0.02)
    return False
