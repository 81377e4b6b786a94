"""Programs that are run to their end: what they say, their deadline, and what they started."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

import psutil
import pytest

from orchestrator.errors import InstallFailed
from orchestrator.local import programs
from orchestrator.local.programs import call


def test_lines_come_as_they_are_written_over_themselves_too() -> None:
    script = "import sys; print('one'); sys.stderr.write('10%\\r20%\\r'); sys.exit(3)"
    heard: list[str] = []
    ended = call([sys.executable, "-u", "-c", script], seconds=240, told=heard.append)
    assert heard == ["one", "10%", "20%"]
    assert (ended.code, ended.said) == (3, "one\n10%\n20%")


def test_the_end_of_what_it_said_is_for_errors() -> None:
    script = "print(*range(30), sep='\\n')"
    ended = call([sys.executable, "-c", script], seconds=240)
    assert ended.tail == "\n".join(f"  {number}" for number in range(22, 30))


class Deadline:
    """A timer that is over when the test says so."""

    passed: Callable[[], None]

    def __init__(self, seconds: float, passed: Callable[[], None]) -> None:
        Deadline.passed = passed

    def start(self) -> None:
        """Nothing happens by itself."""

    def cancel(self) -> None:
        """Nothing would happen."""


def ends(pid: int) -> bool:
    """Wait until nobody runs under that number; init may not have taken note of it yet."""
    late = time.monotonic() + 60
    while time.monotonic() < late:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


CHILD = "import os, time; print(os.getpid(), flush=True); time.sleep(3600)"
# It speaks when its parent has gone.
ORPHAN = "import os, sys, time\nwhile os.getppid() == int(sys.argv[1]): time.sleep(0.01)\n" + CHILD


@pytest.mark.parametrize(("child", "end"), [(CHILD, "child.wait()"), (ORPHAN, "pass")])
def test_what_takes_too_long_is_ended_with_all_that_it_started(
    child: str, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if child == ORPHAN and os.name == "nt":
        pytest.skip("Windows knows no groups by which a child is found whose parent has gone")
    monkeypatch.setattr(programs.threading, "Timer", Deadline)
    script = (
        "import os, subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}, str(os.getpid())])\n"
        f"{end}"
    )
    pids: list[int] = []

    def told(line: str) -> None:
        pids.append(int(line))
        Deadline.passed()

    with pytest.raises(InstallFailed, match="was not done after 240 s and was stopped"):
        call([sys.executable, "-c", script], seconds=240, told=told)
    assert ends(pids[0])


def test_an_end_in_between_ends_it() -> None:
    pids: list[int] = []

    def stop(line: str) -> None:
        pids.append(int(line))
        raise KeyboardInterrupt

    script = "import os, time; print(os.getpid(), flush=True); time.sleep(3600)"
    with pytest.raises(KeyboardInterrupt):
        call([sys.executable, "-c", script], seconds=240, told=stop)
    assert ends(pids[0])


def test_a_program_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(InstallFailed, match="none/at-all cannot be started"):
        call(["/none/at-all"], seconds=10)
