"""Logins that came with requests, for nodes that ask other services, on their way to workers.

They lie in the database in clear, as what webhooks are signed with does, and no longer than needed:
from the moment at which a request is taken that a worker may make until it has come to its end
(`requests.Requests` writes and removes them). A service whose own servers make everything keeps
them in memory only.
"""

from __future__ import annotations

import json

import sqlalchemy as sa

from ...batch.execution.store.database import Database
from ..tables import logins as table


class Logins:
    """The logins of requests that are alive; for any number of threads."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def of(self, request: str) -> dict[str, str]:
        """What came with a request; empty where nothing did."""
        query = sa.select(table.c.content).where(table.c.request == request)
        with self._db.reading() as connection:
            found = connection.execute(query).scalar()
        return {} if found is None else dict(json.loads(found))
