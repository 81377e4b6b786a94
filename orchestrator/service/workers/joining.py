"""How a worker gets at the record and the files of its service; it changes neither's form."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from ...batch.execution.store import tables, upgrading
from ...batch.execution.store.database import Database, read_url
from ...batch.execution.store.place import place_of
from ...batch.execution.store.store import Store
from ...errors import BadValue, OtherVersion, StoreError, UsageError
from ...version import __version__
from ..assets import Assets
from ..home import DATABASE, VARIABLE, home_of, named_by
from ..storage import Storage

# name the record and the files where no option does, so that no password stands on a command line
STORAGE = "SPRITEWORKS_STORAGE"
BROKER = "SPRITEWORKS_BROKER"
# where a service's files lie in its folder
FILES = "files"
# the fact of a record that says which version of Spriteworks served it last
SERVICE = "service"
# The fact that has the hash of a file that lies in no other service's storage, and whose file that
# is: no key has such an id.
_MARK, _NOBODY = "mark of files", "-"


@dataclass(frozen=True, kw_only=True)
class ServiceHome:
    """Where a service keeps what it has."""

    # URL of its database
    database: str
    # URL or folder of its files
    storage: str | Path
    # URL of a Redis through which workers are woken; "" is without
    broker: str = ""


def service_at(
    data: Path | None,
    database: str,
    storage: str,
    environment: Mapping[str, str] = os.environ,
    *,
    files: bool = True,
) -> ServiceHome:
    """Where a service keeps what it has: by options, else by the environment, else by its folder.

    A database that is a file lies in the service's folder, beside its files. Raises UsageError
    where that names no service, or leaves open where the `files` are that are needed.
    """
    url = database or ("" if data else named_by(DATABASE, environment=environment))
    where: str | Path = named_by(STORAGE, storage, environment)
    if not url:
        folder = home_of(data, environment)
        place = place_of(folder)
        if not place.known:
            raise UsageError(
                f"no service has its data in {folder}; give --database URL, or the service's "
                f"folder by --data or {VARIABLE}"
            )
        return ServiceHome(database=place.url, storage=where or folder / FILES)
    path = _file_of(url)
    if path is not None and not path.is_file():
        raise UsageError(f"--database {url}: there is no such file; start the service first")
    if path is not None:
        where = where or path.parent / FILES
    elif files and not where:
        raise UsageError(
            "a worker needs the service's files: give --storage as the service has it, "
            f"s3://BUCKET/PREFIX or a folder that both see, or {STORAGE}"
        )
    return ServiceHome(database=url, storage=where)


@contextmanager
def record_of(service: ServiceHome) -> Iterator[Store]:
    """The record of a service that has been started before.

    Raises StoreError where there is none, OtherVersion where it is of another version: a worker
    upgrades no record under the hands of others.
    """
    database = Database(service.database)
    try:
        check_version(database)
        with database.reading() as connection:
            named = tables.facts.c.name == SERVICE
            if connection.execute(sa.select(tables.facts.c.name).where(named)).first() is None:
                raise StoreError(f"{database.name} is the record of no service; start one on it")
        yield Store(database)
    finally:
        database.close()


def check_version(database: Database) -> None:
    """Raise OtherVersion where a record is of another version than this worker's."""
    with database.reading() as connection:
        version = upgrading.version_of(connection)
    if not version:
        raise StoreError(f"{database.name} has no record yet; start the service on it first")
    if version != tables.VERSION:
        newer = "the worker" if version > tables.VERSION else "the service"
        raise OtherVersion(
            f"the record of the service is of version {version}, and a worker of Spriteworks "
            f"{__version__} works on version {tables.VERSION}; bring {newer} up to date"
        )


def mark(store: Store, assets: Assets) -> None:
    """Leave in a service's storage what only that has, for workers to know it by."""
    known = store.fact(_MARK)
    if known is None or not assets.storage.has(known):
        kept = assets.add(_NOBODY, uuid.uuid4().hex.encode(), "service.txt", "text/plain")
        store.set_fact(_MARK, kept.hash)


def files_of(service: ServiceHome, store: Store) -> Storage:
    """The files of a service; raises UsageError where others are there, or none."""
    # A folder that is not there is none of the service's, and is not made.
    is_there = "://" in str(service.storage) or Path(service.storage).is_dir()
    storage, known = Storage(service.storage) if is_there else None, store.fact(_MARK)
    if storage is None or known is None or not storage.has(known):
        raise UsageError(
            f"the files at {service.storage} are not those of the service; give --storage, or "
            f"{STORAGE}, as the service has it"
        )
    return storage


def _file_of(url: str) -> Path | None:
    """The file that a database is; None where a server has it. Raises UsageError for no URL."""
    try:
        made = read_url(url)
    except BadValue as error:
        raise UsageError(f"--database: {error}; a service's folder is given by --data") from error
    if made.get_backend_name() != "sqlite":
        return None
    return Path(made.database or "")
