"""Many pictures in several processes: in order, bounded, and what dies is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

import fake_grids
import orchestrator
from orchestrator.sprites.processes import in_order, processors

ROOT = Path(orchestrator.__file__).parents[1]


def double(number: int) -> int:
    return 2 * number


def own_process(number: int) -> int:
    del number
    time.sleep(0.05)
    return os.getpid()


def dies(number: int) -> int:
    if number == 5:
        os._exit(9)
    return number


def raises(number: int) -> int:
    if number == 7:
        raise ValueError("seven")
    return number


def minus(number: int) -> int:
    return -number


class Counted(Sequence[int]):
    """Numbers, and how many of them were asked for."""

    def __init__(self, length: int) -> None:
        self.length, self.taken = length, 0

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: object) -> int:
        raise NotImplementedError

    def __iter__(self) -> Iterator[int]:
        for number in range(self.length):
            self.taken = number + 1
            yield number


def test_results_come_in_order() -> None:
    assert list(in_order(double, range(40), 2, minus)) == list(range(0, 80, 2))


def test_several_processes_work_and_one_alone_is_this_one() -> None:
    assert len(set(in_order(own_process, range(16), 2, minus)) - {os.getpid()}) == 2
    assert set(in_order(own_process, range(16), 1, minus)) == {os.getpid()}
    # too few pictures to be worth a process
    assert set(in_order(own_process, range(7), 8, minus)) == {os.getpid()}


def test_no_more_are_under_way_than_keep_the_processes_busy() -> None:
    numbers = Counted(64)
    for done, _ in enumerate(in_order(double, numbers, 2, minus), 1):
        assert numbers.taken <= done + 4


def test_an_item_that_ends_its_process_is_told_and_the_others_go_on() -> None:
    found = list(in_order(dies, range(12), 2, minus))
    assert found == [0, 1, 2, 3, 4, -5, 6, 7, 8, 9, 10, 11]


def test_an_error_is_raised_and_no_process_is_left() -> None:
    with pytest.raises(ValueError, match="seven"):
        list(in_order(raises, range(12), 2, minus))
    assert not _python_children(os.getpid())


def _python_children(process: int) -> list[psutil.Process]:
    """Those that work; spawning keeps one that tracks resources."""
    found = []
    for child in psutil.Process(process).children(recursive=True):
        line = " ".join(child.cmdline())
        if "spawn_main" in line:
            found.append(child)
    return found


def test_there_is_a_processor() -> None:
    assert processors() >= 1


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for number in range(9):
        small = fake_grids.figure(np.random.default_rng(number))
        big = Image.fromarray(small).resize([7 * side for side in small.shape[1::-1]], 0)
        (tmp_path / "in").mkdir(exist_ok=True)
        big.save(tmp_path / "in" / f"{number}.png")
    (tmp_path / "in" / "5.png").write_bytes(b"no picture")
    return tmp_path / "in"


@pytest.mark.parametrize("palette", [None, 12])
def test_jobs_give_the_same_bytes(pictures: Path, palette: int | None) -> None:
    outs = [pictures.parent / f"out-{jobs}" for jobs in (1, 2)]
    seen: list[int] = []
    one, two = (
        orchestrator.snap(
            pictures, out, jobs=jobs, palette=palette, report=lambda _, done, __: seen.append(done)
        )
        for jobs, out in enumerate(outs, 1)
    )
    assert [each.error for each in one] == [each.error for each in two]
    assert [each.ok for each in two] == [number != 5 for number in range(9)]
    assert seen == [*range(1, 10)] * 2
    for file in outs[0].iterdir():
        assert file.read_bytes() == (outs[1] / file.name).read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C goes to a whole console there")
def test_ctrl_c_ends_the_command_and_its_processes(tmp_path: Path) -> None:
    small = fake_grids.figure(np.random.default_rng(1))
    big = Image.fromarray(small).resize((1024, 1024), 0)
    for number in range(200):
        big.save(tmp_path / f"{number}.png", compress_level=1)
    command = [sys.executable, "-m", "orchestrator", "snap", str(tmp_path), "--jobs", "2"]
    with subprocess.Popen(
        [*command, "--out", str(tmp_path / "out")],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        end = time.monotonic() + 60
        while not list(tmp_path.glob("out/*.png")) and time.monotonic() < end:
            time.sleep(0.05)
        children = _python_children(process.pid)
        assert len(children) == 2
        # as a terminal does it, to all of them
        os.killpg(process.pid, signal.SIGINT)
        _, told = process.communicate(timeout=30)
    assert process.returncode not in (0, 1, 2)
    assert "Traceback" not in told
    assert not psutil.wait_procs(children, timeout=10)[1]
    assert len(list(tmp_path.glob("out/*.png"))) < 200
    for file in tmp_path.glob("out/*.png"):
        Image.open(file).load()
