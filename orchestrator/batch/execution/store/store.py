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

from pathlib import Path

from ....errors import StoreError
from . import tables, upgrading
from .attempts import Renewed as Renewed
from .database import Database
from .entries import Entry as Entry
from .entries import settled as settled
from .place import BATCH, FILE_NAME, RecordPlace, place_of, remember
from .plans import PlanDiff as PlanDiff
from .plans import Plans
from .record import LogEntry as LogEntry
from .results import Results


class Store(Plans, Results):
    """The record of one batch."""

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
        store = cls.at(place.url)
        try:
            if place.token:
                store._belong_to(folder, place)
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def at(cls, url: str) -> Store:
        """Open the record in a database, made where there is none."""
        store = cls(Database(url))
        try:
            store._prepare()
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

    def _belong_to(self, folder: Path, place: RecordPlace) -> None:
        with self._db.transaction():
            token = self.fact(BATCH)
            if token is None:
                # The folder first: a database that nobody names is of no use to anybody.
                remember(folder, place)
                self.set_fact(BATCH, place.token)
            elif token != place.token:
                raise StoreError(
                    f"{self._db.name} has the record of another batch than {folder}; give each "
                    "batch a database of its own"
                )

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
