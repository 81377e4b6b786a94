"""One database connection for a batch's record: SQLite or PostgreSQL, transactions, our errors."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import (
    ArgumentError,
    NoSuchModuleError,
    PendingRollbackError,
    SQLAlchemyError,
)

from ....errors import BadValue, OutputError, SpriteworksError, StoreError, StoreUnreachable
from ....extras import install_line

# s that a writer waits for another process's transaction; ours take milliseconds, a plan seconds
_PATIENCE = 60
# The key of the lock of PostgreSQL that `Database.alone` holds: the letters "sprite".
_ALONE = int.from_bytes(b"sprite", "big")
# What libpq is told, so that nobody waits for ever: s for a connection to be set up, and to be
# given up where the other end acknowledges nothing (Linux takes ms for the latter).
_DEADLINES: Mapping[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
# s after which a process that froze inside a transaction loses it, and others get at its rows
_FROZEN = 20
# Classes of SQLSTATE that say nothing of what was asked: the connection broke (08), another
# transaction was in the way (40), too many are connected (53300), the server ends, begins or has
# ended what was idle (57P0x, 25P03, 57014 is a statement's own time).
_PASSING = re.compile("08|40|53300|57P0|57014|25P03|55P03")
# how SQLite and PostgreSQL say that there is no room
_FULL = re.compile(r"\bfull\b|No space left")
_LIKE = "give one like postgresql://USER@HOST/DATABASE"
_UNUSABLE = "the record of the batch, {name}, cannot be used: {reason}"


class Database:
    """A connection that threads share, one at a time.

    SQLite runs in WAL mode: readers never wait for the writer, and a process that is killed at any
    moment loses the open transaction and nothing else. With synchronous=NORMAL a power cut may
    also lose the last few transactions, never the file.
    """

    def __init__(self, url: str) -> None:
        self._lock = threading.RLock()
        # how many `transaction` blocks of this thread are open, one inside the other
        self._depth = 0
        self._writing = False
        # the isolation level that was set last, and of which of the driver's connections
        self._level: tuple[Any, str] | None = None
        self._compiled: dict[int, _Compiled] = {}
        with _translated(_without_password(url)):
            self._engine = _engine(url)
            self.is_sqlite = self._engine.dialect.name == "sqlite"
            if self.is_sqlite:
                sa.event.listen(self._engine, "connect", _set_up)
            else:
                sa.event.listen(self._engine, "connect", _bound)
            sa.event.listen(self._engine, "begin", self._begin)
            # without a password in it
            self.name = _without_password(url)
            self._connection = self._engine.connect()

    @property
    def folder(self) -> Path | None:
        """The folder of the file that it is; None where it is none of this machine's."""
        path = self._engine.url.database if self.is_sqlite else None
        return Path(path).parent if path else None

    def close(self) -> None:
        with self._lock:
            self._connection.close()
            self._engine.dispose()

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """All or nothing of what is written inside; blocks may be nested, the outermost commits."""
        with self._opened(writing=True) as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """One consistent view of the record; inside a transaction, what that one sees.

        Outside, every statement sees the record as it was at the first one. In a transaction of
        PostgreSQL each sees what was committed before it (READ COMMITTED); ask in one statement
        what must agree there.
        """
        with self._opened(writing=False) as connection:
            yield connection

    def take_your_time(self) -> None:
        """In a transaction whose statements have long pauses: do not take it for a frozen one."""
        if not self.is_sqlite:
            self._connection.execute(sa.text("SET LOCAL idle_in_transaction_session_timeout = 0"))

    @contextmanager
    def alone(self) -> Iterator[sa.Connection]:
        """A transaction beside which no other process is in another of these."""
        with self.transaction() as connection:
            # SQLite has one writer at a time in any case.
            if not self.is_sqlite:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ALONE)))
            yield connection

    def execute(
        self, statement: Any, parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]]
    ) -> Any:
        """Execute a statement kept by the caller, and return the driver's cursor.

        For the few that every job runs, inside a transaction. Building, looking up and wrapping
        one costs SQLAlchemy more than SQLite takes to run it, so each is compiled once and goes
        straight to the driver. `parameters` must name every bound parameter that has no value yet.
        """
        compiled = self._compiled.get(id(statement))
        if compiled is None:
            compiled = _Compiled(statement, self._engine.dialect)
            self._compiled[id(statement)] = compiled
        cursor = self._connection.connection.cursor()
        try:
            if isinstance(parameters, Mapping):
                cursor.execute(compiled.text, compiled.arguments(parameters))
            elif len(parameters) == 1:
                # The driver prepares for many, which costs another two ways to the server.
                cursor.execute(compiled.text, compiled.arguments(parameters[0]))
            else:
                cursor.executemany(compiled.text, [compiled.arguments(row) for row in parameters])
        except self._engine.dialect.loaded_dbapi.Error as error:
            self._drop_if_broken(error)
            raise _explained(error, self.name) from error
        return cursor

    def _drop_if_broken(self, error: Any) -> None:
        """See to it that the next transaction has a new connection where this one is gone."""
        connection = self._connection.connection.dbapi_connection
        if self._engine.dialect.is_disconnect(error, connection, None):
            self._connection.invalidate(error)

    def upsert(self, table: sa.Table, *, fixed: tuple[str, ...] = ()) -> Any:
        """An insert that, where the primary key is there already, updates all but `fixed`."""
        insert: Any = (sqlite if self.is_sqlite else postgresql).insert(table)
        key = [column.name for column in table.primary_key]
        changed = {
            column.name: insert.excluded[column.name]
            for column in table.columns
            if column.name not in (*key, *fixed)
        }
        return insert.on_conflict_do_update(index_elements=key, set_=changed)

    def insert_missing(self, table: sa.Table) -> Any:
        """An insert that, where the primary key is there already, changes nothing.

        It waits for another process that is about to write the same row.
        """
        insert: Any = (sqlite if self.is_sqlite else postgresql).insert(table)
        return insert.on_conflict_do_nothing()

    @contextmanager
    def _opened(self, *, writing: bool) -> Iterator[sa.Connection]:
        with self._lock, _translated(self.name):
            if self._depth:
                yield self._connection
                return
            self._depth, self._writing = 1, writing
            try:
                with self._connection.begin():
                    yield self._connection
            finally:
                self._depth, self._writing = 0, False

    def _begin(self, connection: sa.Connection) -> None:
        if self.is_sqlite:
            # A transaction that reads first and writes later could find itself overtaken by
            # another process and fail; taking the write lock at once makes it wait instead.
            connection.exec_driver_sql("BEGIN IMMEDIATE" if self._writing else "BEGIN")
            return
        # The driver says it with its BEGIN, which costs no time on the way.
        level: Any = "READ COMMITTED" if self._writing else "REPEATABLE READ"
        raw: Any = connection.connection.dbapi_connection
        if self._level != (raw, level):
            self._engine.dialect.set_isolation_level(raw, level)
            self._level = raw, level


class _Compiled:
    """A statement as text, and the order of its parameters."""

    def __init__(self, statement: Any, dialect: sa.Dialect) -> None:
        # an id may be used again once its statement is gone
        self.statement = statement
        compiled = statement.compile(dialect=dialect)
        self.text = str(compiled)
        self._order: Sequence[str] | None = compiled.positiontup
        self._fixed = compiled.params

    def arguments(self, values: Mapping[str, Any]) -> Any:
        every = {**self._fixed, **values}
        return every if self._order is None else tuple(every[name] for name in self._order)


def sqlite_url(path: Path) -> str:
    """The URL of a SQLite file."""
    return sa.URL.create("sqlite", database=str(path)).render_as_string()


def sqlite_file(url: str) -> Path | None:
    """The file that a database is; None where a server has it. Raises BadValue for no URL."""
    made = read_url(url)
    return Path(made.database or "") if made.get_backend_name() == "sqlite" else None


def read_url(url: str) -> sa.URL:
    """Read the address of a database; raises BadValue, with no word of it, for what is none."""
    try:
        return sa.make_url(url)
    except (ArgumentError, ValueError) as error:
        # SQLAlchemy lets a port that is no number through to int().
        raise BadValue(
            f"a database cannot be opened there, as that is no address of one; {_LIKE}"
        ) from error


def _engine(url: str) -> sa.Engine:
    read_url(url)
    # Of the drivers for PostgreSQL, the one that our extra installs.
    url = re.sub("^postgres(ql)?://", "postgresql+psycopg://", url)
    try:
        # Errors are logged, and values of a statement are prompts, labels and secrets.
        engine = sa.create_engine(url, hide_parameters=True)
        if engine.dialect.name == "postgresql" and engine.dialect.driver.startswith("psycopg"):
            # What the URL says goes before.
            deadlines = {name: _DEADLINES[name] for name in {*_DEADLINES} - {*engine.url.query}}
            engine = sa.create_engine(url, hide_parameters=True, connect_args=deadlines)
        return engine
    except ModuleNotFoundError as error:
        raise BadValue(_no_driver(url, error)) from error
    except (NoSuchModuleError, ArgumentError, ImportError) as error:
        raise BadValue(f"a database cannot be opened there ({error}); {_LIKE}") from error


def _no_driver(url: str, error: ModuleNotFoundError) -> str:
    kind = read_url(url).get_backend_name()
    if kind == "postgresql":
        return f"the driver for PostgreSQL is missing ({error}): {install_line('postgresql')}"
    return f"a record is kept in PostgreSQL or SQLite, not in {kind}; {_LIKE}"


def engine_of(url: str) -> sa.Engine:
    """SQLAlchemy's engine for a database, for connections beside that of a `Database`."""
    return _engine(url)


def _without_password(url: str) -> str:
    # libpq takes them as parameters, too.
    plain = read_url(url).difference_update_query(["password", "sslpassword"])
    return plain.render_as_string(hide_password=True)


@contextmanager
def _translated(name: str) -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        raise _explained(error, name) from error


def _set_up(connection: Any, _record: Any) -> None:
    # SQLAlchemy begins transactions itself, see `Database._begin`.
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout = {_PATIENCE * 1000}",
        "journal_mode = WAL",
        "synchronous = NORMAL",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _bound(connection: Any, _record: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SET idle_in_transaction_session_timeout = {_FROZEN * 1000}")
    connection.commit()


def _explained(error: Exception, name: str) -> SpriteworksError:
    cause: Any = getattr(error, "orig", None) or error
    reason = str(cause).strip().splitlines()[0]
    if _is_passing(error, cause):
        return StoreUnreachable(_UNUSABLE.format(name=name, reason=reason))
    if _FULL.search(reason):
        return OutputError(f"{name} cannot be written ({reason}); make room on the disk, then run")
    if "readonly" in reason or "read-only" in reason:
        return OutputError(f"{name} cannot be written ({reason}); check the folder's permissions")
    if "locked" in reason:
        return StoreUnreachable(
            f"{name} has been locked by another program for {_PATIENCE} s ({reason})"
        )
    return StoreError(_UNUSABLE.format(name=name, reason=reason))


def _is_passing(error: Exception, cause: Any) -> bool:
    """Say whether the same may work later, as far as the driver tells."""
    state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    if state:
        return bool(_PASSING.match(state))
    # Of a connection that broke, or could not be made, the server had no time to tell more.
    names = {one.__name__ for one in type(cause).__mro__}
    is_postgres = type(cause).__module__.partition(".")[0] in ("psycopg", "psycopg2")
    # A transaction cannot go on behind that.
    broken = getattr(error, "connection_invalidated", False) or isinstance(
        error, PendingRollbackError
    )
    return bool(broken) or (
        is_postgres and not names.isdisjoint({"OperationalError", "InterfaceError"})
    )
