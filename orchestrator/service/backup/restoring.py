"""Brings a backup back: first every file, its hash looked at, then the record; else nothing."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from ...batch.execution.store.database import Database
from ...batch.execution.store.folder_lock import held
from ...batch.execution.store.place import BATCH, RecordPlace, place_of, remember
from ...batch.execution.store.tables import facts
from ...errors import InputError, OutputError, UsageError
from ..storage import ALGORITHM, CHUNK, Storage, chunks_of
from . import archive, record
from .manifest import BackupManifest, DatabaseKind


@dataclass(frozen=True, kw_only=True)
class Destination:
    """Where a service is to be brought back."""

    folder: Path
    # of the database; "" is where the folder has it or, where it has none, a file in it
    url: str = ""
    # of the files; "" is in the folder
    storage: str = ""
    # whether what is there may be replaced
    force: bool = False


# told (done, total) of files
Progress = Callable[[int, int], None]


def restore(
    source: Path, to: Destination, progress: Progress = lambda _d, _t: None
) -> BackupManifest:
    """Bring back what `making.make` kept; returns what it has.

    The record comes last and at once: whatever fails before leaves the one that was there. Raises
    InputError for a backup that is damaged or no backup, UsageError where a record is there and not
    `force`, BatchBusy where a service is at work in the folder.
    """
    with archive.reader(source) as reader:
        manifest = reader.manifest
        place = place_of(to.folder, to.url)
        _refuse(manifest, place, to)
        with ExitStack() as stack:
            stack.enter_context(_made(to.folder))
            stack.enter_context(held(to.folder))
            work = stack.enter_context(
                tempfile.TemporaryDirectory(prefix=".restoring-", dir=to.folder)
            )
            path = _checked_record(reader, Path(work))
            if manifest.files is not None:
                storage = Storage(to.storage or to.folder / "files")
                _put_files(reader, storage, progress)
            record.put(path, place.url)
            _point(to.folder, place)
    return manifest


def _refuse(manifest: BackupManifest, place: RecordPlace, to: Destination) -> None:
    kind = record.kind_of(place.url)
    if kind is not manifest.kind:
        hint = (
            "give a PostgreSQL database by --store"
            if manifest.kind is DatabaseKind.POSTGRESQL
            else "leave out --store, and take a folder that names no other database"
        )
        raise UsageError(
            f"the backup is of a record in {manifest.kind.value}, which goes to no {kind.value}; "
            f"{hint}"
        )
    if not to.force and record.is_filled(place.url):
        raise UsageError(
            f"there is a record at {record.shown(place.url)} already; --force puts the backup's "
            "in its place"
        )


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Make a folder where there is none, for its owner alone; gone again where the block fails."""
    is_new = not folder.exists()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        yield
    except BaseException as error:
        if is_new:
            shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise OutputError(f"{folder} cannot be written: {error.strerror or error}") from error
        raise


def _checked_record(reader: archive.Reader, work: Path) -> Path:
    path = work / "record"
    with reader.record() as stream, path.open("wb") as copy:
        shutil.copyfileobj(stream, copy, CHUNK)
    with path.open("rb") as stream:
        found = archive.sha256_of(stream)
    if found != reader.manifest.sha256:
        raise InputError("the record of the backup is damaged: its bytes have another hash")
    return path


def _put_files(reader: archive.Reader, storage: Storage, progress: Progress) -> None:
    wanted = reader.manifest.files or 0
    count = 0
    for digits, stream in reader.files():
        progress(count, wanted)
        with storage.receive() as part:
            for chunk in chunks_of(stream):
                part.write(chunk)
            # before it gets its name
            if part.hash != f"{ALGORITHM}:{digits}":
                raise InputError(f"the backup is damaged: files/{digits} has another hash")
            storage.keep(part)
        count += 1
    progress(count, wanted)
    # More may be there: what came between two looks of `making`, and has gone again.
    if count < wanted:
        raise InputError(f"the backup is damaged: it has {count} files, and should have {wanted}")


def _point(folder: Path, place: RecordPlace) -> None:
    """Let the folder name its database, as the database names the folder's batch."""
    if record.kind_of(place.url) is DatabaseKind.SQLITE:
        return
    with closing(Database(place.url)) as database, database.reading() as connection:
        query = sa.select(facts.c.value).where(facts.c.name == BATCH)
        token = connection.execute(query).scalar_one()
    remember(folder, RecordPlace(url=place.url, token=str(token)))
