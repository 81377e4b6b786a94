"""The folder in which a service keeps what it has: its record, and its files without a bucket."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ..batch.execution.store.database import Database, read_url
from ..batch.execution.store.place import place_of
from ..batch.execution.store.store import Store
from ..client.client import writing
from ..errors import UsageError

# names the folder where no option does
VARIABLE = "SPRITEWORKS_DATA"
# names the database where no option does, so that no password stands on a command line
DATABASE = "SPRITEWORKS_DATABASE"


def named_by(variable: str, given: str = "", environment: Mapping[str, str] = os.environ) -> str:
    """What an option gives, else what an environment variable does; "" where neither does."""
    return given or environment.get(variable, "").strip()


def home_of(given: Path | None, environment: Mapping[str, str] = os.environ) -> Path:
    """The folder as given, else by SPRITEWORKS_DATA, else `.spriteworks` in the home folder."""
    named = named_by(VARIABLE, environment=environment)
    return given or (Path(named) if named else Path.home() / ".spriteworks")


def database_of(folder: Path, url: str = "") -> str:
    """The URL of the database that a service's folder names, else `url`; makes nothing.

    Raises UsageError where there is none.
    """
    place = place_of(folder, url)
    if not (place.known or url):
        raise UsageError(
            f"no service has its data in {folder}; give its folder by --data, or {VARIABLE}"
        )
    return place.url


def record_in(folder: Path, url: str = "", *, create: bool = True) -> Store:
    """Open the record of a service; `url` is the database for it where it is new.

    It may be open in a running service, too. A new folder is its owner's alone: the record has what
    webhooks are signed with. Raises UsageError where there is none and `create` is False.
    """
    if not create:
        database_of(folder)
    check_database(folder, url)
    make_home(folder)
    return Store.open(folder, url=url)


def check_database(folder: Path, url: str = "") -> None:
    """Connect once to the database of a service, where a server has it; nothing is written.

    Raises BadValue for what is no address of one, StoreError where it does not let us in.
    """
    place = place_of(folder, url)
    if read_url(place.url).get_backend_name() != "sqlite":
        Database(place.url).close()


def make_home(folder: Path) -> bool:
    """Make a service's folder for its owner alone; returns False where it is there already."""
    is_new = not folder.exists()
    with writing(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return is_new
