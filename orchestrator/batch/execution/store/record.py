"""The record as a whole: transactions, facts, the log."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from . import statements, tables
from .database import Database


@dataclass(frozen=True, kw_only=True)
class LogEntry:
    """One line of the batch's log, in words."""

    id: int
    at: float
    text: str
    # for a person to look at
    warning: bool = False
    server: str = ""
    key: str = ""


class RecordBase:
    """What belongs to no job: facts, and the log. See `store` for what all methods share."""

    def __init__(self, database: Database) -> None:
        self._db = database

    @property
    def database(self) -> Database:
        """The database, for those who keep more in it."""
        return self._db

    def transaction(self) -> AbstractContextManager[Any]:
        """All or nothing of what is called inside."""
        return self._db.transaction()

    def rows(self, query: sa.Select[Any]) -> Sequence[Any]:
        """The rows of a query over the tables of `.tables`, for reports."""
        return self._read(query)

    def _read(self, query: Any) -> Sequence[Any]:
        with self._db.reading() as connection:
            return connection.execute(query).all()

    # ----------------------------------------------------------------------- facts

    def fact(self, name: str) -> str | None:
        """What was noted under a name, of the batch as a whole."""
        rows = self._read(sa.select(tables.facts.c.value).where(tables.facts.c.name == name))
        return rows[0][0] if rows else None

    def facts(self, prefix: str) -> list[str]:
        """The names that begin with `prefix` under which something was noted."""
        names = tables.facts.c.name
        return [
            row.name
            for row in self._read(sa.select(names).where(names.startswith(prefix, autoescape=True)))
        ]

    def set_fact(self, name: str, value: str | None) -> None:
        """Note something, in place of what was noted under the name; None forgets it."""
        with self._db.transaction() as connection:
            if value is None:
                connection.execute(tables.facts.delete().where(tables.facts.c.name == name))
            else:
                connection.execute(self._db.upsert(tables.facts), {"name": name, "value": value})

    def add_to_fact(self, name: str, number: int) -> None:
        """Add to a number that is noted under a name, 0 where nothing is; also by several."""
        if not number:
            return
        table = tables.facts
        total = sa.cast(sa.cast(table.c.value, sa.BigInteger) + number, sa.Text)
        with self._db.transaction() as connection:
            connection.execute(self._db.insert_missing(table), {"name": name, "value": "0"})
            connection.execute(table.update().where(table.c.name == name).values(value=total))

    # ----------------------------------------------------------------------- log

    def log(
        self,
        text: str,
        *,
        warning: bool = False,
        server: str = "",
        key: str = "",
        now: float | None = None,
    ) -> None:
        """Add a sentence to the batch's log."""
        row = {"at": moment(now), "warning": warning, "server": server, "key": key, "text": text}
        with self._db.transaction():
            self._db.execute(statements.NEW_EVENT, row)

    def events(self, *, after: int = 0, limit: int = 1000) -> list[LogEntry]:
        """The log from the entry after number `after`, oldest first."""
        table = tables.events
        query = sa.select(table).where(table.c.id > after).order_by(table.c.id).limit(limit)
        return [LogEntry(**row._mapping) for row in self._read(query)]


def moment(given: float | None) -> float:
    """A moment for people, in s since the epoch: now, where none is given."""
    return time.time() if given is None else given
