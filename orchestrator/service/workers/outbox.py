"""What workers did, on its way to the service: rows that it takes away when it has heard them.

A row is written in the transaction that it tells of. It is a hint all the same: the requests' own
rows are the truth, and the service compares with them now and then.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import sqlalchemy as sa

from ...batch.execution.store.database import Database
from ..tables import news as table

# Rows that are taken in one transaction.
_AT_ONCE = 500


class Kind(str, Enum):
    """What a row tells."""

    # a request is in another state: {state, server, reason}
    MOVED = "moved"
    # for people who watch a request: {level, message}
    LOG = "log"


@dataclass(frozen=True, kw_only=True)
class Told:
    """One thing that a worker tells of a request."""

    request: str
    kind: Kind
    data: dict[str, Any] = field(default_factory=dict)


class Outbox:
    """The rows of all that was not heard yet; for any number of threads."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def tell(self, *told: Told) -> None:
        """Write down what shall be heard; inside a transaction it is part of that."""
        rows = [
            {"request": one.request, "kind": one.kind.value, "data": json.dumps(one.data)}
            for one in told
        ]
        with self._db.transaction() as connection:
            connection.execute(table.insert(), rows)

    def take(self) -> Sequence[Told]:
        """The oldest that were not heard yet, which nobody gets again."""
        # Asked first whether there is any: to remove takes SQLite's one lock for writing.
        first = sa.select(table).order_by(table.c.id).limit(_AT_ONCE)
        with self._db.reading() as connection:
            rows = connection.execute(first).all()
        if rows:
            # Numbers are given before transactions end, so a lower one may come later.
            with self._db.transaction() as connection:
                mine = table.c.id.in_([row.id for row in rows])
                connection.execute(table.delete().where(mine))
        return [
            Told(request=row.request, kind=Kind(row.kind), data=json.loads(row.data))
            for row in rows
        ]
