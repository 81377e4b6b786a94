"""The database of a service as one file, as of one moment, and back.

SQLite's is copied by its online backup (sqlite.org/backup.html), PostgreSQL's by pg_dump with an
exported snapshot, so that what is read here and what is dumped are the same moment.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa

from ...batch.execution.store import upgrading
from ...batch.execution.store.database import Database
from ...batch.execution.store.tables import metadata
from ...errors import StoreError, UsageError
from ..tables import assets, contents
from .manifest import DatabaseKind

# s that a dump of a record may take; one of a million jobs takes two minutes
_LONGEST = 3600
_ALEMBIC = "alembic_version"


class Frozen(Protocol):
    """A record as of one moment."""

    version: int
    # bytes of the contents that its rows name, by their hashes
    sizes: dict[str, int]

    def write(self, path: Path) -> None: ...


def kind_of(url: str) -> DatabaseKind:
    """Which database a URL is of; raises UsageError where none of ours."""
    name = sa.make_url(url).get_backend_name()
    if name not in ("sqlite", "postgresql", "postgres"):
        raise UsageError(f"a record in {name} cannot be backed up; SQLite and PostgreSQL can")
    return DatabaseKind.SQLITE if name == "sqlite" else DatabaseKind.POSTGRESQL


def shown(url: str) -> str:
    """A URL without its password."""
    return sa.make_url(url).render_as_string(hide_password=True)


def frozen(url: str, work: Path) -> AbstractContextManager[Frozen]:
    """The record at a URL, held still until the block ends; nobody else waits for that.

    `work` is a folder for what comes up on the way.
    """
    return (
        _frozen_sqlite(url, work)
        if kind_of(url) is DatabaseKind.SQLITE
        else _frozen_postgresql(url)
    )


def put(record: Path, url: str) -> None:
    """Make a file of `Frozen.write` the record at a URL, in place of what is there.

    A SQLite record that was there stays beside it as `*.replaced`. Raises StoreError where somebody
    else has the database open, and then nothing has changed.
    """
    if kind_of(url) is DatabaseKind.SQLITE:
        _put_sqlite(record, _sqlite_path(url))
    else:
        _put_postgresql(record, url)


def is_filled(url: str) -> bool:
    """Whether there is a record at a URL; makes nothing."""
    if kind_of(url) is DatabaseKind.SQLITE:
        return _sqlite_path(url).is_file()
    with closing(Database(url)) as database, database.reading() as connection:
        return upgrading.version_of(connection) > 0


def refuse_company(url: str) -> None:
    """Raise StoreError where another process has the database open."""
    if kind_of(url) is DatabaseKind.SQLITE:
        if _sqlite_path(url).is_file():
            _close_for_all(_sqlite_path(url))
        return
    query = sa.text(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with closing(Database(url)) as database, database.reading() as connection:
        others = connection.execute(query).scalar_one()
    if others:
        raise StoreError(
            f"{others} others are connected to {shown(url)}; stop the service and all its workers, "
            "then try again"
        )


def _seen(connection: sa.Connection) -> tuple[int, dict[str, int]]:
    """The version of a record, and the contents that it names."""
    version = upgrading.version_of(connection)
    if not sa.inspect(connection).has_table(assets.name):
        return version, {}
    query = (
        sa.select(contents.c.hash, contents.c.size)
        .join(assets, assets.c.hash == contents.c.hash)
        .distinct()
    )
    return version, {row.hash: row.size for row in connection.execute(query)}


# ------------------------------------------------------------------------------- SQLite


class _FrozenSqlite:
    def __init__(self, path: Path, version: int, sizes: dict[str, int]) -> None:
        self.version, self.sizes = version, sizes
        self._path = path

    def write(self, path: Path) -> None:
        os.replace(self._path, path)


@contextmanager
def _frozen_sqlite(url: str, work: Path) -> Iterator[Frozen]:
    copy = work / "frozen.sqlite"
    copy.unlink(missing_ok=True)
    source = _sqlite_path(url)
    if not source.is_file():
        raise StoreError(f"there is no record at {source}")
    try:
        # In one step: a step that is interrupted by a writer would begin anew, for ever.
        with (
            closing(sqlite3.connect(source, timeout=60)) as here,
            closing(sqlite3.connect(copy)) as there,
        ):
            here.backup(there, pages=-1)
            # one file, without a log beside it
            there.execute("PRAGMA journal_mode = DELETE")
            _check(there, source)
    except sqlite3.Error as error:
        raise StoreError(f"{source} cannot be copied: {error}") from error
    engine = sa.create_engine(sa.URL.create("sqlite", database=str(copy)))
    try:
        with engine.connect() as connection:
            version, sizes = _seen(connection)
    finally:
        engine.dispose()
    yield _FrozenSqlite(copy, version, sizes)


def _put_sqlite(record: Path, target: Path) -> None:
    with closing(sqlite3.connect(record)) as connection:
        _check(connection, record)
    if target.is_file():
        _close_for_all(target)
        os.replace(target, target.with_name(target.name + ".replaced"))
    os.replace(record, target)


def _close_for_all(path: Path) -> None:
    """Put the log of a database into it; raises StoreError where another process has it open."""
    try:
        with closing(sqlite3.connect(path, timeout=1)) as connection:
            # It leaves WAL only where nobody else has the file open (sqlite.org/wal.html).
            (mode,) = connection.execute("PRAGMA journal_mode = DELETE").fetchone()
    except sqlite3.DatabaseError as error:
        if "locked" not in str(error):
            # A damaged one is what is restored over; its log would be taken for the new one's.
            for tail in ("-wal", "-shm"):
                path.with_name(path.name + tail).unlink(missing_ok=True)
            return
        mode = "wal"
    if mode != "delete":
        raise StoreError(
            f"another process has {path} open; stop the service and its workers, then try again"
        )


def _check(connection: sqlite3.Connection, name: Path) -> None:
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise StoreError(f"the database {name} is damaged: {found}")


def _sqlite_path(url: str) -> Path:
    return Path(sa.make_url(url).database or "")


# ---------------------------------------------------------------------------- PostgreSQL


class _FrozenPostgresql:
    def __init__(self, url: str, snapshot: str, version: int, sizes: dict[str, int]) -> None:
        self.version, self.sizes = version, sizes
        self._url, self._snapshot = url, snapshot

    def write(self, path: Path) -> None:
        _run(
            ["pg_dump", "--format=custom", f"--snapshot={self._snapshot}", f"--file={path}"],
            self._url,
        )


@contextmanager
def _frozen_postgresql(url: str) -> Iterator[Frozen]:
    _program("pg_dump")
    with closing(Database(url)) as database, database.reading() as connection:
        isolation = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
        connection.execute(sa.text(isolation))
        # a dump takes minutes, in which this connection says nothing
        database.take_your_time()
        snapshot = connection.execute(sa.select(sa.func.pg_export_snapshot())).scalar_one()
        version, sizes = _seen(connection)
        # It can be dumped for as long as this transaction is open.
        yield _FrozenPostgresql(url, str(snapshot), version, sizes)


def _put_postgresql(record: Path, url: str) -> None:
    _program("psql")
    refuse_company(url)
    script = record.with_suffix(".sql")
    _run(["pg_restore", "--no-owner", "--no-privileges", f"--file={script}", str(record)], None)
    names = [*(table.name for table in metadata.sorted_tables), _ALEMBIC]
    dropped = f"DROP TABLE IF EXISTS {', '.join(names)} CASCADE"
    # all of it or nothing
    options = ["--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1"]
    _run(["psql", *options, f"--command={dropped}", f"--file={script}"], url)


def _run(command: list[str], url: str | None) -> None:
    """Run one of PostgreSQL's programs; the password goes by the environment, which `ps` hides."""
    environment = dict(os.environ)
    if url is not None:
        address = sa.make_url(url)
        if address.password is not None:
            environment["PGPASSWORD"] = str(address.password)
        # `set` takes None for "as it is"
        plain = address._replace(drivername="postgresql", password=None)
        command = [*command, f"--dbname={plain.render_as_string(hide_password=False)}"]
    command[0] = _program(command[0])
    try:
        subprocess.run(
            command,
            env=environment,
            check=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=_LONGEST,
        )
    except subprocess.TimeoutExpired as error:
        raise StoreError(f"{command[0]} has not come to an end in {_LONGEST} s") from error
    except subprocess.CalledProcessError as error:
        words = error.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise StoreError(f"{Path(command[0]).name} failed: {words[0]}") from error


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise UsageError(
            f"{name} is missing, which this takes with PostgreSQL; install PostgreSQL's client "
            "programs (Debian: postgresql-client)"
        )
    return found
