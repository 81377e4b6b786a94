"""Hints by a SQLite file itself: it says whether another connection has changed it since.

`PRAGMA data_version` (https://www.sqlite.org/pragma.html#pragma_data_version) looks into the shared
memory of the write-ahead log and waits for nobody, so that it can be asked ten times a second.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from .wakeups import Models, Polling

logger = logging.getLogger(__name__)

# s between two looks, and until a file that could not be read is tried again
_LOOK, _REST = 0.1, 1.0
_LATEST = "SELECT max(place) FROM jobs"


class FileChanges(Polling):
    """Hears that jobs were added to a SQLite file, by any process of this machine.

    Who listens sees the jobs themselves, so nobody has to tell of them.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def listen(self, arrived: Callable[[], None], models: Models | None = None) -> Iterator[None]:
        """Call `arrived` when jobs were added, whatever their models; see `Wakeups`."""
        ending = threading.Event()
        looker = threading.Thread(
            target=self._listen, args=(arrived, ending), name="changes", daemon=True
        )
        looker.start()
        try:
            yield
        finally:
            ending.set()
            looker.join()

    def _listen(self, arrived: Callable[[], None], ending: threading.Event) -> None:
        while not ending.is_set():
            try:
                # rw: a file that is not there is not made
                where = f"{self._path.absolute().as_uri()}?mode=rw"
                with closing(sqlite3.connect(where, uri=True)) as connection:
                    self._look(connection, arrived, ending)
            except sqlite3.Error as error:
                logger.info("changes of %s are not seen for now: %s", self._path.name, error)
                ending.wait(_REST)

    def _look(
        self, connection: sqlite3.Connection, arrived: Callable[[], None], ending: threading.Event
    ) -> None:
        version, latest = _version(connection), _latest(connection)
        # what was added before the first look
        arrived()
        while not ending.wait(_LOOK):
            now = _version(connection)
            if now == version:
                continue
            version, before, latest = now, latest, _latest(connection)
            if latest != before:
                arrived()


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA data_version").fetchone()[0])


def _latest(connection: sqlite3.Connection) -> int | None:
    found: int | None = connection.execute(_LATEST).fetchone()[0]
    return found
