"""Brings the pictures of an attempt into the batch folder, each whole or not at all.

A picture is fetched and looked at, written into a folder for parts on the same disk, synced, and
only then renamed to its name; what a killed process leaves behind is a part, never half a picture.
The rename is part of the transaction that ends the attempt: of one that another orchestrator has
taken over meanwhile nothing gets a name.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ...client.client import Client, writing
from ...errors import JobError, ResultMissing, ResultWrong
from ...protocol import HistoryRecord
from ...runs.fetching import ExpectedFile, Fetched, store_part, wanted
from ...runs.fetching import fetch as fetch_file
from ...workflow.signatures import Signatures
from ..logic.assignments import Assignment
from ..logic.gates import takes_any_graph
from ..logic.jobs import Artifact, Job, path_of
from .store.pictures import PARTS


@dataclass(frozen=True, kw_only=True)
class CollectedPicture:
    """A fetched picture that counts, and is not in the folder yet."""

    job: Job
    # place among the pictures of its job, from 0
    number: int
    fetched: Fetched
    # the node that made it, and what it is to be called where that is not the job's own name
    node: str = ""
    name: str = ""


class Collector(Protocol):
    """Where the results of attempts go: a batch's folder, or a service's storage."""

    def fetch(
        self, client: Client, assignment: Assignment, record: HistoryRecord, sent: Signatures
    ) -> Iterator[CollectedPicture]:
        """Download what an attempt made; raises JobError where that is not what was asked for."""

    def place(
        self,
        part: CollectedPicture,
        measured: Mapping[str, float],
        pixels: str,
        assignment: Assignment,
    ) -> Artifact:
        """Bring one file here, whole or not at all; raises OutputError where that fails.

        `pixels` is the hash of its pixels, where a gate compares them, else "".
        """

    def keep(self, artifact: Artifact) -> None:
        """Let a file count, within the transaction that ends its attempt well."""

    def release(self, assignment: Assignment) -> None:
        """All is said of an attempt; what was brought here of it and not kept goes."""


class IntoFolder:
    """Puts pictures into a batch's folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # parts that have no name yet, by attempt and name; each is one thread's alone
        self._held: dict[int | None, dict[str, str]] = {}

    def fetch(
        self, client: Client, assignment: Assignment, record: HistoryRecord, sent: Signatures
    ) -> Iterator[CollectedPicture]:
        """See `fetch`."""
        return fetch(client, assignment, record, sent)

    def place(
        self,
        part: CollectedPicture,
        measured: Mapping[str, float],
        pixels: str,
        assignment: Assignment,
    ) -> Artifact:
        """Write a picture as a part; `keep` gives it its name."""
        attempt = assignment.attempt.id
        path = os.path.join(self._folder, PARTS, f"{part.job.key}-{part.number}-{attempt}")
        artifact = _placed(part, measured, pixels, assignment, self._folder, path)
        self._held.setdefault(attempt, {})[artifact.path] = path
        return artifact

    def keep(self, artifact: Artifact) -> None:
        """Give a picture its name; may be called again where that could not be written down."""
        part = self._held[artifact.attempt_id][artifact.path]
        target = self._folder / artifact.path
        with writing(target):
            try:
                os.replace(part, target)
            except FileNotFoundError:
                if not target.exists():
                    raise

    def release(self, assignment: Assignment) -> None:
        """Remove the parts of an attempt that got no name."""
        for part in self._held.pop(assignment.attempt.id, {}).values():
            Path(part).unlink(missing_ok=True)


def prepare_folder(folder: Path, busy: Collection[int] | None = ()) -> None:
    """Make the folder for parts, empty; raises OutputError where that is not allowed.

    Parts of attempts in `busy`, by id, stay: other orchestrators are at work on them. None leaves
    all that there are.
    """
    parts = folder / PARTS
    with writing(parts):
        parts.mkdir(parents=True, exist_ok=True)
        if busy is not None:
            _clear(parts, {str(attempt) for attempt in busy})
        # Some file systems let folders be made where files cannot be written.
        probe = parts / f"probe-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()


def _clear(parts: Path, busy: Collection[str]) -> None:
    for part in parts.iterdir():
        if part.name.rpartition("-")[2] not in busy:
            part.unlink(missing_ok=True)


def fetch(
    client: Client, assignment: Assignment, record: HistoryRecord, sent: Signatures
) -> Iterator[CollectedPicture]:
    """Download the pictures of an attempt, one after the other.

    Raises ResultMissing where the server has one no longer or told of none, ResultWrong where one
    is no whole picture or another job's, JobError where the graph gave another number of pictures
    than it was made for.
    """
    for job, number, one in _shared_out(assignment, record):
        try:
            fetched = fetch_file(client, one, sent, any_graph=takes_any_graph(job.gates))
        except ResultWrong as error:
            raise ResultWrong(f"what came for {job.name}: {error}") from error
        if fetched.look is None:
            raise ResultWrong(f"what came for {job.name}: {one.file.filename} is no picture")
        yield CollectedPicture(job=job, number=number, fetched=fetched, node=one.node)


def _placed(
    part: CollectedPicture,
    measured: Mapping[str, float],
    pixels: str,
    assignment: Assignment,
    folder: Path,
    path: str,
) -> Artifact:
    """Write a picture to `path`, all but its name in the folder.

    A name that a power cut takes back is missing, which `verify` sees, and the next run makes the
    picture again.
    """
    fetched, look = part.fetched, part.fetched.look
    assert look is not None
    name = path_of(part.job.name, part.number, fetched.suffix)
    # not joined by pathlib, which takes longer than the writing
    target = os.path.join(folder, name)
    store_part(fetched.content, path, target)
    status = os.stat(path)
    return Artifact(
        key=part.job.key,
        path=name,
        sha256=fetched.sha256,
        pixels_sha256=pixels,
        bytes=status.st_size,
        mtime_ns=status.st_mtime_ns,
        width=look.width,
        height=look.height,
        seed=part.job.seed_now,
        attempt_id=assignment.attempt.id,
        measured=measured,
    )


def _shared_out(
    assignment: Assignment, record: HistoryRecord
) -> list[tuple[Job, int, ExpectedFile]]:
    """(job, place among its pictures, file) of every file to fetch."""
    files = wanted(record)
    if not files:
        raise ResultMissing(
            f"job {record.prompt_id} ended well and its record names no picture; the workflow "
            "needs a node that saves one, such as SaveImage"
        )
    jobs = assignment.jobs
    if len(jobs) == 1:
        return [(jobs[0], number, one) for number, one in enumerate(files)]
    by_node: dict[str, list[ExpectedFile]] = {}
    for one in files:
        by_node.setdefault(one.node, []).append(one)
    if any(len(found) != len(jobs) for found in by_node.values()):
        counts = ", ".join(f"{len(found)} at node {node}" for node, found in by_node.items())
        raise JobError(
            f"a graph for {len(jobs)} pictures gave {counts}; run this batch with --batch-size 1"
        )
    return [
        (job, number, found[index])
        for index, job in enumerate(jobs)
        for number, found in enumerate(by_node.values())
    ]
