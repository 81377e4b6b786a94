"""What tests of the service's parts share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.batch.store.database import Database, sqlite_url
from orchestrator.service import tables
from orchestrator.service.storage import Storage


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@contextmanager
def opened(folder: Path) -> Iterator[Database]:
    """A database with the service's tables, closed at the end."""
    database = Database(sqlite_url(folder / "service.sqlite"))
    try:
        tables.create(database)
        yield database
    finally:
        database.close()


def files_of(storage: Storage) -> list[Path]:
    """All that lies in a storage's folder, parts included."""
    found = [Path(folder) / name for folder, _, names in os.walk(storage.url) for name in names]
    return sorted(found)
