"""Downloads a model: room first, resumed where it was cut, checked, and visible only when whole.

A file comes as `NAME.HASH.part`, which no loader takes for a model, and gets its name once its
checksum is right. model_index.json, which makes a folder a model, comes last.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import (
    DiskFull,
    HubDamaged,
    HubError,
    HubRefused,
    HubUnreachable,
    SaveFailed,
    UnsupportedModel,
)
from ..loras import Lora
from ..models import Version
from . import client
from .client import Listing, RemoteFile
from .files import checkpoint_file, folder_files
from .places import DownloadTarget, lora_target, target
from .records import DownloadRecord, git_blob_of, sha256_of, write_record

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Room that stays free: a disk filled to the last byte stops more than us.
_SPARE = 64 * 2**20
# Smaller files are not taken up where they were cut: that costs more than it saves.
_RESUMED_FROM = 2**20


@dataclass(frozen=True)
class DownloadProgress:
    """How far a download is: bytes done of all files' bytes, and the file that is at work."""

    doing: str  # "downloading" or "checking"
    file: str
    done: int
    total: int


Report = Callable[[DownloadProgress], None]


@dataclass(frozen=True)
class Pulled:
    """A model that is there and checked."""

    path: Path
    files: tuple[str, ...]
    downloaded: int  # bytes that came over the network


def pull(
    version: Version,
    *,
    models: Path | None = None,
    half: bool = True,
    single: bool = False,
    report: Report = lambda progress: None,
) -> Pulled:
    """Downloads what is missing of a version, and checks what is there.

    `models` is a models folder in ComfyUI's layout, None the hub's cache; `half` prefers weights in
    fp16; `single` takes the one-file checkpoint instead of the diffusers folder. `report` is called
    often, and may raise to stop. Raises HubError, DiskFull, SaveFailed, UnsupportedModel; a
    download that broke goes on where it was with the next call.
    """
    listed = client.listing(version.hub_id)
    files = _chosen(listed, version, half=half, single=single)
    place = target(version, listed.commit, models, single=single)
    path = place.folder / files[0].path if single else place.folder
    return _brought(version, listed, files, place, path, report)


def pull_lora(lora: Lora, models: Path, report: Report = lambda progress: None) -> Pulled:
    """Downloads a LoRA into a models folder, or checks the one that is there; else as `pull`."""
    listed = client.listing(lora.hub_id)
    file = listed.files.get(lora.file.name)
    if file is None:
        raise HubError(f"{lora.name} has no {lora.file.name} on the hub: {lora.hub_id} has changed")
    place = lora_target(lora, models)
    return _brought(lora, listed, (file,), place, place.folder / file.path, report)


def _brought(
    model: Version | Lora,
    listed: Listing,
    files: Sequence[RemoteFile],
    place: DownloadTarget,
    path: Path,
    report: Report,
) -> Pulled:
    """Brings what is missing of `files` into a place; `path` is the model there."""
    with _writing(place.folder), _alone(place, model.name):
        work = _Work(listed, files, place.folder, report)
        lacking = [file for file in files if not work.is_there(file)]
        _check_room(place.folder, sum(work.left_of(file) for file in lacking), model.name)
        for file in lacking:
            work.download(file)
        write_record(
            path, DownloadRecord(hub_id=model.hub_id, commit=listed.commit, files=work.sums)
        )
        _note_commit(place, listed.commit)
    return Pulled(path, tuple(file.path for file in files), work.downloaded)


class _Work:
    """The files of one download, in their folder."""

    def __init__(
        self, listed: Listing, files: Sequence[RemoteFile], folder: Path, report: Report
    ) -> None:
        self._listed = listed
        self._folder = folder
        self._report = report
        self._total = sum(file.size for file in files)
        self._done = 0
        self.sums: dict[str, str] = {}
        self.downloaded = 0

    def is_there(self, file: RemoteFile) -> bool:
        """Whether the file lies there as the hub has it; what is not as it should be is removed."""
        path = self._folder / file.path
        if not path.is_file():
            return False
        if path.stat().st_size == file.size and self._is_right(path, file):
            self._done += file.size
            return True
        if path.is_symlink():  # the hub's cache keeps contents apart, and links to them
            path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        return False

    def left_of(self, file: RemoteFile) -> int:
        """The bytes that are still to come."""
        return file.size - self._have(file)

    def download(self, file: RemoteFile) -> None:
        """Brings one file. Raises HubDamaged, after removing it, where its checksum is wrong."""
        part = self._part(file)
        part.parent.mkdir(parents=True, exist_ok=True)
        self._done += self._have(file)
        while not self._fetched(file, part):
            pass
        if not self._is_right(part, file):
            part.unlink()
            raise HubDamaged(
                f"{file.path} of {self._listed.hub_id} came with another checksum than the hub "
                "names, and was deleted: try again; if it stays so, a proxy in between changes it"
            )
        os.replace(part, self._folder / file.path)

    def _fetched(self, file: RemoteFile, part: Path) -> bool:
        """Whether the rest came; False where the connection broke and yet brought something."""
        have = self._have(file)

        def tell(size: int) -> None:
            self.downloaded += size
            self._done += size
            self._report(DownloadProgress("downloading", file.path, self._done, self._total))

        try:
            with part.open("r+b" if have else "wb") as sink:
                sink.seek(have)
                client.fetch(self._listed, file, sink, tell)
        except HubRefused:
            part.unlink(missing_ok=True)
            raise
        except HubUnreachable:
            if self._have(file) <= have:
                raise
            return False
        return True

    def _have(self, file: RemoteFile) -> int:
        part = self._part(file)
        size = part.stat().st_size if part.is_file() else 0
        return size if file.size >= _RESUMED_FROM and size <= file.size else 0

    def _part(self, file: RemoteFile) -> Path:
        mark = (file.sha256 or file.blob or self._listed.commit)[:12]
        return self._folder / f"{file.path}.{mark}.part"

    def _is_right(self, path: Path, file: RemoteFile) -> bool:
        def tell(size: int) -> None:
            self._report(DownloadProgress("checking", file.path, self._done, self._total))

        found = sha256_of(path, tell)
        self.sums[file.path] = found
        if file.sha256 is not None:
            return found == file.sha256
        return file.blob is None or git_blob_of(path) == file.blob


def _chosen(
    listed: Listing, version: Version, *, half: bool, single: bool
) -> tuple[RemoteFile, ...]:
    there = set(listed.files)
    try:
        if single:
            return (listed.files[checkpoint_file(there, version)],)
        return tuple(listed.files[path] for path in folder_files(there, version, half=half))
    except UnsupportedModel as error:
        raise HubError(f"{error} on the hub: {listed.hub_id} has changed") from error


def _check_room(folder: Path, need: int, name: str) -> None:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    if need and free < need + _SPARE:
        raise DiskFull(
            f"{name} needs {gigabytes(need)} more in {folder} and {gigabytes(_SPARE)} to "
            f"spare, where {gigabytes(free)} are free: make room, or choose another place with "
            "--models or HF_HOME"
        )


@contextmanager
def _alone(place: DownloadTarget, name: str) -> Iterator[None]:
    """One download to a folder at a time: two would write into the same part."""
    from filelock import FileLock, Timeout

    place.lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(str(place.lock), timeout=0):
            yield
    except Timeout as error:
        raise SaveFailed(
            f"{name} is being downloaded to {place.folder} by another process: wait for it"
        ) from error


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except (HubError, SaveFailed, DiskFull):
        raise
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise DiskFull(
                f"the disk of {folder} is full: make room, then the same download goes on where it "
                "was"
            ) from error
        raise SaveFailed(
            f"{folder} cannot be written ({error.strerror or error}): choose another place with "
            "--models or HF_HOME"
        ) from error


def _note_commit(place: DownloadTarget, commit: str) -> None:
    if place.reference is None:
        return
    place.reference.parent.mkdir(parents=True, exist_ok=True)
    part = place.reference.with_name("main.part")
    part.write_text(commit, encoding="utf-8")
    os.replace(part, place.reference)


def gigabytes(size: int) -> str:
    """A size in words, as the hub counts: 10^9 bytes."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
