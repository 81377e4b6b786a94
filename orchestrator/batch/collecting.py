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
from pathlib import Path

from ..client.client import Client, writing
from ..errors import GraphError, JobError, ResultMissing, ResultWrong
from ..protocol import FileRef, HistoryRecord, files_of
from ..runs.looking import Look, carries, look
from ..workflow.graph import parse_graph
from ..workflow.signatures import Signatures
from .dispatcher import Assignment
from .gates import Picture, pixels_sha256, takes_any_graph
from .jobs import Artifact, Job, path_of

PARTS = ".parts"


@dataclass(frozen=True, kw_only=True)
class Part:
    """A fetched picture that is not in the folder yet."""

    job: Job
    # the file, byte by byte
    content: bytes
    # the node that saved it
    node: str
    # place among the pictures of its job, from 0
    number: int


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a look at a picture found."""

    # the file up to the end of the picture
    content: bytes
    # of such files, with the dot
    suffix: str
    # px
    width: int
    height: int
    # whether it carries the graph that was sent
    has_graph: bool
    # bytes that came behind the end of the picture, and are not kept
    cut: int = 0
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
            node=node,
            number=index,
        )
        for job, index, node, file in _shared_out(assignment, record)
    ]


def place(
    part: Part,
    seen: Seen,
    measured: Mapping[str, float],
    assignment: Assignment,
    folder: Path,
) -> Artifact:
    """Write a picture, sync it and rename it to its name; raises OutputError where that fails.

    The rename itself is not waited for: one that a power cut takes back leaves a picture that is
    missing, which `verify` sees and the next run makes again.
    """
    name = path_of(part.job.name, part.number, seen.suffix)
    # not joined by pathlib, which takes longer than the writing
    target = os.path.join(folder, name)
    path = os.path.join(folder, PARTS, f"{part.job.key}-{part.number}")
    with writing(Path(target)):
        try:
            _write(path, seen.content)
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
        sha256=hashlib.sha256(seen.content).hexdigest(),
        pixels_sha256="" if seen.picture is None else pixels_sha256(seen.picture),
        bytes=status.st_size,
        mtime_ns=status.st_mtime_ns,
        width=seen.width,
        height=seen.height,
        seed=part.job.seed_now,
        attempt_id=assignment.attempt.id,
        measured=measured,
    )


def look_at(part: Part, sent: Signatures, *, thoroughly: bool) -> Seen:
    """See that a picture is whole and is what was asked for; takes its pixels where `thoroughly`.

    Raises ResultWrong where it is no whole picture, or carries a graph that makes another one than
    the graph that was sent.
    """
    try:
        found = look(part.content)
        has_graph = _has_graph(found, sent, part)
    except ResultWrong as error:
        raise ResultWrong(f"what came for {part.job.name}: {error}") from error
    return Seen(
        content=part.content[: found.length],
        suffix=found.suffix,
        width=found.width,
        height=found.height,
        has_graph=has_graph,
        cut=found.behind,
        picture=Picture(rgba=found.rgba, has_graph=has_graph) if thoroughly else None,
    )


def sent_as_told(record: HistoryRecord) -> Signatures:
    """The graph that the server says was sent; raises ResultWrong where that is none."""
    try:
        return Signatures(parse_graph(record.graph))
    except GraphError as error:
        raise ResultWrong(f"the server's record of {record.prompt_id}: {error}") from error


def _has_graph(found: Look, sent: Signatures, part: Part) -> bool:
    try:
        return carries(found, sent, part.node)
    except ResultWrong as error:
        if takes_any_graph(part.job.gates):
            return False
        raise ResultWrong(
            f"{error} (if a node pack of the server rewrites graphs, allow it with the gate "
            "`graph: {min: 0}`)"
        ) from error


def _write(path: str, content: bytes) -> None:
    """Write a file to the disk itself."""
    with open(path, "wb", buffering=0) as stream:
        left = memoryview(content)
        while left:
            left = left[stream.write(left) :]
        os.fsync(stream.fileno())


def _shared_out(
    assignment: Assignment, record: HistoryRecord
) -> list[tuple[Job, int, str, FileRef]]:
    """(job, place among its pictures, node, file) of every file to fetch."""
    files = _wanted(record)
    jobs = assignment.jobs
    if len(jobs) == 1:
        return [(jobs[0], index, node, file) for index, (node, file) in enumerate(files)]
    by_node: dict[str, list[FileRef]] = {}
    for node, file in files:
        by_node.setdefault(node, []).append(file)
    if any(len(found) != len(jobs) for found in by_node.values()):
        counts = ", ".join(f"{len(found)} at node {node}" for node, found in by_node.items())
        raise JobError(
            f"a graph for {len(jobs)} pictures gave {counts}; run this batch with --batch-size 1"
        )
    return [
        (job, place, node, found[index])
        for index, job in enumerate(jobs)
        for place, (node, found) in enumerate(by_node.items())
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
