"""A server process of our own: starts it, watches it, and stops it with all its children.

A watchdog stops it where we cannot any more.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from ..client.wire import Timeouts, Wire
from ..errors import ServerError, ServerLost, ServerStartFailed
from ..protocol import SystemStats
from .interrupts import is_hurried
from .watchdog import Watchdog

# Between two questions whether a starting server is ready, in s.
_PACE = 0.1
# What a process gets to end by itself before it is killed, in s: a command that is stopped ends
# within 5 s, and has its job taken back before. A batch has waited for its jobs besides.
_GRACE, _HURRIED_GRACE = 2.0, 0.8
# Lines of the log that an error shows.
_TAIL = 8
_STARTS = 3

_PORT_TAKEN = re.compile(r"address already in use|EADDRINUSE|WinError 10048|only one usage of each")
# Terminal colours and log prefixes do not belong into an error.
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, kw_only=True)
class Command:
    """How to start a server on a given port."""

    # for messages: "ComfyUI in /home/me/ComfyUI"
    name: str
    arguments: Callable[[int], Sequence[str]]
    cwd: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    # s; ComfyUI with many custom nodes takes minutes
    patience: float = 300.0
    # 0 is any free one
    port: int = 0


def free_port() -> int:
    """Return a port of this machine that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ServerProcess:
    """A running server process, whose output goes to `log`."""

    def __init__(self, command: Command, log: Path) -> None:
        self._command = command
        self._log = log
        self.port = command.port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process = self._spawn()
        try:
            self._watchdog = Watchdog(self._process.pid)
        except OSError as error:
            self._process.kill()
            raise ServerStartFailed(
                f"{command.name} cannot be watched over: {error.strerror}"
            ) from error

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    def check(self) -> None:
        """Raise ServerLost, with the end of its log, when the process has ended."""
        code = self._process.poll()
        if code is not None:
            raise ServerLost(
                f"{self._command.name} ended with exit code {code} while it was needed; its log "
                f"ends with:\n{self.tail()}"
            )

    def wait_until_ready(self, cancelled: threading.Event | None = None) -> None:
        """Wait until it answers; raises ServerStartFailed, with the end of its log.

        Who sets `cancelled` wants it no longer.
        """
        late = time.monotonic() + self._command.patience
        wire = Wire(self.url, Timeouts(connect=1.0, read=5.0, total=5.0))
        while not answers(wire):
            code = self._process.poll()
            if code is not None:
                raise self._failed(f"ended with exit code {code} before it was ready")
            if is_hurried() or (cancelled is not None and cancelled.is_set()):
                raise ServerStartFailed(f"{self._command.name} was stopped before it was ready")
            if time.monotonic() > late:
                raise self._failed(f"was not ready after {self._command.patience:g} s")
            time.sleep(_PACE)
        wire.close()
        # Whoever answered may have taken the port before our process came to it.
        if self._process.poll() is not None:
            raise self._failed("ended while another server answered on its port")

    def stop(self) -> None:
        """End the process and all that it started; asks first, then kills."""
        grace = _HURRIED_GRACE if is_hurried() else _GRACE
        # A signal in between would leave the rest of it to the watchdog.
        with signals_held():
            family = _family(self._process.pid)
            for process in family:
                _signal(process.terminate)
            _, stubborn = psutil.wait_procs(family, timeout=grace)
            for process in stubborn:
                _signal(process.kill)
            self._process.wait()
            _kill_group(self._process.pid)
            self._watchdog.dismiss()

    def port_was_taken(self) -> bool:
        """Say whether the log blames the port."""
        return _PORT_TAKEN.search(self.log()) is not None

    def log(self) -> str:
        """All that the process has written so far."""
        return _plain(self._log.read_bytes())

    def tail(self) -> str:
        """The last lines of the log, indented."""
        return tail_of(self._log.read_bytes())

    def _failed(self, what: str) -> ServerStartFailed:
        return ServerStartFailed(f"{self._command.name} {what}; its log ends with:\n{self.tail()}")

    def _spawn(self) -> subprocess.Popen[bytes]:
        arguments = list(self._command.arguments(self.port))
        try:
            with self._log.open("wb") as output:
                return subprocess.Popen(
                    arguments,
                    cwd=self._command.cwd,
                    env={**os.environ, **self._command.env},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    # Ctrl-C is for us: we interrupt our job first, then stop the server.
                    start_new_session=os.name == "posix",
                    creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
                )
        except OSError as error:
            raise ServerStartFailed(
                f"{self._command.name} cannot be started: {arguments[0]}: {error.strerror}"
            ) from error


@contextmanager
def running(
    command: Command, log: Path, cancelled: threading.Event | None = None
) -> Iterator[ServerProcess]:
    """Run a server until the block ends, on another port where the first was just taken.

    A start is given up, by ServerStartFailed, once `cancelled` is set.
    """
    for attempt in range(1, _STARTS + 1):
        with ExitStack() as stack:
            # A Ctrl-C between the start and the promise to stop would leave the server behind.
            with signals_held():
                process = ServerProcess(command, log)
                stack.callback(process.stop)
            try:
                process.wait_until_ready(cancelled)
            except ServerStartFailed:
                if attempt == _STARTS or not process.port_was_taken():
                    raise
                continue
            yield process
            return


@contextmanager
def signals_held() -> Iterator[None]:
    """Hold back Ctrl-C and SIGTERM until the block ends; then they take their usual course."""
    if threading.current_thread() is not threading.main_thread():
        # Python runs signal handlers in the main thread only.
        yield
        return
    held: list[tuple[int, FrameType | None]] = []

    def hold(number: int, frame: FrameType | None) -> None:
        held.append((number, frame))

    before: dict[int, Any] = {
        number: signal.signal(number, hold) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for number, _ in held:
        signal.raise_signal(number)


def python_environment() -> dict[str, str]:
    """Let a child Python find this package also where it is not installed, and flush its log."""
    here = str(Path(__file__).resolve().parents[2])
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    # It may run in another folder.
    paths = [here, *(os.path.abspath(path) for path in given if path)]
    return {
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",
    }


def tail_of(log: bytes) -> str:
    """The last lines of a log, indented."""
    lines = [line for line in _plain(log).splitlines() if line.strip()]
    return "\n".join(f"  {line}" for line in lines[-_TAIL:]) or "  (nothing)"


def own_python() -> str:
    """The Python that runs us."""
    return sys.executable


def answers(wire: Wire) -> bool:
    """Say whether a server answers, and knows its nodes by now."""
    try:
        SystemStats.from_json(wire.json("GET", "/system_stats"))
    except ServerError:
        return False
    return True


def _plain(log: bytes) -> str:
    return _ANSI.sub("", log.decode("utf-8", "replace"))


def _family(pid: int) -> list[psutil.Process]:
    """A process and all its descendants; empty where it has gone."""
    try:
        parent = psutil.Process(pid)
        return [*parent.children(recursive=True), parent]
    except psutil.NoSuchProcess:
        return []


def _kill_group(pid: int) -> None:
    """Kill what a server started in the very moment in which it was stopped, where groups exist."""
    if os.name == "posix":
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


def _signal(act: Callable[[], None]) -> None:
    # It may have ended by itself in the meantime.
    with suppress(psutil.NoSuchProcess):
        act()
