"""Wakes again while work waits: what a hint that got lost would have told is told again.

Of all processes of a record one does it, who holds it by a lease in the record, until a moment by
the database's clock: whoever dies, freezes or loses the network loses it, without anybody asking.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import sqlalchemy as sa

from ...batch.execution.background import Background
from ...batch.execution.leases import new_owner
from ...batch.execution.store import tables
from ...batch.execution.store.database import Database
from ...batch.execution.store.statements import now
from ...batch.logic.jobs import State
from ...errors import SpriteworksError
from .opening import open_wakeups
from .wakeups import ANY, Polling, Wakeups

logger = logging.getLogger(__name__)

# the fact that names who does it and until when: [name, s since the epoch]
HOLDER = "reconciler"
# s between two looks, and for which one who looked may look again before others do
EVERY, LEASE = 2.0, 10.0
# Of the jobs that wait, so many are looked at; what is behind them waits for these in any case.
_JOBS = 1000


@contextmanager
def awake(database: Database, url: str, broker: str = "", name: str = "") -> Iterator[Wakeups]:
    """The wakeups of a process, closed at the end; where there are hints, lost ones are made up.

    `url` is that of the database, with its password. See `open_wakeups`.
    """
    with ExitStack() as stack:
        wakeups = stack.enter_context(closing(open_wakeups(url, broker, name)))
        if not isinstance(wakeups, Polling):
            stack.enter_context(Reconciler(database, wakeups, new_owner()))
        yield wakeups


class Reconciler(Background):
    """Looks every `EVERY` s whether work waits, and wakes who can do it; a context manager."""

    def __init__(self, database: Database, wakeups: Wakeups, owner: str) -> None:
        """`owner` is a name for this process that no other has."""
        super().__init__("reconciler")
        self._db = database
        self._wakeups = wakeups
        self._owner = owner
        self._trouble = ""

    def run(self) -> None:
        """Work until the block ends; an unreachable record is waited for."""
        while not self._ending.wait(EVERY):
            try:
                if self.holds():
                    self._wakeups.call(self.waiting())
                self._trouble = ""
            except SpriteworksError as error:
                if not self._trouble:
                    logger.warning("nobody is woken again for now: %s", error)
                self._trouble = str(error)

    def holds(self) -> bool:
        """Say whether it is this process that wakes, and be it for a while where nobody is."""
        before, time = self._noted()
        owner, until = json.loads(before)
        if until - time >= (LEASE / 2 if owner == self._owner else 0.0):
            return bool(owner == self._owner)
        facts = tables.facts
        # Another may be sooner, or have frozen over it, which nobody may wait for.
        free = (
            sa.select(facts.c.name)
            .where(facts.c.name == HOLDER, facts.c.value == before)
            .with_for_update(skip_locked=True)
        )
        value = json.dumps([self._owner, time + LEASE])
        with self._db.transaction() as connection:
            update = facts.update().where(facts.c.name.in_(free)).values(value=value)
            return bool(connection.execute(update).rowcount)

    def waiting(self) -> set[str]:
        """The models that the first jobs need which wait, and ANY where a lease has run out."""
        jobs, attempts = tables.jobs, tables.attempts
        first = sa.select(jobs.c.model).where(jobs.c.state == State.PENDING.value).limit(_JOBS)
        models = sa.select(first.subquery().c.model).distinct()
        run_out = sa.select(attempts.c.id).where(
            attempts.c.outcome.is_(None), attempts.c.lease < now()
        )
        with self._db.reading() as connection:
            found = set(connection.execute(models).scalars())
            is_left = connection.execute(run_out.limit(1)).first() is not None
        return found | ({ANY} if is_left else set())

    def _noted(self) -> tuple[str, float]:
        """What is noted of who does it, and now by the database's clock."""
        query = sa.select(tables.facts.c.value, now()).where(tables.facts.c.name == HOLDER)
        with self._db.reading() as connection:
            row = connection.execute(query).first()
        if row is not None:
            return row[0], row[1]
        nobody = {"name": HOLDER, "value": json.dumps(["", 0.0])}
        with self._db.transaction() as connection:
            connection.execute(self._db.insert_missing(tables.facts), nobody)
            found = connection.execute(query).one()
            return found[0], found[1]
