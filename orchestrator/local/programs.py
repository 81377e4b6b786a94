"""Programs that are run to their end: git, uv, pip; with a deadline, and told of line by line."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

import psutil

from ..errors import InstallFailed

# Lines of what a program said that an error shows.
_TAIL = 8
_ENVIRONMENT = {
    # nobody is there who could answer
    "GIT_TERMINAL_PROMPT": "0",
    "PIP_NO_INPUT": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    # what git says is looked at
    "LC_ALL": "C",
    "PYTHONUTF8": "1",
}


@dataclass(frozen=True)
class Ended:
    """How a program ended; what it said on both streams, where not all of it then the last."""

    code: int
    said: str

    @property
    def tail(self) -> str:
        """The last lines, indented."""
        lines = [line for line in self.said.splitlines() if line.strip()]
        return "\n".join(f"  {line}" for line in lines[-_TAIL:]) or "  (nothing)"


def call(
    command: Sequence[str],
    *,
    seconds: float,
    told: Callable[[str], None] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Ended:
    """Run a program; `told` hears each line as it comes. It ends with us, and after `seconds`.

    Raises InstallFailed where it cannot be started, or is not done by then.
    """
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **_ENVIRONMENT, **(environment or {})},
            # a group of its own, by which also those are found whose parent has gone
            start_new_session=os.name == "posix",
        )
    except OSError as error:
        raise InstallFailed(f"{command[0]} cannot be started: {error.strerror}") from error
    late = threading.Event()

    def end_late() -> None:
        late.set()
        _end(process.pid)

    timer = threading.Timer(seconds, end_late)
    timer.daemon = True
    timer.start()
    try:
        assert process.stdout is not None
        said = deque[str](maxlen=10_000)
        for line in _lines(process.stdout):
            said.append(line)
            if told is not None:
                told(line)
        code = process.wait()
    except BaseException:
        # Ctrl-C, or whatever else came in between: nothing goes on behind our back.
        _end(process.pid)
        process.wait()
        raise
    finally:
        timer.cancel()
    if late.is_set():
        raise InstallFailed(f"{_short(command)} was not done after {seconds:g} s and was stopped")
    return Ended(code, "\n".join(said))


def _lines(stream: IO[bytes]) -> Iterator[str]:
    """Lines as they come; progress that is written over itself is lines, too."""
    rest = b""
    # of a buffered stream: what is there, not until so much is there
    while piece := os.read(stream.fileno(), 1 << 16):
        *whole, rest = re.split(rb"[\r\n]+", rest + piece)
        yield from (line.decode("utf-8", "replace") for line in whole if line)
    if rest:
        yield rest.decode("utf-8", "replace")


def _short(command: Sequence[str]) -> str:
    return " ".join(command[:3])


def _end(pid: int) -> None:
    """Kill a program with all that it started; whoever is left may hold the end of its pipe."""
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        for process in [*parent.children(recursive=True), parent]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
    if os.name == "posix":
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
