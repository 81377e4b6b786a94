"""Makes a backup of a service while it runs: no row in it names a file that it lacks.

Files come and go while they are copied. So first those are copied that there are, which takes
long; then the record is taken as of one moment, and what it names and came meanwhile is copied,
too. Where one of those is gone again, another moment is taken; a file that stays away was lost
before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ...errors import NotFound, OutputError, StoreError
from ...version import __version__
from ..storage import Storage, hash_of
from . import archive, record
from .manifest import BackupManifest, DatabaseKind

# moments that are tried
_TRIES = 5
_SUFFIX = {DatabaseKind.SQLITE: "sqlite", DatabaseKind.POSTGRESQL: "pgdump"}


@dataclass(frozen=True, kw_only=True)
class BackupSource:
    """What is backed up."""

    # of the database
    url: str
    # None: the record alone
    storage: Storage | None
    # whether a backup may lack what the storage has lost
    may_lack: bool = False


# told (done, total) of files
Progress = Callable[[int, int], None]


def make(
    source: BackupSource,
    target: Path,
    *,
    force: bool = False,
    progress: Progress = lambda _d, _t: None,
) -> BackupManifest:
    """Back up to a folder or a tar file; returns what it has.

    A folder that has a backup is brought up to date. Raises UsageError as `archive.writer`,
    StoreError where files are lost and the source may not lack any, OutputError for a full disk.
    """
    with archive.writer(target, force=force) as writer:
        copying = _Copying(source.storage, writer, progress)
        if source.storage is not None:
            with record.frozen(source.url, writer.work) as seen:
                sizes = seen.sizes
            copying.copy(sizes)
        lost: Mapping[str, str] = {}
        for _ in range(_TRIES):
            with record.frozen(source.url, writer.work) as moment:
                before, lost = lost, copying.copy(moment.sizes)
                # Who is away twice in a row was not just deleted.
                if not lost or lost.keys() == before.keys():
                    _refuse(lost, source)
                    return _finished(source, writer, moment, lost)
        raise StoreError(
            f"files went faster than they could be copied ({_TRIES} times); try again later"
        )


def _refuse(lost: Mapping[str, str], source: BackupSource) -> None:
    if lost and not source.may_lack:
        hash, reason = next(iter(lost.items()))
        raise StoreError(
            f"the storage has lost {len(lost)} files that the record names, such as {hash} "
            f"({reason}); --allow-missing makes a backup without them"
        )


def _finished(
    source: BackupSource, writer: archive.Writer, moment: record.Frozen, lost: Mapping[str, str]
) -> BackupManifest:
    path = writer.work / "record"
    moment.write(path)
    with path.open("rb") as stream:
        sha256 = archive.sha256_of(stream)
    kept = {hash: size for hash, size in moment.sizes.items() if hash not in lost}
    kind = record.kind_of(source.url)
    manifest = BackupManifest(
        kind=kind,
        record=f"record-{sha256[:16]}.{_SUFFIX[kind]}",
        sha256=sha256,
        record_bytes=path.stat().st_size,
        record_version=moment.version,
        files=None if source.storage is None else len(kept),
        file_bytes=None if source.storage is None else sum(kept.values()),
        missing=tuple(sorted(lost)),
        made_at=time.time(),
        spriteworks=__version__,
    )
    writer.finish(path, manifest)
    return manifest


class _Copying:
    """Copies contents into a backup, each once, and looks at each byte on the way."""

    def __init__(self, storage: Storage | None, writer: archive.Writer, progress: Progress) -> None:
        self._storage = storage
        self._writer = writer
        self._progress = progress

    def copy(self, sizes: Mapping[str, int]) -> dict[str, str]:
        """See that the backup has all of these; returns those that cannot be had, and why."""
        if self._storage is None:
            return {}
        lost = {}
        for number, (hash, size) in enumerate(sizes.items()):
            self._progress(number, len(sizes))
            digits = hash.partition(":")[2]
            if not self._writer.has(digits, size):
                reason = self._copy_one(self._storage, hash, digits)
                if reason:
                    lost[hash] = reason
        self._progress(len(sizes), len(sizes))
        return lost

    def _copy_one(self, storage: Storage, hash: str, digits: str) -> str:
        path = self._writer.work / "content"
        try:
            with storage.open(hash) as chunks, path.open("wb") as stream:
                found = hash_of(_noted(chunks, stream))
        except (NotFound, OutputError) as error:
            return str(error)
        if found != hash:
            return "its bytes have another hash"
        self._writer.add(digits, path)
        return ""


def _noted(chunks: Iterable[bytes], stream: BinaryIO) -> Iterator[bytes]:
    for chunk in chunks:
        stream.write(chunk)
        yield chunk
