"""The engine that is kept running between commands: where it is noted, and who may read that.

The note lies in a folder of this user alone, names the process and its address, and holds the token
without which the engine answers nobody. The engine writes it when it listens and removes it when it
ends; what one that was killed left behind goes when somebody looks.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import tempfile
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from ..errors import OutputError, UsageError
from .machine import identity

# Names another folder for the note.
RUNTIME = "SPRITEWORKS_RUNTIME"
# Routes of a kept engine: how it is (GET), that a command is there while its request is (GET),
# and that it shall end (POST).
STATUS, ATTACH, STOP = "/kept", "/kept/attach", "/kept/stop"
# s by which the birth of a process may seem to move when the clock of the machine is set
_CLOCK = 2.0
_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What an engine was started with; a command uses one of its own settings only."""

    version: str
    # of the code that it runs, and of the Python that runs it
    code: str
    python: str
    models: tuple[str, ...] = ()
    # cpu, cuda or mps; "" is the accelerator where there is one
    device: str = ""
    # {name: digest of its value} of the variables that torch, the hub and the engine look at
    environment: Mapping[str, str] = field(default_factory=dict)

    def objection(self, wanted: Settings) -> str:
        """Why an engine with these settings is not what is wanted; "" where it is."""
        if self.version != wanted.version:
            return f"it is version {self.version}"
        if (self.code, self.python) != (wanted.code, wanted.python):
            return "it runs other code, or code that has changed since"
        if self.models != wanted.models:
            return f"it has {_shown('--models', self.models)}"
        if self.device != wanted.device:
            return f"it has {_shown('--device', [self.device] if self.device else [])}"
        names = {
            name for name, _ in set(self.environment.items()) ^ set(wanted.environment.items())
        }
        return f"it has another {min(names)} in its environment" if names else ""


@dataclass(frozen=True, kw_only=True)
class Note:
    """A kept engine, as it is noted."""

    pid: int
    # when the process began, s since the epoch
    born: float
    url: str
    token: str = field(repr=False)
    # its own, in the temporary folder: all that it writes, and its log
    work: Path
    settings: Settings

    @property
    def log(self) -> Path:
        """Where it says what it does."""
        return log_in(self.work)

    def process(self) -> psutil.Process | None:
        """The process; None where it has ended, whoever has its number now."""
        try:
            found = psutil.Process(self.pid)
            ours = abs(found.create_time() - self.born) < _CLOCK
            return found if ours and found.status() != psutil.STATUS_ZOMBIE else None
        except psutil.Error:
            return None

    def to_json(self) -> dict[str, Any]:
        return {"format": _FORMAT, **asdict(self), "work": str(self.work)}

    @classmethod
    def from_json(cls, data: Any) -> Note:
        """Read what `to_json` wrote; raises ValueError, KeyError or TypeError for anything else."""
        if data["format"] != _FORMAT:
            raise ValueError("a note of another version")
        named = {**data["settings"], "models": tuple(data["settings"]["models"])}
        pid, work = data["pid"], Path(data["work"])
        # What is at this path is removed once the process has ended.
        if not isinstance(pid, int) or not 0 <= pid < 2**31 or not work.is_absolute():
            raise ValueError("a note that no engine wrote")
        return cls(
            pid=pid,
            born=float(data["born"]),
            url=str(data["url"]),
            token=str(data["token"]),
            work=work,
            settings=Settings(**named),
        )


def log_in(work: Path) -> Path:
    """The log of the engine that has this folder."""
    return work / "server.log"


class Place:
    """The folder of the note, which nobody but this user may read or change."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        named = environment.get(RUNTIME, "").strip()
        self.folder = Path(named).expanduser().absolute() if named else _runtime_folder()
        # Containers may share a folder, and number their processes each for itself.
        self._path = self.folder / f"engine-{identity()[:16]}.json"

    @property
    def lock(self) -> Path:
        """What whoever starts an engine holds."""
        return self.folder / "engine.lock"

    def prepare(self) -> None:
        """Make the folder; raises UsageError where others could come into it."""
        try:
            self.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"{self.folder} cannot be made: {error.strerror}; name another folder by {RUNTIME}"
            ) from error
        if objection := self._objection():
            raise UsageError(
                f"{self.folder} {objection}, so no engine is kept; name another folder by {RUNTIME}"
            )

    def read(self) -> Note | None:
        """The note; None where there is none, or somebody else may have written it."""
        try:
            if self._objection():
                return None
            with self._path.open(encoding="utf-8") as stream:
                if not _is_private(os.fstat(stream.fileno()), stat.S_ISREG):
                    return None
                return Note.from_json(json.load(stream))
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return None

    def write(self, note: Note) -> None:
        """Write the note, whole or not at all; raises OutputError."""
        self.prepare()
        try:
            number, name = tempfile.mkstemp(dir=self.folder, prefix="engine-", suffix=".new")
            with os.fdopen(number, "w", encoding="utf-8") as stream:
                json.dump(note.to_json(), stream)
            os.replace(name, self._path)
        except OSError as error:
            raise OutputError(f"{self._path} cannot be written: {error.strerror}") from error

    def remove(self, token: str) -> None:
        """Remove the note where it is that of the engine with this token."""
        note = self.read()
        if note is not None and note.token == token:
            with suppress(OSError):
                self._path.unlink()

    def living(self) -> Note | None:
        """The note of an engine that runs; removes what one that was killed left behind."""
        note = self.read()
        if note is None or note.process() is not None:
            return note
        self.remove(note.token)
        shutil.rmtree(note.work, ignore_errors=True)
        return None

    def _objection(self) -> str:
        """What keeps the folder from being this user's alone; "" where nothing does."""
        above = self.folder.parent.stat()
        if not _is_private(self.folder.lstat(), stat.S_ISDIR):
            return "is not for this user alone"
        # Who owns the folder above can exchange this one, and who may write in it unless it is
        # sticky, as /tmp is.
        loose = above.st_mode & 0o022 and not above.st_mode & stat.S_ISVTX
        if os.name == "posix" and (above.st_uid not in (0, os.getuid()) or loose):
            return "lies in a folder of others"
        return ""


def _runtime_folder() -> Path:
    # 2 ms, for those who name none
    from platformdirs import user_runtime_path

    with warnings.catch_warnings():
        # It warns where the system has no such folder, and takes one in /tmp, at which we look.
        warnings.simplefilter("ignore")
        return user_runtime_path("spriteworks", appauthor=False)


def _is_private(found: os.stat_result, is_kind: Any) -> bool:
    # The profile of a user is their own on Windows, whose modes say nothing of that.
    if os.name != "posix":
        return bool(is_kind(found.st_mode))
    return is_kind(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def _shown(option: str, values: Any) -> str:
    return " ".join(f"{option} {value}" for value in values) or f"no {option}"
