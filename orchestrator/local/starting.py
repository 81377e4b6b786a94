"""An engine that is started to be kept: alone, so that it outlives the command that starts it."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO

from ..client.wire import Timeouts, Wire
from ..errors import ServerStartFailed
from .asking import attached
from .interrupts import is_hurried
from .kept import Note, Place, Settings, log_in
from .launch import engine_arguments
from .process import answers, python_environment, signals_held, tail_of

# s between two looks whether it is ready, and for which it may take to be so
_PACE, PATIENCE = 0.05, 300.0
# Its own session; on Windows no console of ours, with which it would end.
_ALONE = getattr(subprocess, "DETACHED_PROCESS", 0) | getattr(
    subprocess, "CREATE_NEW_PROCESS_GROUP", 0
)


def begun(stack: ExitStack, place: Place, settings: Settings, keep: float) -> Note:
    """Start an engine, and be counted as its user until `stack` closes; for who holds the lock.

    It ends when nobody used it for `keep` s. Raises ServerStartFailed, and leaves nothing behind.
    """
    with ExitStack() as undo:
        work = Path(tempfile.mkdtemp(prefix="spriteworks-"))
        undo.callback(shutil.rmtree, work, ignore_errors=True)
        token = secrets.token_urlsafe(32)
        undo.callback(place.remove, token)
        note = Note(pid=0, born=0.0, url="", token=token, work=work, settings=settings)
        # Opened now: the engine takes its log along when it ends.
        with log_in(work).open("wb") as output, log_in(work).open("rb") as log:
            # A Ctrl-C between the start and the promise to end it would leave it behind.
            with signals_held():
                process = _spawn(note, output)
                undo.callback(_end, process)
            _order(process, note, keep)
            note = _ready(_Waiting(process, log), stack, place, note)
        # From here on it ends by itself.
        undo.pop_all()
    # Somebody has to ask how it ended, as long as this program lives.
    threading.Thread(target=process.wait, name="engine", daemon=True).start()
    return note


class _Waiting:
    """Waits for a process that starts."""

    def __init__(self, process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
        self._process = process
        self._log = log
        self._late = time.monotonic() + PATIENCE

    def until(self, is_done: Callable[[], bool]) -> None:
        """Wait; raises ServerStartFailed where it ends before, or takes too long."""
        while not is_done():
            code = self._process.poll()
            if code is not None:
                raise self._failed(f"ended with exit code {code} before it was ready")
            if is_hurried():
                raise ServerStartFailed("the engine was stopped before it was ready")
            if time.monotonic() > self._late:
                raise self._failed(f"was not ready after {PATIENCE:g} s")
            time.sleep(_PACE)

    def _failed(self, what: str) -> ServerStartFailed:
        tail = tail_of(self._log.read())
        return ServerStartFailed(f"the engine {what}; its log ends with:\n{tail}")


def _spawn(note: Note, output: IO[bytes]) -> subprocess.Popen[bytes]:
    arguments = engine_arguments(note.work, note.settings.models, note.settings.device)
    try:
        return subprocess.Popen(
            [*arguments, "--port", "0", "--kept"],
            # Python looks for modules there, and nobody else can put one into it.
            cwd=note.work,
            env={**os.environ, **python_environment()},
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=os.name == "posix",
            creationflags=_ALONE,
        )
    except OSError as error:
        raise ServerStartFailed(
            f"the engine cannot be started: {arguments[0]}: {error.strerror}"
        ) from error


def _order(process: subprocess.Popen[bytes], note: Note, keep: float) -> None:
    """Tell it what it is to know, which no argument may hold, for other users can see those."""
    assert process.stdin is not None
    # One that has ended is told of by who waits for it.
    with suppress(OSError), process.stdin as stream:
        stream.write(json.dumps({"note": note.to_json(), "keep": keep}).encode())


def _ready(waiting: _Waiting, stack: ExitStack, place: Place, note: Note) -> Note:
    """Its note, once it can take jobs."""
    noted: list[Note] = []

    def is_noted() -> bool:
        found = place.read()
        if found is not None and found.token == note.token:
            noted.append(found)
        return bool(noted)

    waiting.until(is_noted)
    # Before anything else, so that it does not end as one that nobody uses.
    waiting.until(lambda: attached(stack, noted[0], None) is not None)
    wire = Wire(noted[0].url, Timeouts(connect=1.0, read=5.0, total=5.0))
    try:
        waiting.until(lambda: answers(wire))
    finally:
        wire.close()
    return noted[0]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
