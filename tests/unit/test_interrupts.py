"""A signal as a wish: gentle at first, urgent when it comes again or time passes."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.errors import ServerStartFailed
from orchestrator.local import interrupts
from orchestrator.local.interrupts import Interrupts, is_hurried, was_stopped
from orchestrator.local.process import Command, running

INT, TERM = signal.SIGINT, signal.SIGTERM


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (INT, TERM)}
    yield
    assert {number: signal.getsignal(number) for number in before} == before


@pytest.mark.parametrize(
    ("numbers", "urgencies"),
    [((INT,), [1]), ((INT, INT), [1, 2]), ((TERM,), [2]), ((INT, TERM), [1, 2])],
)
def test_how_urgent_it_is(numbers: tuple[signal.Signals, ...], urgencies: list[int]) -> None:
    with Interrupts() as wishes:
        assert (wishes.urgency, wishes.number) == (0, 0)
        found = []
        for number in numbers:
            signal.raise_signal(number)
            found.append(wishes.urgency)
        assert found == urgencies
        assert wishes.number == numbers[-1]
        assert is_hurried() is (urgencies[-1] == 2)
    assert not is_hurried()


def test_a_gentle_end_becomes_urgent_with_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("orchestrator.local.interrupts.time.monotonic", lambda: now)
    with Interrupts() as wishes:
        signal.raise_signal(INT)
        now += interrupts._GENTLE
        assert wishes.urgency == 1
        now += 0.1
        assert wishes.urgency == 2


def test_a_process_that_is_no_command_of_ours_is_not_ended() -> None:
    with Interrupts():
        signal.raise_signal(TERM)
        assert not was_stopped()


def test_threads_count_nothing() -> None:
    found: list[int] = []

    def count() -> None:
        with Interrupts() as wishes:
            found.append(wishes.urgency)

    thread = threading.Thread(target=count)
    thread.start()
    thread.join()
    assert found == [0]


def test_a_server_that_starts_is_not_waited_for(tmp_path: Path) -> None:
    """Batches start servers in threads, to which no signal comes."""
    source = "import time; time.sleep(600)"
    command = Command(name="it", arguments=lambda port: [sys.executable, "-c", source])
    said: list[str] = []

    def start() -> None:
        try:
            with running(command, tmp_path / "log"):
                said.append("ready")
        except ServerStartFailed as error:
            said.append(str(error))

    with Interrupts():
        thread = threading.Thread(target=start)
        thread.start()
        signal.raise_signal(TERM)
        thread.join(30)
    assert said == ["it was stopped before it was ready"]
