"""The tables of a service brought to this version ahead of its start."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ..batch.execution.store import upgrading
from ..batch.execution.store.database import Database
from ..batch.execution.store.tables import VERSION
from .backup.record import refuse_company
from .home import database_of, record_in


@dataclass(frozen=True, kw_only=True)
class Migration:
    """From which version of the tables to which."""

    # 0: there were none
    before: int
    after: int

    @property
    def is_needed(self) -> bool:
        return self.before != self.after


def planned(folder: Path, url: str = "") -> Migration:
    """What `migrate` would do; changes nothing.

    Raises UsageError where there is no record, StoreError where it is of a later version.
    """
    with closing(Database(database_of(folder, url))) as database:
        with database.reading() as connection:
            before = upgrading.version_of(connection)
        upgrading.check(before, database.name)
    return Migration(before=before, after=VERSION)


def migrate(folder: Path, url: str = "", *, alone: bool = False) -> Migration:
    """Bring a record to this version's tables; all of it or nothing.

    `alone`: only where nobody else has the database open, else StoreError is raised.
    """
    found = planned(folder, url)
    if alone and found.is_needed:
        refuse_company(database_of(folder, url))
    record_in(folder, url).close()
    return found
