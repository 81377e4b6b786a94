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
from .jobs import Artifact, Job

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
    picture: Picture,
    measured: Mapping[str, float],
    assignment: Assignment,
    folder: Path,
) -> Artifact:
    """Write a picture, sync it and rename it to its name; raises OutputError where that fails.

    The rename itself is not waited for: one that a power cut takes back leaves a picture that is
    missing, which `verify` sees and the next run makes again.
    """
    name = part.job.name + (f"-{part.number + 1}" if part.number else "") + part.suffix
    target = folder / name
    path = folder / PARTS / f"{part.job.key}-{part.number}"
    with writing(target):
        try:
            with path.open("wb") as stream:
                stream.write(part.content)
                stream.flush()
                os.fsync(stream.fileno())
            if "/" in name:
                target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        status = target.stat()
    return Artifact(
        key=part.job.key,
        path=name,
        sha256=hashlib.sha256(part.content).hexdigest(),
        pixels_sha256=pixels_sha256(picture),
        bytes=status.st_size,
        mtime_ns=status.st_mtime_ns,
        width=picture.rgba.shape[1],
        height=picture.rgba.shape[0],
        seed=part.job.seed_now,
        attempt_id=assignment.attempt.id,
        measured=measured,
    )


def look_at(part: Part) -> Picture:
    """Decode a picture to its end; raises ResultMissing for one that is none or is cut off."""
    try:
        return read_picture(BytesIO(part.content))
    except InputError as error:
        raise ResultMissing(f"what came for {part.job.name} is no whole picture") from error


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
