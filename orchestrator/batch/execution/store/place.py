"""Where the record of a batch folder is: in the folder, or in a database that the folder names."""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path

from ....errors import BadValue, OutputError, StoreError
from .database import sqlite_url

# The record of a batch in its folder.
FILE_NAME = "batch.sqlite"
# Names the database where the record is elsewhere.
POINTER = "batch.store.json"
# The fact, in the database, that says which batch it is of.
BATCH = "batch"


@dataclass(frozen=True, kw_only=True)
class RecordPlace:
    """Where a record is, or will be."""

    url: str
    # what the database and the folder both know, so that no two batches share one database; ""
    # where the record lies in the folder itself
    token: str = ""
    # whether the folder named it before
    known: bool = False


def place_of(folder: Path, url: str = "") -> RecordPlace:
    """Where the record of a folder is; `url` is where a person wants it, "" for no wish.

    Raises BadValue where it is elsewhere already.
    """
    try:
        str(folder.absolute()).encode()
    except UnicodeEncodeError as error:
        # SQLite's files have names in UTF-8
        raise BadValue(f"the name of the folder {folder} is no UTF-8; give another one") from error
    named = _named(folder)
    if named is not None:
        if url and url != named.url:
            raise BadValue(f"the record of {folder} is in another database; leave out --store")
        return named
    path = folder / FILE_NAME
    if not url:
        return RecordPlace(url=sqlite_url(path), known=path.is_file())
    if path.is_file():
        raise BadValue(
            f"the record of {folder} is in {path}; leave out --store, or take a new folder"
        )
    return RecordPlace(url=url, token=uuid.uuid4().hex)


def remember(folder: Path, place: RecordPlace) -> None:
    """Note in the folder where its record is; only its owner may read that, for the password."""
    path = folder / POINTER
    text = json.dumps({"url": place.url, "batch": place.token})
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(number, "w", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error


def _named(folder: Path) -> RecordPlace | None:
    path = folder / POINTER
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return RecordPlace(url=str(found["url"]), token=str(found["batch"]), known=True)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{path} cannot be read ({error}); it names the batch's database"
        ) from error
