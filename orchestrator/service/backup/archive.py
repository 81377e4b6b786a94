"""Where a backup lies: a folder, which is brought up to date each time, or one tar file.

    backup.json                     last, and only when all else is there
    record-3f2a...sqlite|pgdump     the database, by the start of its SHA-256
    files/3f/3f2a...                contents, by their BLAKE3 hashes

What is cut off leaves the folder's earlier backup whole, and no tar file. All of it is for its
owner's eyes alone: the record has what webhooks are signed with.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from ...errors import InputError, OutputError, UsageError
from ..storage import CHUNK
from .manifest import NAME, BackupManifest, manifest_of

_FILE = re.compile(r"files/([0-9a-f]{2})/(\1[0-9a-f]{62})")
_RECORD = re.compile(r"record-[0-9a-f]{16}\.(sqlite|pgdump)")


class Writer(Protocol):
    """A backup that is being made."""

    # of the same disk as the backup, for the record on its way
    work: Path

    def has(self, digits: str, size: int) -> bool: ...

    def add(self, digits: str, content: Path) -> None: ...

    def finish(self, record: Path, manifest: BackupManifest) -> None: ...


class Reader(Protocol):
    """A backup that is there."""

    manifest: BackupManifest

    def files(self) -> Iterator[tuple[str, BinaryIO]]: ...

    def record(self) -> BinaryIO: ...


def path_of(digits: str) -> str:
    """The place of a content, by the 64 digits of its hash."""
    return f"files/{digits[:2]}/{digits}"


def sha256_of(stream: BinaryIO) -> str:
    """The SHA-256 of all that is left of a stream, in hexadecimal digits."""
    found = hashlib.sha256()
    while chunk := stream.read(CHUNK):
        found.update(chunk)
    return found.hexdigest()


@contextmanager
def writer(target: Path, *, force: bool = False) -> Iterator[Writer]:
    """A backup to write at a path: a tar file where it ends in .tar, else a folder.

    Raises UsageError where something is there that is no backup, or a tar file and not `force`.
    """
    if target.suffix == ".tar":
        if target.exists() and not (force and target.is_file()):
            raise UsageError(f"{target} is there already; give another name, or --force")
        with _written(target), _work_in(target.parent) as work, _tar(work) as archive:
            made: Writer = _TarWriter(target, work, archive)
            yield made
        return
    if target.exists() and not _may_be_filled(target):
        raise UsageError(f"{target} is there and is no backup; give a new folder, or a .tar")
    with _written(target):
        is_new = not target.exists()
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with _work_in(target) as work:
                yield _FolderWriter(target, work)
        except BaseException:
            if is_new:
                shutil.rmtree(target, ignore_errors=True)
            raise


@contextmanager
def reader(source: Path) -> Iterator[Reader]:
    """A backup that is there; raises InputError where it is none."""
    if source.is_dir():
        yield _FolderReader(source)
        return
    try:
        with tarfile.open(source, "r:") as archive:
            yield _TarReader(source, archive)
    except FileNotFoundError as error:
        raise InputError(f"there is no backup at {source}") from error
    except tarfile.TarError as error:
        raise InputError(f"{source} is no backup, or is cut off ({error})") from error
    except OSError as error:
        raise InputError(f"{source} cannot be read: {error.strerror}") from error


@contextmanager
def _written(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{target} cannot be written ({error.strerror or error}); make room, or give another "
            "place"
        ) from error


def _may_be_filled(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    return (folder / NAME).is_file() or not any(folder.iterdir())


@contextmanager
def _work_in(folder: Path) -> Iterator[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=folder) as name:
        yield Path(name)


# ----------------------------------------------------------------------------- folders


class _FolderWriter:
    def __init__(self, folder: Path, work: Path) -> None:
        self.work = work
        self._folder = folder
        self._wanted: set[str] = set()

    def has(self, digits: str, size: int) -> bool:
        path = self._folder / path_of(digits)
        is_there = path.is_file() and path.stat().st_size == size
        if is_there:
            self._wanted.add(digits)
        return is_there

    def add(self, digits: str, content: Path) -> None:
        path = self._folder / path_of(digits)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.replace(content, path)
        self._wanted.add(digits)

    def finish(self, record: Path, manifest: BackupManifest) -> None:
        record.chmod(0o600)
        _sync(record)
        os.replace(record, self._folder / manifest.record)
        part = self.work / NAME
        part.write_bytes(manifest.to_bytes())
        _sync(part)
        # From here on it is this backup; before, it was the one before.
        os.replace(part, self._folder / NAME)
        self._drop_old(manifest.record)

    def _drop_old(self, record: str) -> None:
        for path in self._folder.glob("record-*"):
            if _RECORD.fullmatch(path.name) and path.name != record:
                path.unlink()
        for path in self._folder.glob("files/??/*"):
            if path.name not in self._wanted:
                path.unlink()


class _FolderReader:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            text = (folder / NAME).read_bytes()
        except FileNotFoundError as error:
            raise InputError(f"{folder} is no backup, or was cut off: no {NAME}") from error
        except OSError as error:
            raise InputError(f"{folder / NAME} cannot be read: {error.strerror}") from error
        self.manifest = _with_safe_record(manifest_of(text, str(folder)), folder)

    def files(self) -> Iterator[tuple[str, BinaryIO]]:
        for path in sorted(self._folder.glob("files/??/*")):
            if _FILE.fullmatch(path.relative_to(self._folder).as_posix()):
                with path.open("rb") as stream:
                    yield path.name, stream

    def record(self) -> BinaryIO:
        path = self._folder / self.manifest.record
        try:
            return path.open("rb")
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from error


# ----------------------------------------------------------------------------- tar files


@contextmanager
def _tar(work: Path) -> Iterator[tarfile.TarFile]:
    with tarfile.open(work / "backup.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        yield archive


class _TarWriter:
    def __init__(self, target: Path, work: Path, archive: tarfile.TarFile) -> None:
        self.work = work
        self._target = target
        self._archive = archive
        self._have: set[str] = set()

    def has(self, digits: str, size: int) -> bool:
        return digits in self._have

    def add(self, digits: str, content: Path) -> None:
        self._append(path_of(digits), content)
        self._have.add(digits)
        content.unlink()

    def finish(self, record: Path, manifest: BackupManifest) -> None:
        self._append(manifest.record, record)
        told = self.work / NAME
        told.write_bytes(manifest.to_bytes())
        self._append(NAME, told)
        self._archive.close()
        part = self.work / "backup.tar"
        part.chmod(0o600)
        _sync(part)
        os.replace(part, self._target)

    def _append(self, name: str, path: Path) -> None:
        # No user's name of this machine, and no owner that a tar would try to restore.
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = path.stat().st_size, 0o600
        entry.mtime = int(path.stat().st_mtime)
        with path.open("rb") as stream:
            self._archive.addfile(entry, stream)


class _TarReader:
    def __init__(self, path: Path, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self._path = path
        self._entries = {entry.name: entry for entry in archive.getmembers() if entry.isfile()}
        if NAME not in self._entries:
            raise InputError(f"{path} is no backup, or was cut off: no {NAME}")
        text = self._opened(NAME).read()
        self.manifest = _with_safe_record(manifest_of(text, str(path)), path)

    def files(self) -> Iterator[tuple[str, BinaryIO]]:
        for name in self._entries:
            found = _FILE.fullmatch(name)
            if found:
                yield found[2], self._opened(name)

    def record(self) -> BinaryIO:
        if self.manifest.record not in self._entries:
            raise InputError(f"{self._path} has no {self.manifest.record}; it is damaged")
        return self._opened(self.manifest.record)

    def _opened(self, name: str) -> BinaryIO:
        stream = self._archive.extractfile(self._entries[name])
        if stream is None:
            raise InputError(f"{self._path} has no content for {name}; it is damaged")
        return cast(BinaryIO, stream)


# ----------------------------------------------------------------------------- inside


def _with_safe_record(manifest: BackupManifest, place: Path) -> BackupManifest:
    # a name from outside, which must not lead out of the backup
    if not _RECORD.fullmatch(manifest.record):
        raise InputError(f"{place} names {manifest.record!a} as its record; it is damaged")
    return manifest


def _sync(path: Path) -> None:
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())
