"""What is wanted: plans of a batch, and jobs that come one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice

import sqlalchemy as sa

from ...logic.jobs import Job, State
from . import tables
from .database import Database
from .facts import PLAN
from .record import RecordBase
from .rows import (
    job_row,
)

# Rows sent to the database at once while planning.
_CHUNK = 2000


@dataclass(frozen=True, kw_only=True)
class PlanDiff:
    """What a plan changed against the plan before. Counts of jobs."""

    # in the plan
    total: int
    # under a name that was not in the plan before
    added: int
    # the same picture as before
    kept: int
    # another picture under a name that was in the plan before
    changed: int
    # names that are no longer in the plan; their pictures stay
    unwanted: int


class Plans(RecordBase):
    """Makes jobs what is wanted."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._planned = database.upsert(
            tables.jobs, fixed=("roll", "state", "reason", "first_plan", "cancel", "asked_roll")
        )
        self._new_jobs = tables.jobs.insert().values(
            {column.name: sa.bindparam(column.name) for column in tables.jobs.c}
        )

    def plan(self, jobs: Iterable[Job]) -> PlanDiff:
        """Make `jobs` what is wanted, streaming; nothing changes where the iteration raises.

        A job that is there already keeps its state, its picture and its history. One that is no
        longer among them becomes unwanted; one that comes back takes up its picture again. Keys
        and names must be unique.
        """
        table = tables.jobs
        with self._db.transaction() as connection:
            # Between two of its statements pictures are read and hashed.
            self._db.take_your_time()
            number = int(self.fact(PLAN) or 0) + 1
            self.set_fact(PLAN, str(number))
            rows = (job_row(job, place, number) for place, job in enumerate(jobs))
            while chunk := list(islice(rows, _CHUNK)):
                self._db.execute(self._planned, chunk)
            diff = _diff(connection, number)
            gone = (table.c.plan < number) & (table.c.state != State.UNWANTED.value)
            unwanted = {"state": State.UNWANTED.value, "cancel": False}
            connection.execute(table.update().where(gone).values(unwanted))
            back = (table.c.plan == number) & (table.c.state == State.UNWANTED.value)
            held = table.c.key.in_(sa.select(tables.artifacts.c.key))
            state = sa.case((held, State.DONE.value), else_=State.PENDING.value)
            connection.execute(table.update().where(back).values(state=state, reason=""))
            return diff

    def add(self, jobs: Iterable[Job]) -> list[Job]:
        """Put new jobs behind all that there are; returns them with their places.

        Raises StoreError, and adds none, where there is one of such a key already.
        """
        with self._db.alone() as connection:
            last = connection.execute(sa.select(sa.func.max(tables.jobs.c.place))).scalar()
            number = int(self.fact(PLAN) or 0)
            first = 0 if last is None else last + 1
            added = [replace(job, order=place) for place, job in enumerate(jobs, first)]
            if added:
                self._db.execute(self._new_jobs, [job_row(job, job.order, number) for job in added])
            return added


def _diff(connection: sa.Connection, number: int) -> PlanDiff:
    """Compare plan `number`, its rows in place, with what was wanted before."""
    table = tables.jobs
    new = table.c.first_plan == number
    before = table.alias("before")
    gone = (before.c.plan < number) & (before.c.state != State.UNWANTED.value)
    lost = connection.execute(sa.select(before.c.name).where(gone)).scalars().all()
    count = sa.select(sa.func.count()).select_from(table)
    total = connection.execute(count.where(table.c.plan == number)).scalar_one()
    added = connection.execute(count.where(new)).scalar_one()
    names = set(lost)
    reused: Counter[str] = Counter()
    if names:
        wanted = sa.select(table.c.name).where(table.c.plan == number)
        reused.update(name for name in connection.execute(wanted).scalars() if name in names)
    changed = len(reused)
    return PlanDiff(
        total=total,
        added=added - changed,
        kept=total - added,
        changed=changed,
        unwanted=len(lost) - changed,
    )
