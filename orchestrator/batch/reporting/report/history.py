"""Reads what a batch has done in bulk, page by page, for statistics and the report."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ...execution.store import tables
from ...execution.store.store import LogEntry, Store
from ...logic.jobs import Outcome
from .statistics import Span, Statistics, Tried, statistics

# Attempts of a page: with ten spans each, what SQLAlchemy keeps of it is about 10 MB.
_PAGE = 2_000


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """A picture in the batch folder, as the store knows it."""

    key: str
    # inside the batch folder, with "/"
    path: str
    width: int
    height: int
    seed: str | None
    bytes: int
    # of the file
    sha256: str
    measured: Mapping[str, float]


def attempts(store: Store, *, after: int = 0) -> Iterator[Tried]:
    """The attempts with a higher id than `after`, oldest first, open ones too."""
    table = tables.attempts
    pictures = _pictures(store, after)
    for row in _pages(store, sa.select(table), table.c.id, after):
        yield Tried(
            id=row.id,
            server=row.server,
            size=row.size,
            pictures=pictures[row.id],
            started_at=row.started_at,
            ended_at=row.ended_at,
            seconds=row.seconds,
            outcome=Outcome(row.outcome) if row.outcome else None,
            failure=row.failure,
            error=row.error,
            degraded=json.loads(row.degraded),
        )


def spans(store: Store, *, after: int = 0) -> Iterator[Span]:
    """What was measured of the attempts with a higher id than `after`, attempt by attempt."""
    table = tables.timings
    for row in _pages(store, sa.select(table), table.c.attempt_id, after, table.c.id):
        yield Span(
            attempt=row.attempt_id,
            name=row.span,
            node_class=row.node_class,
            seconds=row.seconds,
        )


def attempts_by_job(store: Store) -> dict[str, list[int]]:
    """The ids of every job's attempts, oldest first."""
    table = tables.shots
    query = sa.select(table.c.attempt_id, table.c.key)
    found: dict[str, list[int]] = defaultdict(list)
    for row in _pages(store, query, table.c.attempt_id, 0, table.c.place):
        found[row.key].append(row.attempt_id)
    return found


def files(store: Store) -> dict[str, list[File]]:
    """The pictures of every job, by path; of unwanted jobs too."""
    table = tables.artifacts
    found: dict[str, list[File]] = defaultdict(list)
    for row in store.rows(sa.select(table).order_by(table.c.path)):
        found[row.key].append(
            File(
                key=row.key,
                path=row.path,
                width=row.width,
                height=row.height,
                seed=row.seed,
                bytes=row.bytes,
                sha256=row.sha256,
                measured=json.loads(row.measured),
            )
        )
    return found


def warnings(store: Store, limit: int) -> list[LogEntry]:
    """The latest sentences of the log that a person should look at, oldest first."""
    table = tables.events
    query = sa.select(table).where(table.c.warning).order_by(table.c.id.desc()).limit(limit)
    return [LogEntry(**row._mapping) for row in reversed(store.rows(query))]


def statistics_of(store: Store, *, latest: int | None = None) -> Statistics:
    """Percentiles, rates and idle shares of a batch; of its `latest` attempts where given.

    All of 100,000 attempts with eight spans each take seconds to read, 2,000 of them milliseconds.
    """
    after = 0 if latest is None else max(0, store.last_attempt() - latest)
    return statistics(attempts(store, after=after), spans(store, after=after))


def _pictures(store: Store, after: int) -> Counter[int]:
    """How many of the pictures that are there each attempt gave."""
    table = tables.artifacts
    rows = store.rows(sa.select(table.c.attempt_id).where(table.c.attempt_id > after))
    return Counter(row.attempt_id for row in rows)


def _pages(
    store: Store, query: sa.Select[Any], number: sa.Column[Any], after: int, *more: sa.Column[Any]
) -> Iterator[Any]:
    """All rows of a query with a higher `number` than `after`, in its order, then `more`'s.

    A page is a range of numbers, so rows that share one are never torn apart.
    """
    last = store.rows(sa.select(sa.func.max(number)))[0][0] or 0
    for begin in range(after, last, _PAGE):
        here = query.where(number > begin, number <= begin + _PAGE).order_by(number, *more)
        yield from store.rows(here)
