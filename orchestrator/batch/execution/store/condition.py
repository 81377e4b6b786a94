"""What the record in a batch's folder is: whole, or gone, emptied, damaged, or no record at all.

Looked at without changing a byte, as it may be another program's file.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from . import kept_plan, tables
from .facts import PLAN
from .pictures import has_pictures, has_pictures_of_batch
from .place import FILE_NAME
from .upgrading import VERSION_FACT

_HEADER = b"SQLite format 3\0"
# Where a file says by which versions of SQLite it can be written and read; by others it is only
# read, which would be told as a matter of permissions.
_VERSIONS = slice(18, 20)
# What reading a damaged file raises; SQLite's own messages quote bytes of it that are no text.
UNREADABLE = (sqlite3.Error, UnicodeDecodeError)
# s to wait for another process that has the file locked
_PATIENCE = 5.0


class Condition(Enum):
    """What there is."""

    # nothing, and nothing speaks of a batch; or a record that nobody has planned anything in
    NEW = "new"
    # a record, as far as a quick look tells
    WHOLE = "whole"
    GONE = "gone"
    EMPTY = "empty"
    DAMAGED = "damaged"
    # another program's database
    FOREIGN = "foreign"
    # made by a later version of Spriteworks
    NEWER = "newer"
    # no file lies at its place
    OBSTRUCTED = "obstructed"

    @property
    def is_usable(self) -> bool:
        """True where the record can be opened."""
        return self in (Condition.NEW, Condition.WHOLE)


@dataclass(frozen=True)
class Finding:
    """What a look found."""

    condition: Condition
    # the predicate of a sentence about the record; "" where all is well
    words: str = ""


_NEW, _WHOLE = Finding(Condition.NEW), Finding(Condition.WHOLE)


def examine(folder: Path) -> Finding:
    """Look at the record in a batch's folder; quick, however large it is."""
    path = folder / FILE_NAME
    if not path.exists():
        return _unless_new(folder, Condition.GONE, "is gone, and pictures of it are there")
    if not path.is_file():
        return Finding(Condition.OBSTRUCTED, "is no file, so no record")
    try:
        with path.open("rb") as stream:
            start = stream.read(_VERSIONS.stop)
    except OSError:
        # Whoever opens it says why that cannot be.
        return _WHOLE
    if not start:
        return _unless_new(folder, Condition.EMPTY, "is empty, and pictures of it are there")
    if not start.startswith(_HEADER) or not {*start[_VERSIONS]} <= {1, 2}:
        return Finding(Condition.DAMAGED, "is damaged (it is no SQLite database)")
    try:
        with reading(path) as connection:
            return _of_tables(connection, folder)
    except UNREADABLE as error:
        if _says_nothing(error):
            return _WHOLE
        return Finding(Condition.DAMAGED, f"is damaged ({' '.join(str(error).split())})")


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection by which nothing can be written."""
    uri = f"{path.resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=_PATIENCE)) as connection:
        yield connection


def integrity(path: Path) -> str:
    """What SQLite finds wrong with a whole file, in its words; "" where nothing is.

    Reads all of it.
    """
    try:
        with reading(path) as connection:
            (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    except UNREADABLE as error:
        return "" if _says_nothing(error) else " ".join(str(error).split())
    words = str(found).splitlines()
    return "" if words == ["ok"] else words[-1]


def _says_nothing(error: Exception) -> bool:
    """True for an error that is about how the file can be reached and not about what is in it."""
    # Folders that cannot be written, files that are locked.
    return any(word in str(error) for word in ("unable to open", "readonly", "locked"))


def _of_tables(connection: sqlite3.Connection, folder: Path) -> Finding:
    query = "SELECT name FROM sqlite_master WHERE type = 'table'"
    names = {str(name) for (name,) in connection.execute(query)}
    ours = names & {*tables.metadata.tables}
    if not names:
        return _unless_new(folder, Condition.EMPTY, "has no tables, and pictures of it are there")
    if tables.facts.name not in ours and len(ours) * 2 <= len(tables.metadata.tables):
        return Finding(Condition.FOREIGN, "is a database of another program")
    facts = dict(connection.execute("SELECT name, value FROM facts").fetchall())
    (jobs,) = connection.execute("SELECT EXISTS (SELECT 1 FROM jobs)").fetchone()
    version = facts.get(VERSION_FACT)
    if version is None:
        return _emptied() if not jobs else Finding(Condition.DAMAGED, "is damaged (no version)")
    finding = _of_version(version)
    if finding is not _WHOLE or int(version) < tables.VERSION:
        return finding
    if not jobs:
        # A run that ended before it had a plan left it so.
        never = PLAN not in facts and not kept_plan.is_kept(folder)
        return _NEW if never or not has_pictures(folder) else _emptied()
    return _of_rows(connection)


def _of_version(version: object) -> Finding:
    try:
        number = int(str(version))
    except ValueError:
        number = 0
    if number < 1:
        return Finding(Condition.DAMAGED, f"is damaged (its version is {version!r})")
    if number > tables.VERSION:
        words = (
            f"was made by another version of Spriteworks (record version {number}, here "
            f"{tables.VERSION}), so use that one, or do without what only it knows"
        )
        return Finding(Condition.NEWER, words)
    return _WHOLE


def _of_rows(connection: sqlite3.Connection) -> Finding:
    """Whether there are pictures where there are jobs that are done."""
    done, pictures = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM jobs WHERE state = 'done'), EXISTS (SELECT 1 FROM artifacts)"
    ).fetchone()
    return Finding(Condition.EMPTY, "knows no picture of its jobs") if done > pictures else _WHOLE


def _emptied() -> Finding:
    return Finding(Condition.EMPTY, "has nothing in its tables")


def _unless_new(folder: Path, condition: Condition, words: str) -> Finding:
    """What is told where a batch was here; without one, whoever comes first may begin."""
    was_here = has_pictures(folder) if kept_plan.is_kept(folder) else has_pictures_of_batch(folder)
    return Finding(condition, words) if was_here else _NEW


def set_aside(path: Path) -> Path | None:
    """Give what lies at a record's place another name, with what SQLite keeps beside it.

    Nothing is deleted: `batch.sqlite` becomes `batch.sqlite.damaged-1`, or the next number. Returns
    that path; None where there was nothing. Raises OSError.
    """
    beside = [path.with_name(f"{path.name}{end}") for end in ("", "-wal", "-shm", "-journal")]
    there = [one for one in beside if os.path.lexists(one)]
    if not there:
        return None
    number = 1
    while any(path.parent.glob(f"{path.name}.damaged-{number}*")):
        number += 1
    target = path.with_name(f"{path.name}.damaged-{number}")
    for one in there:
        os.rename(one, target.with_name(f"{target.name}{one.name[len(path.name) :]}"))
    return target
