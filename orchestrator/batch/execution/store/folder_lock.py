"""One orchestrator at a time in a batch folder."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ....errors import BatchBusy, OutputError

# Files in a batch folder.
LOCK = "batch.lock"
HOLDER = "batch.lock.json"


class _Busy(Exception):
    """Somebody else holds the folder."""


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a batch folder, made where it is missing, for as long as the block runs.

    They are the operating system's locks: they end with the process, however that ends, so none is
    ever left behind, and they hold although their files are deleted. Raises BatchBusy at once,
    saying who holds it, and OutputError where the folder cannot be written.
    """
    with ExitStack() as locks:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _lock(folder, locks)
        except _Busy as error:
            raise BatchBusy(
                f"another orchestrator is at work in {folder}{_holder(folder)}; wait for it or "
                "stop it, this one has done nothing"
            ) from error
        except OSError as error:
            raise OutputError(
                f"the folder {folder} cannot be written ({error.strerror or error}); check its "
                "permissions and the disk, or give another one"
            ) from error
        _sign(folder)
        yield


def is_held(folder: Path) -> bool:
    """Say whether an orchestrator is at work in a batch folder."""
    with ExitStack() as locks:
        try:
            _lock(folder, locks)
        except (_Busy, OSError):
            return True
    return False


def _lock(folder: Path, locks: ExitStack) -> None:
    """Take both locks: the file's, which every version takes, and one that nobody can delete."""
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise _Busy from error
    locks.callback(lock.release)
    _lock_for_good(folder, locks)


if sys.platform == "win32":
    import msvcrt

    # Far behind the end of the file, so that everybody can read and write what stands in it.
    _BYTE = 1 << 30

    def _lock_for_good(folder: Path, locks: ExitStack) -> None:
        """Lock the file that says who holds the folder.

        Windows deletes no file that is open without a share for that, as Python opens it, while
        the lock's own file may be opened otherwise.
        """
        number = os.open(folder / HOLDER, os.O_RDWR | os.O_CREAT | os.O_BINARY)
        locks.callback(os.close, number)
        os.lseek(number, _BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(number, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise _Busy from error

else:
    import fcntl

    def _lock_for_good(folder: Path, locks: ExitStack) -> None:
        """Lock the folder itself: the lock's file, once deleted, is another one for the next."""
        number = os.open(folder, os.O_RDONLY)
        locks.callback(os.close, number)
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _Busy from error
        except OSError:
            # Some network drives lock files and no folders.
            return


def _sign(folder: Path) -> None:
    # In a file of its own: Windows lets nobody read one that is locked.
    holder = {"process": os.getpid(), "computer": platform.node()}
    try:
        (folder / HOLDER).write_text(json.dumps(holder), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{folder / HOLDER} cannot be written: {error.strerror}") from error


def _holder(folder: Path) -> str:
    """Who holds the folder, in brackets; nothing where that cannot be read yet."""
    try:
        holder = json.loads((folder / HOLDER).read_text(encoding="utf-8"))
        return f" (process {holder['process']} on {holder['computer']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
