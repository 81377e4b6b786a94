"""A batch folder that a command made for nothing is taken away again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from .folder_lock import HOLDER, LOCK
from .place import FILE_NAME, POINTER

# What SQLite puts beside its file.
_BESIDE = ("", "-wal", "-shm", "-journal")


class Fresh:
    """What a command found where its batch folder shall be."""

    def __init__(self, folder: Path, inside: Sequence[str] = ()) -> None:
        self._folder = folder
        own = [HOLDER, *(f"{FILE_NAME}{end}" for end in _BESIDE)]
        self._files = [path for path in (folder / name for name in own) if not path.exists()]
        self._lock = folder / LOCK
        self._had_lock = self._lock.exists()
        # the nearest first
        folders = (*(folder / name for name in inside), folder, *folder.parents)
        self._folders = [one for one in folders if not one.exists()]
        # Whoever finds a record there has a batch already.
        self._is_kept = any((folder / name).exists() for name in (FILE_NAME, POINTER))

    def keep(self) -> None:
        """Let everything stay: there is a batch now."""
        self._is_kept = True

    def remove(self) -> None:
        """Take away what was not there before, unless somebody else is at work there by now."""
        # A database elsewhere keeps the name of its folder, and the folder that of its database.
        if self._is_kept or (self._folder / POINTER).exists() or not self._folder.is_dir():
            return
        lock = FileLock(self._lock)
        with suppress(Timeout, OSError):
            lock.acquire(timeout=0)
            for path in self._files:
                path.unlink(missing_ok=True)
            lock.release()
            if not self._had_lock:
                self._lock.unlink(missing_ok=True)
            for folder in filter(Path.exists, self._folders):
                folder.rmdir()


@contextmanager
def fresh(folder: Path, inside: Sequence[str] = ()) -> Iterator[Fresh]:
    """Take a batch folder away again where the block ends by an error before `keep` was called.

    `inside` are folders in it that it makes, empty by then.
    """
    found = Fresh(folder, inside)
    try:
        yield found
    except BaseException:
        found.remove()
        raise
