"""The jobs of a record, and where each stands."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from typing import Any

import sqlalchemy as sa

from ....errors import IllegalTransition, StoreError
from ....workflow.wording import listed
from ...logic.jobs import MOST_MADE, TRANSITIONS, Job, Outcome, State, sources
from . import statements, tables
from .facts import RETRIED_AFTER
from .record import RecordBase
from .rows import (
    job_of,
)

# Rows sent to the database at once, or read from it.
CHUNK = 2000
# A row of jobs as the driver gives it.
_JobRow = namedtuple("_JobRow", tables.jobs.c.keys())  # type: ignore[misc]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A job and where it stands."""

    job: Job
    state: State
    # why it failed, was quarantined or cancelled
    reason: str


class Entries(RecordBase):
    """Jobs, their states, and the moves between those."""

    def counts(self) -> dict[State, int]:
        """How many jobs are in each state, every state present."""
        table = tables.jobs
        rows = self._read(sa.select(table.c.state, sa.func.count()).group_by(table.c.state))
        found = {State(state): int(count) for state, count in rows}
        return {state: found.get(state, 0) for state in State}

    def pending(
        self,
        limit: int,
        *,
        exclude: Collection[str] = (),
        owner: str | None = None,
        per_owner: int | None = None,
    ) -> list[Job]:
        """The next jobs to make: owners in turn, each one's by priority, then by place.

        First come the first jobs of all owners, then their second ones; or those of one `owner`.
        `exclude` are keys to pass over, such as those that the caller holds already. No more than
        `per_owner` of an owner's first jobs are looked at.
        """
        depth = limit + len(exclude)
        depth = depth if per_owner is None else min(per_owner, depth)
        turns: list[tuple[int, int, Any]] = []
        with self._db.reading():
            for one in self.owners_waiting() if owner is None else [owner]:
                rows = self._db.execute(statements.FIRST_OF, {"owner": one, "limit": depth})
                found: Iterable[Any] = map(_JobRow._make, rows.fetchall())
                # One owner's priorities say nothing to another.
                turns += [(turn, row.place, row) for turn, row in enumerate(found)]
        turns.sort(key=itemgetter(0, 1))
        chosen = (row for *_, row in turns if row.key not in exclude)
        return [job_of(row) for row in islice(chosen, limit)]

    def owners_waiting(self) -> list[str]:
        """The owners of jobs that wait; looks at one row for each."""
        with self._db.reading():
            rows = self._db.execute(statements.OWNERS_WAITING, {}).fetchall()
        return [row[0] for row in rows]

    def waiting(self, keys: Iterable[str]) -> set[str]:
        """Those of the jobs that wait."""
        table = tables.jobs
        waits = table.c.state == State.PENDING.value
        query = sa.select(table.c.key).where(table.c.key.in_(keys), waits)
        return {row.key for row in self._read(query)}

    def entries(self, *states: State, keys: Collection[str] | None = None) -> Iterator[Entry]:
        """Jobs with their states, in the order of the manifest; all states where none is given.

        Read in pages, so that 100,000 take no memory; each page is consistent in itself.
        """
        table = tables.jobs
        query = sa.select(table).order_by(table.c.place, table.c.key).limit(CHUNK)
        if states:
            query = query.where(table.c.state.in_([state.value for state in states]))
        if keys is not None:
            query = query.where(table.c.key.in_(keys))
        last: Any = None
        while True:
            here = sa.tuple_(table.c.place, table.c.key)
            page = query if last is None else query.where(here > (last.place, last.key))
            rows = self._read(page)
            for row in rows:
                yield Entry(job=job_of(row), state=State(row.state), reason=row.reason)
            if len(rows) < CHUNK:
                return
            last = rows[-1]

    def entry(self, key: str) -> Entry:
        """One job; raises StoreError where there is none of that key."""
        found = list(self.entries(keys=[key]))
        if not found:
            raise StoreError(f"{self._db.name} has no job {key}")
        return found[0]

    def move(self, keys: Collection[str], to: State, reason: str = "") -> None:
        """Change the state of jobs; raises IllegalTransition, and changes none, where one may not.

        The legal moves are `jobs.TRANSITIONS`.
        """
        rows = [{"of": key, "state": to.value, "reason": reason} for key in keys]
        with self._db.transaction():
            if rows and self._db.execute(statements.MOVES[to], rows).rowcount != len(rows):
                raise IllegalTransition(self._why_not(keys, to))

    def move_all(self, states: Collection[State], to: State, reason: str = "") -> int:
        """Change every job that is in one of `states`; return how many."""
        for state in states:
            if to not in TRANSITIONS[state]:
                raise IllegalTransition(f"jobs that are {state.value} cannot become {to.value}")
        chosen = tables.jobs.c.state.in_([state.value for state in states])
        values = {"state": to.value, "reason": reason, "cancel": False}
        update = tables.jobs.update().where(chosen).values(values)
        with self._db.transaction() as connection:
            return connection.execute(update).rowcount

    def reroll(self, key: str) -> None:
        """Put a job back with the next of its seeds, see `Job.seed_now`."""
        with self._db.transaction():
            self.move([key], State.PENDING)
            self.roll(key)

    def roll_as_asked(self, keys: Collection[str], reason: str) -> None:
        """Put jobs back with the next of their seeds because a person wants other pictures.

        What gates said no to before that no longer counts against them.
        """
        table = tables.jobs
        following = table.c.roll + 1
        with self._db.transaction() as connection:
            self.move(keys, State.PENDING, reason)
            every = iter(keys)
            while chunk := list(islice(every, CHUNK)):
                update = table.update().where(table.c.key.in_(chunk))
                connection.execute(update.values(roll=following, asked_roll=following))

    def roll(self, key: str) -> None:
        """Give a job the next of its seeds, wherever it stands."""
        table = tables.jobs
        with self._db.transaction() as connection:
            update = table.update().where(table.c.key == key).values(roll=table.c.roll + 1)
            connection.execute(update)

    def remake(self, keys: Collection[str], why: str) -> None:
        """Put jobs that are done back to be made again, because of what became of their pictures.

        Those that were made `jobs.MOST_MADE` times already fail instead, and the log says so: a
        picture that is lost every time would be made for ever.
        """
        with self._db.transaction():
            spent = self._made_enough(keys)
            self.move([key for key in keys if key not in spent], State.PENDING, why)
            if spent:
                reason = (
                    f"{why}, and it was made {MOST_MADE} times; see what else writes into the "
                    "folder, then free it with `spriteworks batch retry`"
                )
                self.move(spent, State.FAILED, reason)
                names = (self.entry(key).job.name for key in spent)
                self.log(f"given up: {listed(names)}: {reason}", warning=True)

    def _made_enough(self, keys: Collection[str]) -> list[str]:
        """Those of `keys` that may not be made once more."""
        shots, attempts = tables.shots, tables.attempts
        every, found = iter(keys), []
        while chunk := list(islice(every, CHUNK)):
            query = (
                sa.select(shots.c.key)
                .join(attempts, attempts.c.id == shots.c.attempt_id)
                .where(shots.c.key.in_(chunk), attempts.c.id > self.retried_after())
                .where(attempts.c.outcome == Outcome.DONE.value)
                .group_by(shots.c.key)
                .having(sa.func.count() >= MOST_MADE)
            )
            found += [row.key for row in self._read(query)]
        return found

    def _why_not(self, keys: Collection[str], to: State) -> str:
        for key in keys:
            entry = self.entry(key)
            # legal ones have been moved by now, all of which is taken back
            if entry.state not in (to, *sources(to)):
                return f"job {entry.job.name} is {entry.state.value}, and cannot become {to.value}"
        return f"a job was to become {to.value} twice"

    def last_attempt(self) -> int:
        """The id of the latest attempt; 0 where there is none."""
        return int(self._read(sa.select(sa.func.max(tables.attempts.c.id)))[0][0] or 0)

    def retried_after(self) -> int:
        """The attempt after which a person asked to try everything again; 0 where nobody did."""
        return int(self.fact(RETRIED_AFTER) or 0)

    def retry_from_here(self) -> None:
        """Let nothing count that was tried until now."""
        self.set_fact(RETRIED_AFTER, str(self.last_attempt()))


def settled(counts: Mapping[State, int]) -> bool:
    """True where nothing waits and nothing runs."""
    return (
        not any(count for state, count in counts.items() if state.is_running)
        and not (counts[State.PENDING])
    )
