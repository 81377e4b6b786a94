"""What tests of the service's parts share."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from orchestrator.batch.execution.store.database import Database, sqlite_url
from orchestrator.batch.execution.store.store import Store
from orchestrator.service.storage import Storage


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@cache
def empty_record() -> bytes:
    """A new record, made once: its migrations take longer than most tests."""
    with tempfile.TemporaryDirectory() as folder:
        Store.open(folder).close()
        return (Path(folder) / "batch.sqlite").read_bytes()


@contextmanager
def opened(folder: Path) -> Iterator[Database]:
    """The database of a service in a folder, closed at the end."""
    path = folder / "service.sqlite"
    if not path.exists():
        path.write_bytes(empty_record())
    database = Database(sqlite_url(path))
    try:
        yield database
    finally:
        database.close()


def files_of(storage: Storage) -> list[Path]:
    """All that lies in a storage's folder, parts included."""
    found = [Path(folder) / name for folder, _, names in os.walk(storage.url) for name in names]
    return sorted(found)
