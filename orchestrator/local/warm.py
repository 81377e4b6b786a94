"""The engine that is kept running between commands: found, used, started and ended.

One for each user. A command that uses it keeps a request open for as long as it is there, so that
the engine knows, however the command ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from ..errors import ServerLost, ServerStartFailed, UsageError
from .asking import ask, attached
from .kept import STATUS, STOP, Note, Place, Settings
from .launch import check_engine
from .process import tail_of
from .starting import PATIENCE, begun
from .wanted import wanted_settings

# s that an engine which was told to end has for it
_GOODBYE = 10.0


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A kept engine that this command uses."""

    note: Note
    # jobs of others that it had when we came
    jobs: int = 0
    # whether it was there before
    was_there: bool = True

    @property
    def remark(self) -> str:
        """What a person is told of it."""
        if not self.was_there:
            return "which is kept running"
        if not self.jobs:
            return "which was kept running"
        jobs = "a job" if self.jobs == 1 else f"{self.jobs} jobs"
        return f"which was kept running and has {jobs} of others to do before"

    def check(self) -> None:
        """Raise ServerLost, with the end of its log, when the process has ended."""
        if self.note.process() is None:
            raise ServerLost(
                "the engine that was kept running ended while it was needed; its log ends "
                f"with:\n{_tail(self.note.log)}"
            )


@contextmanager
def used(
    models: Sequence[Path], device: str, keep: float | None, say: Callable[[str], None]
) -> Iterator[Kept | None]:
    """The kept engine, until the block ends; None where there is none that fits.

    With `keep` one is started where there is none, and ends when nobody used it for so many s.
    Tells `say` why one that is there is not used. Raises ServerStartFailed, and UsageError where
    none can be kept.
    """
    place, settings = Place(), wanted_settings(models, device)
    with ExitStack() as stack:
        found = _found(stack, place, settings, keep, say)
        if found is None and keep is not None:
            found = _started(stack, place, settings, keep, say)
        yield found


def status(place: Place | None = None) -> dict[str, Any] | None:
    """The kept engine as `engine status` shows it; None where none runs."""
    note = (place or Place()).living()
    if note is None:
        return None
    code, told = ask(note, "GET", STATUS)
    return {
        "url": note.url,
        "process": note.pid,
        "started": note.born,
        "log": str(note.log),
        "version": note.settings.version,
        "models": list(note.settings.models),
        "device": note.settings.device,
        "answers": code == 200,
        **(told if code == 200 else {}),
    }


def stop(*, force: bool = False) -> bool:
    """End the kept engine; False where none runs. Raises UsageError where it is in use."""
    place = Place()
    note = place.living()
    if note is None:
        return False
    code, told = ask(note, "POST", STOP, {"force": force})
    if code == 409:
        raise UsageError(
            f"the engine at {note.url} is in use ({told['commands']} commands, {told['jobs']} "
            "jobs); wait for them, or end it with --force"
        )
    if code != 200 and not force and place.living() is not None:
        raise UsageError(f"the engine at {note.url} does not answer; end it with --force")
    # What does not answer does not end by itself, either.
    _gone(note, _GOODBYE if code == 200 else 0.0)
    place.living()
    return True


# ------------------------------------------------------------------------- finding


def _found(
    stack: ExitStack,
    place: Place,
    settings: Settings,
    keep: float | None,
    say: Callable[[str], None],
) -> Kept | None:
    note = place.living()
    if note is None:
        return None
    objection = note.settings.objection(settings)
    if not objection:
        told = attached(stack, note, keep)
        if told is not None:
            return Kept(note=note, jobs=told["jobs"])
        if place.living() is None:
            # It ended in this very moment.
            return None
        objection = "it does not answer"
    if keep is None:
        say(f"not using the engine that was kept running: {objection}")
    return None


# ------------------------------------------------------------------------ starting


def _started(
    stack: ExitStack,
    place: Place,
    settings: Settings,
    keep: float,
    say: Callable[[str], None],
) -> Kept | None:
    """An engine that we start; or that another command has started meanwhile."""
    from filelock import FileLock, Timeout

    check_engine()
    place.prepare()
    try:
        with FileLock(place.lock, timeout=PATIENCE):
            found = _found(stack, place, settings, keep, say)
            if found is not None or not _makes_room(place, settings, say):
                return found
            say("starting the embedded engine, to be kept ...")
            return Kept(note=begun(stack, place, settings, keep), was_there=False)
    except Timeout as error:
        raise ServerStartFailed(
            f"another command has been starting an engine for {PATIENCE:g} s; end that command"
        ) from error


def _makes_room(place: Place, settings: Settings, say: Callable[[str], None]) -> bool:
    """End a kept engine that does not fit; False where it is in use and stays."""
    note = place.living()
    if note is None:
        return True
    objection = note.settings.objection(settings) or "it does not answer"
    try:
        stop()
    except UsageError as error:
        say(f"not using the engine that was kept running: {objection}; it stays, for {error}")
        return False
    say(f"the engine that was kept running has ended: {objection}")
    return True


def _gone(note: Note, grace: float) -> None:
    """Wait until the process has ended, `grace` s, and see to it."""
    process = note.process()
    if process is None:
        return
    try:
        process.wait(grace)
    except psutil.TimeoutExpired:
        process.kill()
        process.wait(_GOODBYE)


def _tail(log: Path) -> str:
    try:
        return tail_of(log.read_bytes())
    except OSError:
        # It ended as it should, and took its log along.
        return tail_of(b"")
