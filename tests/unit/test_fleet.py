"""Which servers a choice means, and what is known of processes that were left behind."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestrator.batch.execution.fleet import Care, Processes, fleet
from orchestrator.batch.execution.store.store import Store
from orchestrator.errors import BadValue, UsageError
from orchestrator.local.serving import Choice

CARE = Care()


def names(store: Store, choice: Choice) -> list[str]:
    return [server.name for server in fleet(choice, CARE, store)]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path)


def test_addresses_are_written_as_people_write_them(store: Store) -> None:
    choice = Choice(urls=("127.0.0.1:8188", "http://localhost:8189/"))
    assert names(store, choice) == ["http://127.0.0.1:8188", "http://localhost:8189"]


def test_no_choice_is_one_engine(store: Store) -> None:
    assert names(store, Choice()) == ["engine-1"]


def test_one_comfyui_for_each_gpu(store: Store) -> None:
    choice = Choice(comfyui=Path("ComfyUI"), gpus=("0", "1"))
    assert names(store, choice) == ["comfyui-gpu0", "comfyui-gpu1"]


def test_addresses_and_processes_together(store: Store) -> None:
    choice = Choice(urls=("http://a",), engines=2)
    assert names(store, choice) == ["http://a", "engine-1", "engine-2"]


@pytest.mark.parametrize(
    ("named", "error"),
    [
        ({"urls": ("http://a", "a")}, UsageError),
        ({"urls": ("http://a",), "gpus": ("0",)}, UsageError),
        ({"urls": ("ftp://a",)}, BadValue),
    ],
)
def test_a_choice_that_makes_no_sense_is_refused(
    named: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        Choice(**named)


def test_processes_that_a_killed_run_left_are_ended(store: Store) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    Processes(store).add(process.pid)
    assert Processes(store).end_leftovers() == 1
    assert process.poll() is not None
    assert Processes(store).end_leftovers() == 0


def test_a_process_that_only_has_the_same_number_is_left_alone(store: Store) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        store.set_fact("processes", f'{{"{process.pid}": 12345.0}}')
        assert Processes(store).end_leftovers() == 0
        assert process.poll() is None
        process.communicate(b"\n")


class Meeting:
    """psutil's process, at whose birth all threads meet that note one."""

    together: threading.Barrier

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def create_time(self) -> float:
        self.together.wait()
        return float(self.pid)


def test_processes_that_start_at_once_are_all_noted(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = range(1001, 1009)
    monkeypatch.setattr(
        Meeting, "together", threading.Barrier(len(pids), timeout=30), raising=False
    )
    monkeypatch.setattr("orchestrator.batch.execution.fleet.psutil.Process", Meeting)
    # Each server has a thread of its own, and they begin together.
    with ThreadPoolExecutor(len(pids)) as pool:
        list(pool.map(Processes(store).add, pids))
    assert json.loads(store.fact("processes") or "") == {str(pid): float(pid) for pid in pids}


@pytest.mark.parametrize("change", [Processes.add, Processes.remove])
def test_nobody_else_writes_between_reading_the_processes_and_writing_them(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Any
) -> None:
    store.set_fact("processes", "{}")
    read, refused = Store.fact, []

    with closing(sqlite3.connect(tmp_path / "batch.sqlite", timeout=0)) as other:

        def overtaken(self: Store, name: str) -> str | None:
            found = read(self, name)
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("update facts set value = '{}' where name = 'processes'")
            refused.append(name)
            return found

        monkeypatch.setattr(Store, "fact", overtaken)
        change(Processes(store), os.getpid())
    assert refused == ["processes"]


def test_a_run_that_is_killed_while_it_ends_leftovers_leaves_them_to_the_next(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(pid: int) -> None:
        raise Killed

    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        Processes(store).add(process.pid)
        with monkeypatch.context() as patched:
            patched.setattr("orchestrator.batch.execution.fleet._end", killed)
            with pytest.raises(Killed):
                Processes(store).end_leftovers()
        assert Processes(store).end_leftovers() == 1
        assert Processes(store).end_leftovers() == 0


def test_a_number_that_now_belongs_to_a_process_of_the_system_is_left_alone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows does not let everybody ask when such a process began."""
    Processes(store).add(os.getpid())

    def refused(pid: int) -> None:
        raise psutil.AccessDenied(pid)

    monkeypatch.setattr("orchestrator.batch.execution.fleet.psutil.Process", refused)
    assert Processes(store).end_leftovers() == 0
    assert json.loads(store.fact("processes") or "") == {}
