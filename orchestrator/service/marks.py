"""What people think of pictures: rows of the record, one for each picture that has a mark."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from enum import Enum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ..batch.execution.store.database import Database
from .tables import marks as table

# assets that one statement names at most
_CHUNK = 500


class Verdict(str, Enum):
    """What a mark says."""

    PICK = "pick"
    REJECT = "reject"


class Marks:
    """The marks in a service's database; may be used by several threads."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._db = database
        self._clock = clock

    def set(self, owner: str, asset: str, job_id: str, verdict: Verdict | None) -> None:
        """Mark a picture of an owner's; None takes its mark away."""
        with self._db.transaction() as connection:
            if verdict is None:
                mine = (table.c.asset == asset) & (table.c.owner == owner)
                connection.execute(table.delete().where(mine))
                return
            row = {
                "asset": asset,
                "job_id": job_id,
                "owner": owner,
                "verdict": verdict.value,
                "marked_at": self._clock(),
            }
            dialect: Any = sqlite if self._db.is_sqlite else postgresql
            insert = dialect.insert(table).values(row)
            again = {"verdict": row["verdict"], "marked_at": row["marked_at"]}
            connection.execute(insert.on_conflict_do_update(index_elements=["asset"], set_=again))

    def of(self, assets: Collection[str]) -> Mapping[str, Verdict]:
        """The marks of those pictures that have one."""
        every = list(assets)
        found = {}
        with self._db.reading() as connection:
            for start in range(0, len(every), _CHUNK):
                chunk = table.c.asset.in_(every[start : start + _CHUNK])
                query = sa.select(table.c.asset, table.c.verdict).where(chunk)
                found.update({row.asset: Verdict(row.verdict) for row in connection.execute(query)})
        return found

    def picked(self, owner: str, limit: int) -> list[tuple[str, str]]:
        """(picture, job) of what an owner has picked, the oldest pick first."""
        query = (
            sa.select(table.c.asset, table.c.job_id)
            .where(table.c.owner == owner, table.c.verdict == Verdict.PICK.value)
            .order_by(table.c.marked_at, table.c.asset)
            .limit(limit)
        )
        with self._db.reading() as connection:
            return [(row.asset, row.job_id) for row in connection.execute(query)]

    def count_picked(self, owner: str) -> int:
        """How many pictures an owner has picked."""
        query = sa.select(sa.func.count()).where(
            table.c.owner == owner, table.c.verdict == Verdict.PICK.value
        )
        with self._db.reading() as connection:
            return int(connection.execute(query).scalar() or 0)
