"""What a job made, brought here: each file whole, on the disk itself, and looked at."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from ..client.client import Client, writing
from ..protocol import FileRef, HistoryRecord, files_of


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A file on the server that a job leaves behind."""

    node: str
    # place among the files of its node, from 0
    index: int
    file: FileRef


def wanted(record: HistoryRecord) -> list[Wanted]:
    """The files to keep: those saved, or the previews of a workflow that saves nothing."""
    files = files_of(record.outputs)
    kept = [entry for entry in files if entry[1].type == "output"] or files
    counts: dict[str, int] = {}
    found = []
    for node, file in kept:
        index = counts.get(node, 0)
        counts[node] = index + 1
        found.append(Wanted(node=node, index=index, file=file))
    return found


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A file of a job that is here."""

    path: Path
    # lower-case hexadecimal, of its content
    sha256: str
    # bytes
    size: int


def fetch(client: Client, file: FileRef, path: Path) -> Fetched:
    """Download one file into `path`, whole and on the disk itself, or not at all.

    Raises ResultMissing where the server has it no longer, OutputError where it cannot be written,
    and what the client raises: it has a deadline and a limit of size.
    """
    with writing(path):
        try:
            with path.open("w+b") as stream:
                came = client.fetch(file, stream)
                stream.flush()
                os.fsync(stream.fileno())
        except BaseException:
            path.unlink(missing_ok=True)
            raise
    return Fetched(path=path, sha256=came.sha256, size=came.bytes)


def written(content: bytes, path: Path) -> Fetched:
    """The same for what came over the WebSocket; raises OutputError."""
    with writing(path), path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    return Fetched(path=path, sha256=hashlib.sha256(content).hexdigest(), size=len(content))
