"""The attempts of a record: claimed, held by a lease, taken over, ended."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import sqlalchemy as sa

from ....errors import IllegalTransition, LeaseLost
from ...logic.jobs import Attempt, Outcome, State
from . import statements, tables
from .entries import CHUNK, Entries
from .facts import TAKEN_OVER
from .record import moment
from .rows import (
    attempt_of,
    attempt_row,
    shot_of,
    shot_row,
)


@dataclass(frozen=True, kw_only=True)
class Renewed:
    """What an owner learns when it renews its leases."""

    # those of the attempts that it asked about which it holds no longer, by id
    lost: frozenset[int]
    # keys of jobs that it has and that a person wants no longer
    cancelled: frozenset[str]


class Attempts(Entries):
    """Attempts at jobs, and whose they are."""

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
        row = attempt_row(attempt, moment(now), owner, seconds)
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
            "ended_at": moment(now),
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

    def has_ended(self, attempt_id: int, owner: str) -> bool:
        """Say whether an attempt is closed by its owner `owner`; waits for who writes of it."""
        table = tables.attempts
        query = sa.select(table.c.owner, table.c.outcome).where(table.c.id == attempt_id)
        with self._db.transaction() as connection:
            row = connection.execute(query.with_for_update()).one()
            return bool(row.owner == owner and row.outcome is not None)

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
            self.add_to_fact(TAKEN_OVER, sum(len(one.shots) for one in taken))
            return taken

    def taken_over(self) -> int:
        """How many jobs an owner has taken over from another so far."""
        return int(self.fact(TAKEN_OVER) or 0)

    def has_open_attempts(self) -> bool:
        """Say whether anybody has attempts that have not ended, held or not."""
        table = tables.attempts
        return bool(self._read(sa.select(table.c.id).where(table.c.outcome.is_(None)).limit(1)))

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
            while chunk := list(islice(every, CHUNK)):
                mine = table.c.key.in_(chunk)
                connection.execute(gone.where(mine, table.c.state.in_(alive)))
                rows = connection.execute(sa.select(table.c.key, table.c.state).where(mine))
                found.update((row.key, State(row.state)) for row in rows)
        return found

    # ----------------------------------------------------------------------- what was tried

    def open_attempts(self) -> list[Attempt]:
        """The attempts that had not ended when they were last heard of, oldest first."""
        return self._attempts(tables.attempts.c.outcome.is_(None))

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


def _whose(owner: str) -> str:
    return f"that of {owner}" if owner else "this orchestrator's"
