"""The statements that every job runs, built once; `Database.execute` compiles each once."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from ...logic.jobs import State, sources
from .tables import artifacts, attempts, events, jobs, shots, timings

# why a job is cancelled that was cancelled while a server had it
CANCELLED = "cancelled by a person"

# the key or number of the row that is meant
_OF: sa.BindParameter[Any] = sa.bindparam("of")
# the orchestrator that an attempt must belong to
_OWNER: sa.BindParameter[Any] = sa.bindparam("owner")
_SECONDS: sa.BindParameter[Any] = sa.bindparam("seconds", type_=sa.Float())


class now(FunctionElement[float]):
    """The database's clock, in s since the epoch: the one clock that all orchestrators share."""

    type = sa.Float()
    inherit_cache = True
    name = "now"


@compiles(now, "sqlite")
def _now_in_sqlite(*_: Any, **__: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(now, "postgresql")
def _now_in_postgresql(*_: Any, **__: Any) -> str:
    # not the moment at which the transaction began, which may have waited for another
    return "extract(epoch FROM clock_timestamp())::double precision"


def _set(table: sa.Table, *names: str) -> sa.Update:
    return table.update().values({name: sa.bindparam(name) for name in names})


def _legal(to: State) -> sa.ColumnElement[bool]:
    return sa.or_(*(jobs.c.state == state.value for state in State if state in sources(to)))


def _move(to: State) -> sa.Update:
    state: Any = sa.bindparam("state", type_=jobs.c.state.type)
    reason: Any = sa.bindparam("reason", type_=jobs.c.reason.type)
    if to is State.SUBMITTED:
        update = jobs.update().values(state=state, reason=reason)
    else:
        # Whatever was to become of a job that a person cancelled while a server had it, it is
        # cancelled; what a plan does away with is unwanted all the same.
        heeds = to not in (State.CANCELLED, State.UNWANTED)
        update = jobs.update().values(
            state=sa.case((jobs.c.cancel, State.CANCELLED.value), else_=state) if heeds else state,
            reason=sa.case((jobs.c.cancel, CANCELLED), else_=reason) if heeds else reason,
            cancel=sa.false(),
        )
    return update.where(jobs.c.key == _OF, _legal(to))


def _insert(table: sa.Table, *left_out: str, **values: Any) -> sa.Insert:
    names = [column.name for column in table.c if column.name not in left_out]
    return table.insert().values({name: sa.bindparam(name) for name in names} | values)


def _owners_waiting() -> sa.Select[Any]:
    """Each owner of a job that waits, found by stepping through the index from one to the next."""
    first = sa.select(sa.func.min(jobs.c.owner).label("owner")).where(
        jobs.c.state == State.PENDING.value
    )
    seen = first.cte("owners", recursive=True)
    following = first.where(jobs.c.owner > seen.c.owner).scalar_subquery()
    seen = seen.union_all(sa.select(following).where(seen.c.owner.is_not(None)))
    return sa.select(seen.c.owner).where(seen.c.owner.is_not(None))


# to move a job to a state, which changes nothing where that is not legal
MOVES = {state: _move(state) for state in State}
# the same for one job, with the state that came of it: `state`, or cancelled
SETTLED = {state: _move(state).returning(jobs.c.state) for state in State}
# To claim a job, which changes nothing where it is not to be had. In PostgreSQL a job that another
# orchestrator is claiming is passed over rather than waited for; SQLite has one writer at a time.
CLAIM = (
    jobs.update()
    .values(state=State.CLAIMED.value, reason="")
    .where(
        jobs.c.key
        == sa.select(jobs.c.key)
        .where(jobs.c.key == _OF, _legal(State.CLAIMED))
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
)
# keys in one `CLAIM_FIRST`
CANDIDATES = 16
# the same for the first that is to be had of several, which it returns
CLAIM_FIRST = (
    jobs.update()
    .values(state=State.CLAIMED.value, reason="")
    .where(
        jobs.c.key
        == sa.select(jobs.c.key)
        .where(
            jobs.c.key.in_([sa.bindparam(f"key_{number}") for number in range(CANDIDATES)]),
            _legal(State.CLAIMED),
        )
        .order_by(jobs.c.rank, jobs.c.place)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    .returning(jobs.c.key)
)
# the first jobs of an owner that wait
FIRST_OF = (
    sa.select(jobs)
    .where(jobs.c.state == State.PENDING.value, jobs.c.owner == _OWNER)
    .order_by(jobs.c.rank, jobs.c.place)
    .limit(sa.bindparam("limit", type_=sa.Integer()))
)
OWNERS_WAITING = _owners_waiting()
KEYS_OF_ATTEMPT = sa.select(shots.c.key).where(shots.c.attempt_id == _OF)
_MINE = sa.and_(attempts.c.owner == _OWNER, attempts.c.outcome.is_(None))
# an attempt that is open and its owner's, held against others until the transaction ends
HOLD = sa.select(attempts.c.id).where(attempts.c.id == _OF, _MINE).with_for_update()
SUBMITTED = (
    jobs.update()
    .values(state=State.SUBMITTED.value)
    .where(jobs.c.key.in_(KEYS_OF_ATTEMPT), jobs.c.state == State.CLAIMED.value)
)
END_OF_ATTEMPT = _set(attempts, "outcome", "ended_at", "seconds", "failure", "error").where(
    attempts.c.id == _OF, _MINE
)
RENEW = attempts.update().values(lease=now() + _SECONDS).where(_MINE).returning(attempts.c.id)
# jobs of an owner's open attempts that a person wants no longer
CALLED_OFF = (
    sa.select(jobs.c.key)
    .join(shots, shots.c.key == jobs.c.key)
    .join(attempts, attempts.c.id == shots.c.attempt_id)
    .where(_MINE, jobs.c.cancel)
)
# the pictures of a job that another attempt than the latest gave
FORGET_OTHERS = artifacts.delete().where(
    artifacts.c.key == _OF,
    sa.or_(
        artifacts.c.attempt_id.is_(None),
        artifacts.c.attempt_id != sa.bindparam("attempt", type_=artifacts.c.attempt_id.type),
    ),
)
GATES_OF_JOB = sa.select(jobs.c.gates).where(jobs.c.key == _OF)
# jobs that are done with a picture at a path that another job's picture now takes
DISPLACED = (
    sa.select(jobs.c.key)
    .join(artifacts, artifacts.c.key == jobs.c.key)
    .where(
        artifacts.c.path == sa.bindparam("path"),
        jobs.c.key != _OF,
        jobs.c.state == State.DONE.value,
    )
)
NEW_ATTEMPT = _insert(
    attempts,
    *("id", "ended_at", "seconds", "outcome"),
    lease=now() + sa.bindparam("lease", type_=sa.Float()),
).returning(attempts.c.id)
NEW_SHOT = _insert(shots)
NEW_TIMING = _insert(timings, "id")
NEW_EVENT = _insert(events, "id")
