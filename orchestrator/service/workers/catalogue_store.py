"""Catalogues of servers in the database, each once, so that others need not ask the servers."""

from __future__ import annotations

import hashlib
import json
import zlib

import sqlalchemy as sa

from ...batch.execution.store.database import Database
from ...workflow.catalogue import Catalogue
from ..tables import catalogues as table
from ..tables import worker_servers

# The quickest: a catalogue of ComfyUI's, 2.5 MB, becomes a tenth of it in 30 ms.
_LEVEL = 1


class CatalogueStore:
    """The catalogues that workers brought; for any number of threads."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._insert = database.insert_missing(table)

    def put(self, catalogue: Catalogue) -> str:
        """Keep a catalogue; returns its hash, by which it is found again."""
        text = json.dumps(catalogue.raw, separators=(",", ":"), sort_keys=False)
        engine = b"1" if catalogue.is_engine else b"0"
        hash = hashlib.sha256(engine + text.encode()).hexdigest()
        with self._db.reading() as connection:
            known = sa.select(table.c.sha256).where(table.c.sha256 == hash)
            if connection.execute(known).scalar() is not None:
                return hash
        row = {
            "sha256": hash,
            "content": zlib.compress(text.encode(), _LEVEL),
            "is_engine": catalogue.is_engine,
        }
        with self._db.transaction() as connection:
            connection.execute(self._insert, row)
        return hash

    def get(self, hash: str) -> Catalogue | None:
        """A catalogue by its hash; None where it is here no more."""
        query = sa.select(table.c.content, table.c.is_engine).where(table.c.sha256 == hash)
        with self._db.reading() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        return Catalogue(json.loads(zlib.decompress(row.content)), engine=bool(row.is_engine))

    def clear(self) -> None:
        """Forget catalogues that no worker's server has any more."""
        used = sa.select(worker_servers.c.catalogue)
        with self._db.transaction() as connection:
            connection.execute(table.delete().where(table.c.sha256.not_in(used)))
