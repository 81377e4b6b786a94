"""The record of one batch, or of a service: what is wanted, what was tried, what is there.

Several orchestrators may work on one record, each under a name of its own, the *owner* of attempts.
A job is claimed by one compare-and-set; the attempt then belongs to its owner, who holds it by a
*lease*: until a moment by the database's clock, which `renew` puts off. An attempt whose lease has
run out may be taken over by another owner, and then the first can neither close it nor write
anything else of it. Whoever writes of an attempt calls `close_attempt` first in its transaction, so
that LeaseLost is raised before anything is written.

Every method is one transaction; `with store.transaction():` makes one of several. Threads may share
a store. Moments (`now`) are s since the epoch by the wall clock and serve people only: nothing is
ordered or measured by them, so a clock that is set back changes nothing but what it shows.
"""

from __future__ import annotations

import time
from collections import Counter, namedtuple
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ...errors import IllegalTransition, LeaseLost, StoreError
from ...workflow.wording import listed
from ..gates import DUPLICATE, GRAPH
from ..jobs import (
    MOST_MADE,
    TRANSITIONS,
    Artifact,
    Attempt,
    Job,
    Outcome,
    State,
    Timing,
    sources,
)
from . import statements, tables, upgrading
from .database import Database
from .place import FILE_NAME, Place, place_of, remember
from .rows import (
    artifact_of,
    artifact_row,
    attempt_of,
    attempt_row,
    job_of,
    job_row,
    shot_of,
    shot_row,
)

# A fact: which batch this is.
_BATCH = "batch"
# The attempt after which a person asked to try everything again.
_RETRIED_AFTER = "retried_after"
# How many jobs owners have taken over from one another.
_TAKEN_OVER = "taken over"
# Rows sent to the database at once while planning.
_CHUNK = 2000
# The latest attempts that an estimate looks at.
_RECENT = 500
# A row of jobs as the driver gives it.
_JobRow = namedtuple("_JobRow", tables.jobs.c.keys())  # type: ignore[misc]


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


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A job and where it stands."""

    job: Job
    state: State
    # why it failed, was quarantined or cancelled
    reason: str


@dataclass(frozen=True, kw_only=True)
class Renewed:
    """What an owner learns when it renews its leases."""

    # those of the attempts that it asked about which it holds no longer, by id
    lost: frozenset[int]
    # keys of jobs that it has and that a person wants no longer
    cancelled: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Event:
    """One line of the batch's log, in words."""

    id: int
    at: float
    text: str
    # for a person to look at
    warning: bool = False
    server: str = ""
    key: str = ""


class Store:
    """The record of one batch."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._new_artifact = database.upsert(tables.artifacts)
        self._planned = database.upsert(
            tables.jobs, fixed=("roll", "state", "reason", "first_plan", "cancel")
        )
        self._new_jobs = tables.jobs.insert().values(
            {column.name: sa.bindparam(column.name) for column in tables.jobs.c}
        )

    @classmethod
    def open(cls, folder: str | Path, *, create: bool = True, url: str = "") -> Store:
        """Open the record of a batch folder; `url` is the database for it where it is new.

        The folder remembers its database. Raises StoreError where there is no record and `create`
        is False, where it is of another version of Spriteworks, or where the database is another
        batch's.
        """
        folder = Path(folder)
        place = place_of(folder, url)
        if not create and not place.known:
            raise StoreError(f"there is no batch in {folder} (no {FILE_NAME}); run one first")
        store = cls(Database(place.url))
        try:
            store._prepare()
            if place.token:
                store._belong_to(folder, place)
        except BaseException:
            store.close()
            raise
        return store

    def _prepare(self) -> None:
        """Make the tables, or see that they are ours and of this version."""
        with self._db.reading() as connection:
            version = upgrading.version_of(connection)
        upgrading.check(version, self._db.name)
        # Written only where it must be: a status asked for during a long plan must not wait for it.
        if version < tables.VERSION:
            with self._db.alone() as connection:
                before = upgrading.upgrade(connection, self._db.name)
                if 0 < before < tables.VERSION:
                    self.log(f"the record was upgraded, from version {before} to {tables.VERSION}")

    def _belong_to(self, folder: Path, place: Place) -> None:
        with self._db.transaction():
            token = self.fact(_BATCH)
            if token is None:
                # The folder first: a database that nobody names is of no use to anybody.
                remember(folder, place)
                self.set_fact(_BATCH, place.token)
            elif token != place.token:
                raise StoreError(
                    f"{self._db.name} has the record of another batch than {folder}; give each "
                    "batch a database of its own"
                )

    @property
    def database(self) -> Database:
        """The database, for those who keep more in it."""
        return self._db

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def transaction(self) -> AbstractContextManager[Any]:
        """All or nothing of what is called inside."""
        return self._db.transaction()

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

    # ----------------------------------------------------------------------- plan

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
            number = int(self.fact("plan") or 0) + 1
            self.set_fact("plan", str(number))
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
            number = int(self.fact("plan") or 0)
            first = 0 if last is None else last + 1
            added = [replace(job, order=place) for place, job in enumerate(jobs, first)]
            if added:
                self._db.execute(self._new_jobs, [job_row(job, job.order, number) for job in added])
            return added

    # ----------------------------------------------------------------------- jobs

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
        query = sa.select(table).order_by(table.c.place, table.c.key).limit(_CHUNK)
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
            if len(rows) < _CHUNK:
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
        while chunk := list(islice(every, _CHUNK)):
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

    # ----------------------------------------------------------------------- attempts

    def claim(
        self,
        attempt: Attempt,
        *,
        owner: str = "",
        seconds: float | None = None,
        now: float | None = None,
    ) -> int:
        """Write an attempt down for its owner, before it is sent; returns its id.

        The owner holds it for `seconds` by the database's clock; None is for an owner who is alone,
        as any other may take it over at once. Raises IllegalTransition, and changes nothing, where
        a job does not wait any more.
        """
        keys = [{"of": shot.key} for shot in attempt.shots]
        with self._db.transaction():
            if self._db.execute(statements.CLAIM, keys).rowcount != len(keys):
                raise IllegalTransition(f"a job of attempt {attempt.prompt_id} waits no longer")
            return self._write_attempt(attempt, owner, seconds, now)

    def claim_first(
        self,
        keys: Sequence[str],
        attempt_for: Callable[[str], Attempt],
        *,
        owner: str = "",
        seconds: float | None = None,
        now: float | None = None,
    ) -> Attempt:
        """Do what `claim` does for the first of several jobs that waits, by priority and place.

        For jobs of which one is as good as the other, where several orchestrators claim: none of
        them waits for the others, or gets nothing. `attempt_for` makes the attempt of the job that
        it was. Raises IllegalTransition where none of them waits.
        """
        few = [*keys[: statements.CANDIDATES]]
        few += few[-1:] * (statements.CANDIDATES - len(few))
        values = {f"key_{number}": key for number, key in enumerate(few)}
        with self._db.transaction():
            found = self._db.execute(statements.CLAIM_FIRST, values).fetchone()
            if found is None:
                raise IllegalTransition(f"none of {len(keys)} jobs waits any longer")
            attempt = attempt_for(found[0])
            made = self._write_attempt(attempt, owner, seconds, now)
            return replace(attempt, id=made, owner=owner)

    def _write_attempt(
        self, attempt: Attempt, owner: str, seconds: float | None, now: float | None
    ) -> int:
        row = attempt_row(attempt, _now(now), owner, seconds)
        with self._db.transaction():
            made = int(self._db.execute(statements.NEW_ATTEMPT, row).fetchone()[0])
            self._db.execute(statements.NEW_SHOT, [shot_row(made, shot) for shot in attempt.shots])
            return made

    def mark_submitted(self, attempt_id: int, *, owner: str = "") -> bool:
        """Note that the server has accepted an attempt; False where that was known.

        Raises LeaseLost where it is not `owner`'s, or has ended.
        """
        with self._db.transaction():
            mine = {"of": attempt_id, "owner": owner}
            if self._db.execute(statements.HOLD, mine).fetchone() is None:
                raise LeaseLost(f"attempt {attempt_id} has ended, or is no longer {_whose(owner)}")
            return bool(self._db.execute(statements.SUBMITTED, {"of": attempt_id}).rowcount)

    def close_attempt(
        self,
        attempt_id: int,
        outcome: Outcome,
        *,
        owner: str = "",
        seconds: float | None = None,
        failure: str = "",
        error: str = "",
        now: float | None = None,
    ) -> None:
        """Note how an attempt ended; where its jobs go is said with `settle`, `move` or `reroll`.

        Raises LeaseLost, and writes nothing, where it is not `owner`'s, or has ended. Until the
        transaction ends nobody can take it over, so what else is written of it counts as well.
        """
        values = {
            "outcome": outcome.value,
            "ended_at": _now(now),
            "seconds": seconds,
            "failure": failure,
            "error": error,
            "of": attempt_id,
            "owner": owner,
        }
        with self._db.transaction():
            if not self._db.execute(statements.END_OF_ATTEMPT, values).rowcount:
                raise LeaseLost(f"attempt {attempt_id} has ended, or is no longer {_whose(owner)}")

    def settle(self, keys: Collection[str], to: State, reason: str = "") -> set[str]:
        """Move jobs whose attempt has ended; returns the keys of those that are cancelled instead.

        Whoever was cancelled while a server had it is cancelled, whatever came of it.
        """
        cancelled = set()
        with self._db.transaction():
            for key in keys:
                row = {"of": key, "state": to.value, "reason": reason}
                found = self._db.execute(statements.SETTLED[to], row).fetchone()
                if found is None:
                    raise IllegalTransition(self._why_not([key], to))
                if found[0] == State.CANCELLED.value:
                    cancelled.add(key)
        return cancelled

    # ----------------------------------------------------------------------- leases

    def renew(self, owner: str, seconds: float, held: Collection[int] = ()) -> Renewed:
        """Hold all open attempts of an owner for `seconds` from now on.

        `held` are the ids of the attempts that the owner believes to hold.
        """
        with self._db.transaction():
            values = {"owner": owner, "seconds": seconds}
            mine = {row[0] for row in self._db.execute(statements.RENEW, values).fetchall()}
            return Renewed(lost=frozenset(held) - mine, cancelled=self.called_off(owner))

    def called_off(self, owner: str) -> frozenset[str]:
        """The keys of jobs that an owner has and that a person wants no longer; only reads."""
        with self._db.reading():
            rows = self._db.execute(statements.CALLED_OFF, {"owner": owner}).fetchall()
            return frozenset(row[0] for row in rows)

    def take_over(
        self,
        owner: str,
        seconds: float | None,
        *,
        all: bool = False,
        dead: Collection[str] = (),
        held: Collection[int] | None = None,
    ) -> list[Attempt]:
        """Make the attempts of others one's own whose leases have run out; returns them.

        With `all` also those that are held: for an owner who knows that nobody else lives; `dead`
        are owners who are known to live no longer. With `held`, the ids of the attempts that the
        owner knows to be its own, those come, too, that are its own and that it does not know of:
        the answer to a claim was lost. An attempt that its owner is writing of at this moment is
        passed over.
        """
        table = tables.attempts
        free = sa.or_(
            table.c.lease.is_(None), table.c.lease < statements.now(), table.c.owner.in_(dead)
        )
        which = (table.c.owner != owner) & (sa.true() if all else free)
        if held is not None:
            which |= (table.c.owner == owner) & table.c.id.not_in(held)
        open_ones = table.c.outcome.is_(None)
        # Only read where there is nothing, so that nobody waits for a writer.
        if not self._read(sa.select(table.c.id).where(open_ones, which).limit(1)):
            return []
        chosen = sa.select(table.c.id).where(open_ones, which).with_for_update(skip_locked=True)
        lease = None if seconds is None else statements.now() + seconds
        update = (
            table.update()
            .where(table.c.id.in_(chosen))
            .values(owner=owner, lease=lease)
            .returning(table.c.id)
        )
        with self._db.transaction() as connection:
            ids = connection.execute(update).scalars().all()
            taken = self._attempts(table.c.id.in_(ids)) if ids else []
            self._count(_TAKEN_OVER, sum(len(one.shots) for one in taken))
            return taken

    def taken_over(self) -> int:
        """How many jobs an owner has taken over from another so far."""
        return int(self.fact(_TAKEN_OVER) or 0)

    def _count(self, name: str, number: int) -> None:
        """Add to a number that is noted as a fact; also by several at once."""
        if not number:
            return
        table = tables.facts
        sum_now = sa.cast(sa.cast(table.c.value, sa.BigInteger) + number, sa.Text)
        with self._db.transaction() as connection:
            connection.execute(self._db.insert_missing(table), {"name": name, "value": "0"})
            connection.execute(table.update().where(table.c.name == name).values(value=sum_now))

    def others_at_work(self, owner: str) -> bool:
        """Say whether another owner has attempts that have not ended, held or not."""
        table = tables.attempts
        query = sa.select(table.c.id).where(table.c.outcome.is_(None), table.c.owner != owner)
        return bool(self._read(query.limit(1)))

    def has_ended(self, attempt_id: int, owner: str) -> bool:
        """Say whether an attempt is closed by its owner `owner`; waits for who writes of it."""
        table = tables.attempts
        query = sa.select(table.c.owner, table.c.outcome).where(table.c.id == attempt_id)
        with self._db.transaction() as connection:
            row = connection.execute(query.with_for_update()).one()
            return bool(row.owner == owner and row.outcome is not None)

    def cancel(self, keys: Collection[str], reason: str = statements.CANCELLED) -> dict[str, State]:
        """Give up jobs: those that wait at once, others as soon as their owner looks.

        Returns the states that they then have, without keys that are not there. A job that is
        running then will be cancelled, whatever comes of it, and one that had ended stays as it is.
        """
        table = tables.jobs
        alive = [state.value for state in State if state.is_running or state is State.PENDING]
        waits = table.c.state == State.PENDING.value
        # One statement, so that no job slips from one state to the other between two.
        gone = table.update().values(
            state=sa.case((waits, State.CANCELLED.value), else_=table.c.state),
            reason=sa.case((waits, reason), else_=table.c.reason),
            cancel=sa.not_(waits),
        )
        found: dict[str, State] = {}
        every = iter(keys)
        with self._db.transaction() as connection:
            while chunk := list(islice(every, _CHUNK)):
                mine = table.c.key.in_(chunk)
                connection.execute(gone.where(mine, table.c.state.in_(alive)))
                rows = connection.execute(sa.select(table.c.key, table.c.state).where(mine))
                found.update((row.key, State(row.state)) for row in rows)
        return found

    def open_attempts(self) -> list[Attempt]:
        """The attempts that had not ended when they were last heard of, oldest first."""
        return self._attempts(tables.attempts.c.outcome.is_(None))

    def last_attempt(self) -> int:
        """The id of the latest attempt; 0 where there is none."""
        return int(self._read(sa.select(sa.func.max(tables.attempts.c.id)))[0][0] or 0)

    def retried_after(self) -> int:
        """The attempt after which a person asked to try everything again; 0 where nobody did."""
        return int(self.fact(_RETRIED_AFTER) or 0)

    def retry_from_here(self) -> None:
        """Let nothing count that was tried until now."""
        self.set_fact(_RETRIED_AFTER, str(self.last_attempt()))

    def attempts_of(self, key: str) -> list[Attempt]:
        """Everything that was tried for a job, oldest first."""
        ids = sa.select(tables.shots.c.attempt_id).where(tables.shots.c.key == key)
        return self._attempts(tables.attempts.c.id.in_(ids))

    def failed_attempts(self, after: int) -> list[Attempt]:
        """The attempts above number `after` that failed and whose jobs still wait, oldest first."""
        waiting = (
            sa.select(tables.shots.c.attempt_id)
            .join(tables.jobs, tables.jobs.c.key == tables.shots.c.key)
            .where(tables.jobs.c.state == State.PENDING.value)
        )
        table = tables.attempts
        failed = (table.c.outcome == Outcome.FAILED.value) & (table.c.id > after)
        return self._attempts(failed & table.c.id.in_(waiting))

    def _attempts(self, which: sa.ColumnElement[bool]) -> list[Attempt]:
        table, shots = tables.attempts, tables.shots
        query = (
            sa.select(table, shots.c.place, shots.c.key, shots.c.seed)
            .join(shots, shots.c.attempt_id == table.c.id)
            .where(which)
            .order_by(table.c.id, shots.c.place)
        )
        found: dict[int, tuple[Any, list[Any]]] = {}
        for row in self._read(query):
            found.setdefault(row.id, (row, []))[1].append(row)
        return [attempt_of(row, tuple(map(shot_of, rows))) for row, rows in found.values()]

    # ----------------------------------------------------------------------- what came of it

    def record_artifact(self, artifact: Artifact) -> None:
        """Note a picture that is complete in the folder, in place of any at that path.

        Where names were exchanged between jobs, that may have been another job's, which is then
        made again. Pictures of the same job from earlier attempts are of the past: it may have had
        more of them, or in another format.
        """
        with self._db.transaction():
            where = {"path": artifact.path, "of": artifact.key}
            displaced = [row[0] for row in self._db.execute(statements.DISPLACED, where).fetchall()]
            self.remake(displaced, f"{artifact.path} is now another job's picture")
            if artifact.attempt_id is not None:
                latest = {"of": artifact.key, "attempt": artifact.attempt_id}
                self._db.execute(statements.FORGET_OTHERS, latest)
            gates = self._db.execute(statements.GATES_OF_JOB, {"of": artifact.key}).fetchone()[0]
            self._db.execute(self._new_artifact, {**artifact_row(artifact), "gates": gates})

    def artifacts(self, key: str | None = None) -> list[Artifact]:
        """The pictures of a job, or of all that are done, by path."""
        table = tables.artifacts
        if key is None:
            return self._artifacts(sa.true())
        return [artifact_of(row) for row in self._read(sa.select(table).where(table.c.key == key))]

    def _artifacts(self, which: sa.ColumnElement[bool]) -> list[Artifact]:
        """The pictures of jobs that are done, of which `which` is true."""
        table = tables.artifacts
        done = sa.select(tables.jobs.c.key).where(tables.jobs.c.state == State.DONE.value)
        query = sa.select(table).where(table.c.key.in_(done), which)
        return [artifact_of(row) for row in self._read(query)]

    def compares_pictures(self) -> bool:
        """Say whether a job that is wanted has the gate that looks for its picture among others."""
        table = tables.jobs
        minds = table.c.gates.like(f'%"{DUPLICATE}"%') & (table.c.state != State.UNWANTED.value)
        return bool(self._read(sa.select(table.c.key).where(minds).limit(1)))

    def unhashed(self) -> list[Artifact]:
        """The pictures of jobs that are done whose pixels nobody has looked at."""
        return self._artifacts(tables.artifacts.c.pixels_sha256 == "")

    def alike(self) -> list[tuple[str, str]]:
        """(key, pixels) of pictures that look just like another job's, in the manifest's order.

        All of them are done, so the order in which servers answer decides nothing. Ask when
        nothing is running, and when none is `unhashed`.
        """
        pictures, job = tables.artifacts, tables.jobs
        done = (
            sa.select(job.c.key, job.c.place, pictures.c.pixels_sha256)
            .join(pictures, pictures.c.key == job.c.key)
            .where(job.c.state == State.DONE.value, pictures.c.pixels_sha256 != "")
            .distinct()
            .subquery()
        )
        shared = (
            sa.select(done.c.pixels_sha256)
            .group_by(done.c.pixels_sha256)
            .having(sa.func.count() > 1)
        )
        query = (
            sa.select(done.c.key, done.c.pixels_sha256)
            .where(done.c.pixels_sha256.in_(shared))
            .order_by(done.c.place, done.c.key, done.c.pixels_sha256)
        )
        return [(row.key, row.pixels_sha256) for row in self._read(query)]

    def without_graph(self) -> int:
        """How many pictures of jobs that are done do not carry the graph that was sent for them."""
        noted = tables.artifacts.c.measured.like(f'%"{GRAPH}":0.0%')
        return len(self._artifacts(noted))

    def unjudged(self) -> list[str]:
        """The keys of jobs that are done, and whose gates the manifest has changed since."""
        pictures, job = tables.artifacts, tables.jobs
        query = (
            sa.select(job.c.key)
            .join(pictures, pictures.c.key == job.c.key)
            .where(job.c.state == State.DONE.value, job.c.gates != pictures.c.gates)
            .order_by(job.c.place)
        )
        return [row.key for row in self._read(query)]

    def record_timings(self, attempt_id: int, spans: Iterable[Timing]) -> None:
        rows = [
            {
                "attempt_id": attempt_id,
                "span": timing.span,
                "node_class": timing.node_class,
                "seconds": timing.seconds,
            }
            for timing in spans
        ]
        if rows:
            with self._db.transaction():
                self._db.execute(statements.NEW_TIMING, rows)

    def paces(self) -> dict[str, list[float]]:
        """For each server, s a picture in its latest attempts that gave pictures, newest first."""
        table = tables.attempts
        query = (
            sa.select(table.c.server, table.c.seconds, table.c.size)
            .where(table.c.outcome == Outcome.DONE.value, table.c.seconds.is_not(None))
            .order_by(table.c.id.desc())
            .limit(_RECENT)
        )
        found: dict[str, list[float]] = {}
        for row in self._read(query):
            found.setdefault(row.server, []).append(row.seconds / row.size)
        return found

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
        row = {"at": _now(now), "warning": warning, "server": server, "key": key, "text": text}
        with self._db.transaction():
            self._db.execute(statements.NEW_EVENT, row)

    def events(self, *, after: int = 0, limit: int = 1000) -> list[Event]:
        """The log from the entry after number `after`, oldest first."""
        table = tables.events
        query = sa.select(table).where(table.c.id > after).order_by(table.c.id).limit(limit)
        return [Event(**row._mapping) for row in self._read(query)]

    # ----------------------------------------------------------------------- inside

    def rows(self, query: sa.Select[Any]) -> Sequence[Any]:
        """The rows of a query over the tables of `.tables`, for reports."""
        return self._read(query)

    def _read(self, query: Any) -> Sequence[Any]:
        with self._db.reading() as connection:
            return connection.execute(query).all()


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


def _whose(owner: str) -> str:
    return f"that of {owner}" if owner else "this orchestrator's"


def _now(given: float | None) -> float:
    return time.time() if given is None else given


def settled(counts: Mapping[State, int]) -> bool:
    """True where nothing waits and nothing runs."""
    return (
        not any(count for state, count in counts.items() if state.is_running)
        and not (counts[State.PENDING])
    )
