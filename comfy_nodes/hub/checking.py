"""Says of a model on this machine whether each of its files is as it should be."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from ..errors import HubError
from ..loras import Lora
from ..models import Version
from . import client
from .client import Listing
from .files import either_weights, folder_files
from .places import Found, commit_of, files_in
from .records import git_blob_of, read_record, sha256_of


class Wholeness(str, Enum):
    """What is known of one file."""

    RIGHT = "right"  # the checksum is the publisher's
    READABLE = "readable"  # no checksum is known; what it says of itself is sound
    CHANGED = "changed"  # it is whole, and another file than the hub's newest
    DAMAGED = "damaged"


@dataclass(frozen=True)
class FileState:
    """One file and its state."""

    path: str
    state: Wholeness


@dataclass(frozen=True)
class Checked:
    """The outcome: with which checksums it was compared, and each file's state."""

    # "download" (noted when it came), "hub" (asked now) or "none"
    against: str
    files: tuple[FileState, ...]

    @property
    def damaged(self) -> tuple[str, ...]:
        """Paths of the damaged files."""
        return tuple(file.path for file in self.files if file.state is Wholeness.DAMAGED)


def check(
    model: Version | Lora, found: Found, tell: Callable[[str, int], None] = lambda path, size: None
) -> Checked:
    """Compares a model's files with the checksums noted at its download, else with the hub's.

    Where neither is to be had only their structure is looked at. All weights are checked that some
    setting reads, in fp16 and in full. `tell` hears of the bytes read of each file.
    """
    base = found.path if found.is_folder else found.path.parent
    record = read_record(found.path)
    if record is not None:
        states = [_by_sum(base, path, wanted, tell) for path, wanted in record.files.items()]
        # Such as the weights in full, where those in fp16 came later.
        beside = [path for path in _either(model, found) if path not in record.files]
        return Checked("download", (*states, *(_by_structure(base, path) for path in beside)))
    paths = _paths(model, found)
    listed = _listing(model, found)
    if listed is None:
        return Checked("none", tuple(_by_structure(base, path) for path in paths))
    pinned = commit_of(base) is not None
    states = [_by_listing(base, path, listed, pinned, tell) for path in paths]
    return Checked("hub", tuple(states))


def header_of(path: Path) -> dict[str, Any] | None:
    """The header of a safetensors file: {name: {dtype, shape, data_offsets}}; None if unreadable.

    Layout: eight bytes with the header's length, the header in JSON, the tensors; each entry's
    data_offsets end where the next begins (safetensors' README).
    """
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if not 2 <= length <= path.stat().st_size - 8:
                return None
            header = json.loads(file.read(length))
    except (OSError, ValueError, struct.error):
        return None
    if not isinstance(header, dict):
        return None
    return {name: one for name, one in header.items() if name != "__metadata__"}


def is_sound(path: Path) -> bool:
    """Whether a JSON file is JSON, and a safetensors file as long as its header says."""
    try:
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
            return True
        if path.suffix != ".safetensors":
            return path.stat().st_size > 0
        header = header_of(path)
        if header is None:
            return False
        ends = [int(one["data_offsets"][1]) for one in header.values()]
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
        return 8 + int(length) + max(ends, default=0) == path.stat().st_size
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        return False


def _paths(model: Version | Lora, found: Found) -> tuple[str, ...]:
    if isinstance(model, Lora) or not found.is_folder:
        return (found.path.name,)
    needed = folder_files(files_in(found.path), model, half=True)
    return tuple(dict.fromkeys((*needed, *_either(model, found))))


def _either(model: Version | Lora, found: Found) -> tuple[str, ...]:
    if isinstance(model, Lora) or not found.is_folder:
        return ()
    return either_weights(files_in(found.path), model)


def _listing(model: Version | Lora, found: Found) -> Listing | None:
    base = found.path if found.is_folder else found.path.parent
    try:
        return client.listing(model.hub_id, commit_of(base))
    except HubError:
        return None


def _by_sum(base: Path, path: str, wanted: str, tell: Callable[[str, int], None]) -> FileState:
    file = base / path
    right = file.is_file() and sha256_of(file, lambda size: tell(path, size)) == wanted
    return FileState(path, Wholeness.RIGHT if right else Wholeness.DAMAGED)


def _by_listing(
    base: Path, path: str, listed: Listing, pinned: bool, tell: Callable[[str, int], None]
) -> FileState:
    remote = listed.files.get(path)
    file = base / path
    if not is_sound(file):
        return FileState(path, Wholeness.DAMAGED)
    if remote is None:
        return FileState(path, Wholeness.READABLE)
    if remote.sha256 is not None:
        right = sha256_of(file, lambda size: tell(path, size)) == remote.sha256
    else:
        right = git_blob_of(file) == remote.blob
    if right:
        return FileState(path, Wholeness.RIGHT)
    # A folder of unknown age may be an older release; one of the cache says its commit.
    return FileState(path, Wholeness.DAMAGED if pinned else Wholeness.CHANGED)


def _by_structure(base: Path, path: str) -> FileState:
    sound = is_sound(base / path)
    return FileState(path, Wholeness.READABLE if sound else Wholeness.DAMAGED)
