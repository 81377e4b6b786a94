"""The statements that every job runs, built once; `Database.execute` compiles each once."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ..jobs import State, sources
from .tables import artifacts, attempts, events, jobs, shots, timings

# the key or number of the row that is meant
_OF: sa.BindParameter[Any] = sa.bindparam("of")


def _set(table: sa.Table, *names: str) -> sa.Update:
    return table.update().values({name: sa.bindparam(name) for name in names})


def _move(to: State) -> sa.Update:
    legal = sa.or_(*(jobs.c.state == state.value for state in State if state in sources(to)))
    return _set(jobs, "state", "reason").where(jobs.c.key == _OF, legal)


def _insert(table: sa.Table, *left_out: str) -> sa.Insert:
    names = [column.name for column in table.c if column.name not in left_out]
    return table.insert().values({name: sa.bindparam(name) for name in names})


# to move a job to a state, which changes nothing where that is not legal
MOVES = {state: _move(state) for state in State}
KEYS_OF_ATTEMPT = sa.select(shots.c.key).where(shots.c.attempt_id == _OF)
END_OF_ATTEMPT = _set(attempts, "outcome", "ended_at", "seconds", "failure", "error").where(
    attempts.c.id == _OF
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
NEW_ATTEMPT = _insert(attempts, "id", "ended_at", "seconds", "outcome").returning(attempts.c.id)
NEW_SHOT = _insert(shots)
NEW_TIMING = _insert(timings, "id")
NEW_EVENT = _insert(events, "id")
