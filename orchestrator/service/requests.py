"""The requests' rows: what was posted by whom, and what came of it.

A request is a job of the record (`batch.execution.store`) and a row beside it. Every method is one
transaction. Moments are s since the epoch by the wall clock and serve people; the order of requests
is that of their jobs' places.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ..batch.execution.store import tables as batch
from ..batch.execution.store.store import Store
from ..batch.logic.jobs import Job, State
from ..protocol import Graph
from . import tables, work
from .content_types import kind_of
from .times import Kind
from .times import kind_of as kind_of_notes
from .views import ErrorView, OutputView, RequestView, Status, status_of
from .work import Work

# s for which an idempotency key is kept
IDEMPOTENCY = 24 * 3600.0
# Rows that one statement names at most; SQLite takes 32,766 values.
_CHUNK = 500

_FINAL = {
    Status.SUCCEEDED: (State.DONE,),
    Status.FAILED: (State.FAILED, State.QUARANTINED),
    Status.CANCELED: (State.CANCELLED,),
    Status.EXPIRED: (State.UNWANTED,),
}
_LIVE = (State.PENDING, State.CLAIMED, State.SUBMITTED)


@dataclass(frozen=True, kw_only=True)
class Once:
    """An idempotency key and the hash of what it came with."""

    key: str
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class New:
    """A request that is to be written down."""

    id: str
    owner: str
    graph: Graph
    # the models that the graph loads, as `batch.logic.planning` names them
    model: str
    created_at: float
    expires_at: float
    priority: int = 0
    extra_data: Mapping[str, Any] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    # of the graph
    nodes: int = 0
    # URL that is told of its end; "" where none is
    webhook: str = ""


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which requests are wanted."""

    # None is everybody's
    owner: str | None
    statuses: frozenset[Status] = frozenset()
    labels: Mapping[str, str] = field(default_factory=dict)
    # only those with a lower `RequestView.order`
    before: int | None = None
    # only those with a picture of that mark
    mark: str = ""


@dataclass(frozen=True, kw_only=True)
class BatchView:
    """The requests that came with one manifest."""

    id: str
    # of the manifest
    name: str
    created_at: float
    # how many have each status
    counts: Mapping[Status, int]

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.counts.values())


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What metrics are made from."""

    by_status: Mapping[Status, int]
    # s for which the oldest waiting request has waited
    oldest: float
    # of all requests there ever were
    work: Work
    # pictures of the last 60 s
    images_a_minute: int
    # times that a process went on with what another had claimed
    taken_over: int
    files: int
    file_bytes: int


class Requests:
    """The rows of all requests; may be used by several threads."""

    def __init__(self, store: Store) -> None:
        self._store = store

    # ------------------------------------------------------------------- writing

    def add(
        self,
        news: Sequence[New],
        added: Callable[[Sequence[RequestView]], None],
        once: Once | None = None,
        logins: Mapping[str, Mapping[str, str]] = {},
    ) -> list[RequestView] | None:
        """Write requests down, with their jobs; None, and nothing is, where their key is taken.

        The key stands for the first of them. `added` is told of all before anybody else can see
        one. `logins` are for those of them that others than this process may make.
        """
        jobs = [
            Job(
                key=new.id,
                name=new.id,
                item_id="",
                parameters={},
                seed=None,
                priority=new.priority,
                model=new.model,
                owner=new.owner,
            )
            for new in news
        ]
        labels = [
            {"id": new.id, "name": name, "value": value}
            for new in news
            for name, value in new.labels.items()
        ]
        with self._store.transaction() as connection:
            if once is not None and not self._take_key(connection, news[0], once):
                return None
            places = [job.order for job in self._store.add(jobs)]
            rows = [_row(new, place) for new, place in zip(news, places, strict=True)]
            connection.execute(tables.requests.insert(), rows)
            if labels:
                connection.execute(tables.labels.insert(), labels)
            for id, content in logins.items():
                row = {"request": id, "content": packed(dict(content))}
                connection.execute(tables.logins.insert(), row)
            views = [_new_view(new, place) for new, place in zip(news, places, strict=True)]
            added(views)
        return views

    def _take_key(self, connection: sa.Connection, new: New, once: Once) -> bool:
        table = tables.idempotency
        mine = (table.c.owner == new.owner) & (table.c.key == once.key)
        old = table.c.made_at <= new.created_at - IDEMPOTENCY
        connection.execute(table.delete().where(mine & old))
        insert: Any = (sqlite if self._store.database.is_sqlite else postgresql).insert(table)
        row = {
            "owner": new.owner,
            "key": once.key,
            "fingerprint": once.fingerprint,
            "request": new.id,
            "made_at": new.created_at,
        }
        return bool(connection.execute(insert.on_conflict_do_nothing(), row).rowcount)

    def began(self, id: str, at: float, server: str = "") -> None:
        """A server runs it; nothing changes where it has ended."""
        table = tables.requests
        alive = (table.c.id == id) & table.c.ended_at.is_(None)
        with self._store.transaction() as connection:
            update = table.update().where(alive).values(started_at=at, server=server)
            connection.execute(update)

    def waits_again(self, id: str) -> None:
        """It is no longer on its server; nothing changes where it has ended."""
        table = tables.requests
        begun = (table.c.id == id) & table.c.ended_at.is_(None) & table.c.started_at.is_not(None)
        with self._store.transaction() as connection:
            update = table.update().where(begun).values(started_at=None, server="")
            connection.execute(update)

    def ended(self, id: str, at: float, server: str, error: ErrorView | None = None) -> bool:
        """It has come to its end; where nobody heard it begin, that is when it was sent.

        False, and nothing changes, where that was written before.
        """
        table = tables.requests
        told = "" if error is None else json.dumps(asdict(error))
        values = {"ended_at": at, "server": server, "error": told}
        sent = (
            sa.select(sa.func.max(batch.attempts.c.started_at))
            .join(batch.shots, batch.shots.c.attempt_id == batch.attempts.c.id)
            .where(batch.shots.c.key == id)
            .scalar_subquery()
        )
        begun = sa.func.coalesce(table.c.started_at, sent)
        alive = (table.c.id == id) & table.c.ended_at.is_(None)
        update = table.update().where(alive).values(**values, started_at=begun)
        with self._store.transaction() as connection:
            connection.execute(tables.logins.delete().where(tables.logins.c.request == id))
            return bool(connection.execute(update).rowcount)

    def remove(self, ids: Collection[str]) -> None:
        """Forget requests that have ended, with all that was noted of them."""
        with self._store.transaction() as connection:
            for chunk in _chunks(ids):
                work.keep(self._store, chunk)
                tries = sa.select(batch.shots.c.attempt_id).where(batch.shots.c.key.in_(chunk))
                attempts = connection.execute(tries).scalars().all()
                for table, column in (
                    (batch.timings, batch.timings.c.attempt_id),
                    (batch.attempts, batch.attempts.c.id),
                ):
                    for some in _chunks(attempts):
                        connection.execute(table.delete().where(column.in_(some)))
                for column in (
                    batch.shots.c.key,
                    batch.artifacts.c.key,
                    batch.events.c.key,
                    tables.labels.c.id,
                    tables.marks.c.job_id,
                    tables.idempotency.c.request,
                    tables.requests.c.id,
                    batch.jobs.c.key,
                ):
                    connection.execute(column.table.delete().where(column.in_(chunk)))

    def forget_keys(self, now: float) -> None:
        """Forget idempotency keys that have had their day."""
        table = tables.idempotency
        with self._store.transaction() as connection:
            connection.execute(table.delete().where(table.c.made_at <= now - IDEMPOTENCY))

    # ------------------------------------------------------------------- reading

    def known(self, owner: str, key: str, now: float) -> tuple[str, str] | None:
        """The (request, fingerprint) of an idempotency key; None where it is free."""
        table = tables.idempotency
        query = sa.select(table.c.request, table.c.fingerprint).where(
            table.c.owner == owner, table.c.key == key, table.c.made_at > now - IDEMPOTENCY
        )
        rows = self._store.rows(query)
        return (rows[0].request, rows[0].fingerprint) if rows else None

    def get(self, id: str) -> RequestView | None:
        """One request; None where there is none."""
        found = self._views(tables.requests.c.id == id, limit=1)
        return found[0] if found else None

    def graph(self, id: str) -> Graph:
        """The graph of a request, as it was posted; raises KeyError where there is none."""
        return dict(json.loads(self._field(id, tables.requests.c.graph)))

    def extra_data(self, id: str) -> dict[str, Any]:
        """What its pictures shall carry besides the graph."""
        return dict(json.loads(self._field(id, tables.requests.c.extra_data)))

    def notes(self, id: str) -> dict[str, Any]:
        """What the face that took it wants to tell again, and the trace that it is a part of."""
        return dict(json.loads(self._field(id, tables.requests.c.notes)))

    def _field(self, id: str, column: sa.Column[Any]) -> str:
        rows = self._store.rows(sa.select(column).where(tables.requests.c.id == id))
        if not rows:
            raise KeyError(id)
        return str(rows[0][0])

    def page(self, wanted: Filter, limit: int, *, outputs: bool = False) -> list[RequestView]:
        """Requests, the newest first, on demand with their outputs."""
        table = tables.requests
        conditions: list[sa.ColumnElement[bool]] = []
        if wanted.owner is not None:
            conditions.append(table.c.owner == wanted.owner)
        if wanted.before is not None:
            conditions.append(table.c.place < wanted.before)
        if wanted.statuses:
            conditions.append(sa.or_(*(_has(status) for status in wanted.statuses)))
        for name, value in wanted.labels.items():
            labels = tables.labels.alias()
            same = sa.select(labels.c.id).where(labels.c.name == name, labels.c.value == value)
            conditions.append(table.c.id.in_(same))
        if wanted.mark:
            marked = tables.marks.c.verdict == wanted.mark
            conditions.append(table.c.id.in_(sa.select(tables.marks.c.job_id).where(marked)))
        return self._views(sa.and_(sa.true(), *conditions), limit=limit, outputs=outputs)

    def batches(self, owner: str, label: str, limit: int) -> list[BatchView]:
        """The batches of an owner, which share a label's value, the newest first."""
        table, labels, jobs = tables.requests, tables.labels, batch.jobs
        began = sa.func.min(table.c.place)
        query = (
            sa.select(labels.c.value, began, sa.func.min(table.c.created_at))
            .join(table, table.c.id == labels.c.id)
            .where(table.c.owner == owner, labels.c.name == label)
            .group_by(labels.c.value)
            .order_by(began.desc())
            .limit(limit)
        )
        found = [tuple(row) for row in self._store.rows(query)]
        ids = [value for value, _, _ in found]
        mine = (labels.c.name == label) & labels.c.value.in_(ids) & (table.c.owner == owner)
        counting = (
            sa.select(labels.c.value, jobs.c.state, table.c.started_at.is_not(None), jobs.c.cancel)
            .add_columns(sa.func.count())
            .join(table, table.c.id == labels.c.id)
            .join(jobs, jobs.c.key == table.c.id)
            .where(mine)
            .group_by(labels.c.value, jobs.c.state, table.c.started_at.is_not(None), jobs.c.cancel)
        )
        counts: dict[str, dict[Status, int]] = {value: {} for value in ids}
        for value, state, started, cancel, count in self._store.rows(counting):
            status = status_of(State(state), started=bool(started), cancelling=bool(cancel))
            counts[value][status] = counts[value].get(status, 0) + count
        firsts = sa.select(table.c.place, table.c.notes).where(
            table.c.owner == owner, table.c.place.in_([place for _, place, _ in found])
        )
        names = {row.place: json.loads(row.notes).get(label) for row in self._store.rows(firsts)}
        return [
            BatchView(id=value, name=names.get(place) or value, created_at=at, counts=counts[value])
            for value, place, at in found
        ]

    def recent(self, limit: int = 200) -> list[tuple[Kind, float]]:
        """The kind and the s of what was made last, the newest first."""
        table = tables.requests
        query = (
            sa.select(table.c.notes, table.c.ended_at - table.c.started_at)
            .join(batch.jobs, batch.jobs.c.key == table.c.id)
            .where(table.c.ended_at.is_not(None), table.c.started_at.is_not(None))
            .where(batch.jobs.c.state == State.DONE.value)
            .order_by(table.c.ended_at.desc())
            .limit(limit)
        )
        return [(kind_of_notes(json.loads(row[0])), row[1]) for row in self._store.rows(query)]

    def latest_on(self, server: str, owner: str) -> tuple[dict[str, Any], str]:
        """The notes of the latest request that a server ended, and why an owner's latest failed."""
        table = tables.requests
        mine = (table.c.server == server) & table.c.ended_at.is_not(None)
        query = sa.select(table.c.notes).where(mine).order_by(table.c.ended_at.desc()).limit(1)
        rows = self._store.rows(query)
        own = (table.c.owner == owner) & (table.c.error != "")
        failed = self._store.rows(query.with_only_columns(table.c.error).where(own))
        notes = json.loads(rows[0][0]) if rows else {}
        return notes, json.loads(failed[0][0])["message"] if failed else ""

    def live(self) -> list[RequestView]:
        """All that have not come to their end, the oldest first."""
        states = [state.value for state in _LIVE]
        return self._views(batch.jobs.c.state.in_(states), limit=None, newest=False)

    def unnoticed(self) -> list[tuple[str, str, str]]:
        """(id, state, reason) of those that ended without anybody to note it, as in a kill."""
        states = [state.value for state in _LIVE]
        query = (
            sa.select(tables.requests.c.id, batch.jobs.c.state, batch.jobs.c.reason)
            .join(batch.jobs, batch.jobs.c.key == tables.requests.c.id)
            .where(tables.requests.c.ended_at.is_(None), batch.jobs.c.state.not_in(states))
        )
        return [tuple(row) for row in self._store.rows(query)]

    def standings(self) -> dict[str, tuple[bool, str]]:
        """(whether its server runs it, the server) of each that has not come to its end."""
        states = [state.value for state in _LIVE]
        table = tables.requests
        query = (
            sa.select(table.c.id, table.c.started_at.is_not(None), table.c.server)
            .join(batch.jobs, batch.jobs.c.key == table.c.id)
            .where(batch.jobs.c.state.in_(states))
        )
        return {id: (bool(runs), server) for id, runs, server in self._store.rows(query)}

    def count(self, owner: str) -> int:
        """How many of an owner have not come to their end."""
        states = [state.value for state in _LIVE]
        query = (
            sa.select(sa.func.count())
            .select_from(batch.jobs)
            .where(batch.jobs.c.owner == owner, batch.jobs.c.state.in_(states))
        )
        return int(self._store.rows(query)[0][0])

    def figures(self, now: float) -> Figures:
        """Counts, the age of what waits, seconds of what ran."""
        jobs, table = batch.jobs, tables.requests
        mine: sa.Select[Any] = (
            sa.select(sa.func.count()).select_from(jobs).join(table, table.c.id == jobs.c.key)
        )
        waiting = (
            sa.select(sa.func.min(table.c.created_at))
            .join(jobs, jobs.c.key == table.c.id)
            .where(jobs.c.state == State.PENDING.value)
        )
        made: Any = sa.select(sa.func.count(), sa.func.sum(batch.artifacts.c.bytes))
        # In one view, or a job that begins meanwhile would wait and run.
        with self._store.database.reading():
            oldest = self._store.rows(waiting)[0][0]
            files, size = self._store.rows(made)[0]
            return Figures(
                by_status={
                    status: self._store.rows(mine.where(_has(status)))[0][0] for status in Status
                },
                oldest=0.0 if oldest is None else max(0.0, now - oldest),
                work=work.of_all(self._store),
                taken_over=self._store.taken_over(),
                images_a_minute=work.images_since(self._store, now - 60.0),
                files=files,
                file_bytes=size or 0,
            )

    def expired(self, now: float, limit: int = 1000) -> list[str]:
        """Requests that have ended and whose time is over."""
        table, jobs = tables.requests, batch.jobs
        query = (
            sa.select(table.c.id)
            .join(jobs, jobs.c.key == table.c.id)
            .where(
                table.c.expires_at <= now,
                jobs.c.state.not_in([state.value for state in _LIVE]),
            )
            .limit(limit)
        )
        return [row.id for row in self._store.rows(query)]

    def _views(
        self,
        which: sa.ColumnElement[bool],
        *,
        limit: int | None,
        outputs: bool = True,
        newest: bool = True,
    ) -> list[RequestView]:
        table, jobs = tables.requests, batch.jobs
        columns = [column for column in table.c if column.name not in ("graph", "extra_data")]
        order = table.c.place.desc() if newest else table.c.place
        query = (
            sa.select(*columns, jobs.c.state, jobs.c.reason, jobs.c.rank, jobs.c.cancel)
            .join(jobs, jobs.c.key == table.c.id)
            .where(which)
            .order_by(order)
        )
        rows = self._store.rows(query if limit is None else query.limit(limit))
        ids = [row.id for row in rows]
        labels = self._labels(ids)
        done = [row.id for row in rows if outputs and row.state == State.DONE.value]
        made = self._outputs(done)
        return [
            replace(_view(row), labels=labels.get(row.id, {}), outputs=made.get(row.id, ()))
            for row in rows
        ]

    def _labels(self, ids: Sequence[str]) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        table = tables.labels
        for chunk in _chunks(ids):
            query = sa.select(table).where(table.c.id.in_(chunk)).order_by(table.c.name)
            for row in self._store.rows(query):
                found.setdefault(row.id, {})[row.name] = row.value
        return found

    def _outputs(self, ids: Sequence[str]) -> dict[str, list[OutputView]]:
        found: dict[str, list[OutputView]] = {}
        artifacts = batch.artifacts
        for chunk in _chunks(ids):
            # An asset without an artifact is of an attempt that did not come to a good end.
            query = (
                sa.select(tables.assets, tables.contents.c.size, tables.contents.c.content_type)
                .join(tables.contents, tables.contents.c.hash == tables.assets.c.hash)
                .join(artifacts, artifacts.c.path == tables.assets.c.id)
                .where(tables.assets.c.job_id.in_(chunk))
                .order_by(tables.assets.c.job_id, tables.assets.c.place)
            )
            for row in self._store.rows(query):
                found.setdefault(row.job_id, []).append(_output(row))
        return found


def _has(status: Status) -> sa.ColumnElement[bool]:
    """Whether a row has a status; the counterpart of `views.status_of`."""
    jobs, requests = batch.jobs, tables.requests
    if status in _FINAL:
        return jobs.c.state.in_([state.value for state in _FINAL[status]])
    live = jobs.c.state.in_([state.value for state in _LIVE])
    if status is Status.CANCELING:
        return live & jobs.c.cancel.is_(True)
    started = requests.c.started_at.is_not(None)
    return live & jobs.c.cancel.is_(False) & (started if status is Status.RUNNING else ~started)


def _new_view(new: New, place: int) -> RequestView:
    return RequestView(
        id=new.id,
        owner=new.owner,
        status=Status.QUEUED,
        created_at=new.created_at,
        expires_at=new.expires_at,
        order=place,
        labels=dict(new.labels),
        warnings=tuple(new.warnings),
        notes=dict(new.notes),
        priority=new.priority,
        nodes=new.nodes,
        webhook=new.webhook,
    )


def _row(new: New, place: int) -> dict[str, Any]:
    return {
        "id": new.id,
        "owner": new.owner,
        "place": place,
        "graph": packed(new.graph),
        "extra_data": packed(new.extra_data),
        "notes": packed(new.notes),
        "warnings": packed(list(new.warnings)),
        "webhook": new.webhook,
        "nodes": new.nodes,
        "server": "",
        "created_at": new.created_at,
        "started_at": None,
        "ended_at": None,
        "expires_at": new.expires_at,
        "error": "",
    }


def _view(row: Any) -> RequestView:
    status = status_of(
        State(row.state), started=row.started_at is not None, cancelling=bool(row.cancel)
    )
    return RequestView(
        id=row.id,
        owner=row.owner,
        status=status,
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        expires_at=row.expires_at,
        order=row.place,
        error=_error(row, status),
        warnings=tuple(json.loads(row.warnings)),
        notes=json.loads(row.notes),
        priority=-row.rank,
        nodes=row.nodes,
        server=row.server,
        webhook=row.webhook,
    )


def _error(row: Any, status: Status) -> ErrorView | None:
    if status is not Status.FAILED:
        return None
    if row.error:
        return ErrorView(**json.loads(row.error))
    return ErrorView(code="job_failed", message=row.reason or "the job failed")


def _output(row: Any) -> OutputView:
    return OutputView(
        id=row.id,
        node_id=row.node_id or "",
        name=row.name,
        type=kind_of(row.content_type, row.name),
        content_type=row.content_type,
        size=row.size,
        hash=row.hash,
        job_id=row.job_id,
    )


def packed(value: Any) -> str:
    """JSON as it is kept; raises ValueError for NaN and infinities."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _chunks(values: Collection[Any]) -> Iterable[list[Any]]:
    every = list(values)
    return (every[start : start + _CHUNK] for start in range(0, len(every), _CHUNK))
