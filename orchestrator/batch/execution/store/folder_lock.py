"""One orchestrator at a time in a batch folder."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ....errors import BatchBusy, OutputError

# Files in a batch folder.
LOCK = "batch.lock"
HOLDER = "batch.lock.json"


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a batch folder, made where it is missing, for as long as the block runs.

    It is the operating system's lock on a file: it ends with the process, however that ends, so
    none is ever left behind. Raises BatchBusy at once, saying who holds it, and OutputError where
    the folder cannot be written.
    """
    lock = FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise BatchBusy(
            f"another orchestrator is at work in {folder}{_holder(folder)}; wait for it or stop "
            "it, this one has done nothing"
        ) from error
    except OSError as error:
        raise OutputError(
            f"the folder {folder} cannot be written ({error.strerror or error}); check its "
            "permissions and the disk, or give another one"
        ) from error
    try:
        _sign(folder)
        yield
    finally:
        lock.release()


def is_held(folder: Path) -> bool:
    """Say whether an orchestrator is at work in a batch folder."""
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError):
        return True
    lock.release()
    return False


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
