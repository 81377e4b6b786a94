"""Brings the pictures of an attempt into the batch folder, each whole or not at all.

A picture is fetched and looked at, written into a folder for parts on the same disk, synced, and
only then renamed to its name; what a killed process leaves behind is a part, never half a picture.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from ..client.client import Client, writing
from ..errors import InputError, JobError, ResultMissing
from ..protocol import FileRef, HistoryRecord, files_of
from .dispatcher import Assignment
from .gates import Picture, pixels_sha256, read_picture
from .jobs import Artifact, Job, path_of
from .png import is_png, size_of_png

PARTS = ".parts"


@dataclass(frozen=True, kw_only=True)
class Part:
    """A fetched picture that is not in the folder yet."""

    job: Job
    # the file, byte by byte
    content: bytes
    # of its name on the server, with the dot
    suffix: str
    # place among the pictures of its job, from 0
    number: int


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a look at a picture found."""

    # px
    width: int
    height: int
    # None where nobody needs its pixels
    picture: Picture | None = None


def prepare_folder(folder: Path) -> None:
    """Make the folder for parts, empty; raises OutputError where that is not allowed."""
    parts = folder / PARTS
    with writing(parts):
        if parts.exists():
            shutil.rmtree(parts)
        parts.mkdir(parents=True)
        # Some file systems let folders be made where files cannot be written.
        (parts / "probe").write_bytes(b"")
        (parts / "probe").unlink()


def fetch(client: Client, assignment: Assignment, record: HistoryRecord) -> list[Part]:
    """Download the pictures of an attempt.

    Raises ResultMissing where the server has one no longer or told of none, JobError where the
    graph gave another number of pictures than it was made for.
    """
    return [
        Part(
            job=job,
            content=client.content(file),
            suffix=Path(file.filename).suffix,
            number=index,
        )
        for job, index, file in _shared_out(assignment, record)
    ]


def place(
    part: Part,
    look: Look,
    measured: Mapping[str, float],
    assignment: Assignment,
    folder: Path,
) -> Artifact:
    """Write a picture, sync it and rename it to its name; raises OutputError where that fails.

    The rename itself is not waited for: one that a power cut takes back leaves a picture that is
    missing, which `verify` sees and the next run makes again.
    """
    name = path_of(part.job.name, part.number, part.suffix)
    # not joined by pathlib, which takes longer than the writing
    target = os.path.join(folder, name)
    path = os.path.join(folder, PARTS, f"{part.job.key}-{part.number}")
    with writing(Path(target)):
        try:
            _write(path, part.content)
            if "/" in name:
                os.makedirs(os.path.dirname(target), exist_ok=True)
            os.replace(path, target)
        except OSError:
            Path(path).unlink(missing_ok=True)
            raise
        status = os.stat(target)
    return Artifact(
        key=part.job.key,
        path=name,
        sha256=hashlib.sha256(part.content).hexdigest(),
        pixels_sha256="" if look.picture is None else pixels_sha256(look.picture),
        bytes=status.st_size,
        mtime_ns=status.st_mtime_ns,
        width=look.width,
        height=look.height,
        seed=part.job.seed_now,
        attempt_id=assignment.attempt.id,
        measured=measured,
    )


def look_at(part: Part, *, thoroughly: bool) -> Look:
    """See that a picture is whole; raises ResultMissing for one that is none or is cut off.

    The check sums of a PNG tell. Decoding and hashing a megapixel takes 21 ms of CPU, and they
    0.6, so its pixels are looked at only where that is asked for.
    """
    missing = ResultMissing(f"what came for {part.job.name} is no whole picture")
    if is_png(part.content):
        size = size_of_png(part.content)
        if size is None:
            raise missing
        if not thoroughly:
            return Look(width=size[0], height=size[1])
    try:
        picture = read_picture(BytesIO(part.content))
    except InputError as error:
        raise missing from error
    height, width = picture.rgba.shape[:2]
    return Look(width=width, height=height, picture=picture)


def _write(path: str, content: bytes) -> None:
    """Write a file to the disk itself."""
    with open(path, "wb", buffering=0) as stream:
        left = memoryview(content)
        while left:
            left = left[stream.write(left) :]
        os.fsync(stream.fileno())


def _shared_out(assignment: Assignment, record: HistoryRecord) -> list[tuple[Job, int, FileRef]]:
    """(job, place among its pictures, file) of every file to fetch."""
    files = _wanted(record)
    jobs = assignment.jobs
    if len(jobs) == 1:
        return [(jobs[0], index, file) for index, (_, file) in enumerate(files)]
    by_node: dict[str, list[FileRef]] = {}
    for node, file in files:
        by_node.setdefault(node, []).append(file)
    if any(len(found) != len(jobs) for found in by_node.values()):
        counts = ", ".join(f"{len(found)} at node {node}" for node, found in by_node.items())
        raise JobError(
            f"a graph for {len(jobs)} pictures gave {counts}; run this batch with --batch-size 1"
        )
    return [
        (job, place, found[index])
        for index, job in enumerate(jobs)
        for place, found in enumerate(by_node.values())
    ]


def _wanted(record: HistoryRecord) -> Sequence[tuple[str, FileRef]]:
    """The files to keep: those saved, or the previews of a workflow that saves nothing."""
    files = files_of(record.outputs)
    wanted = [entry for entry in files if entry[1].type == "output"] or files
    if not wanted:
        raise ResultMissing(
            f"job {record.prompt_id} ended well and its record names no picture; the workflow "
            "needs a node that saves one, such as SaveImage"
        )
    return wanted
