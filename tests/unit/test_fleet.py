"""Which servers a choice means, and what is known of processes that were left behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.batch.fleet import Care, Choice, Processes, fleet
from orchestrator.batch.store.store import Store
from orchestrator.errors import BadValue, UsageError

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
    ("choice", "error"),
    [
        (Choice(urls=("http://a", "a")), UsageError),
        (Choice(urls=("http://a",), gpus=("0",)), UsageError),
        (Choice(urls=("ftp://a",)), BadValue),
    ],
)
def test_a_choice_that_makes_no_sense_is_refused(
    store: Store, choice: Choice, error: type[Exception]
) -> None:
    with pytest.raises(error):
        fleet(choice, CARE, store)


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
