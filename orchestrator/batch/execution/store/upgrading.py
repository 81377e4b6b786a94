"""Brings a record to the tables of this version, in place, by `migrations`."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ....errors import StoreError
from .tables import VERSION, facts

# The fact that says which version a record is of. Alembic keeps a table of its own, written in the
# same transaction; versions of Spriteworks from before that know only the fact, and it is the one
# that decides.
VERSION_FACT = "version"
# Alembic's operations are one for the whole process.
_alone = threading.Lock()


def version_of(connection: sa.Connection) -> int:
    """The version of a record; 0 where there is none yet. Raises StoreError where it is no number.

    Asks for one row and changes nothing.
    """
    if not sa.inspect(connection).has_table(facts.name):
        return 0
    found = connection.execute(
        sa.select(facts.c.value).where(facts.c.name == VERSION_FACT)
    ).scalar()
    if found is None:
        return 0
    try:
        return int(found)
    except ValueError as error:
        raise StoreError(f"a record says that its version is {found!r}") from error


def check(version: int, name: str) -> None:
    """Raise StoreError where a record is of a version that is not known here."""
    if version > VERSION:
        raise StoreError(
            f"{name} was made by another version of Spriteworks (record version {version}, here "
            f"{VERSION}); use that one, or another folder"
        )


def upgrade(connection: sa.Connection, name: str) -> int:
    """Run the migrations that a record lacks; returns the version that it had, 0 for a new one.

    To be called in a transaction that has the record to itself: all of it counts, or nothing.
    """
    # what takes Alembic a quarter of a second to load is needed once a record
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    before = version_of(connection)
    check(before, name)
    if before == VERSION:
        # another process was sooner
        return before
    folder = str(Path(__file__).parent / "migrations")
    scripts = ScriptDirectory(folder, version_locations=[folder])

    def missing(now: Any, _context: Any) -> list[Any]:
        return list(scripts._upgrade_revs(str(VERSION), now))

    def applied(*, step: Any, **_: Any) -> None:
        values = {"name": VERSION_FACT, "value": step.up_revision_id}
        connection.execute(facts.delete().where(facts.c.name == VERSION_FACT))
        connection.execute(facts.insert(), values)

    options = {"fn": missing, "on_version_apply": (applied,), "transactional_ddl": True}
    with _alone:
        context = MigrationContext.configure(connection, opts=options)
        if before:
            context.stamp(scripts, str(before))
        with Operations.context(context):
            context.run_migrations()
    return before
