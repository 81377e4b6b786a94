"""What a job made, brought here: each file whole, looked at, and on the disk itself.

The one way by which pictures come: a run, a measurement and a batch take it. A picture counts when
it is decoded to its end and is not another job's; see `looking` and `workflow.signatures`.
"""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from ..client.client import Client, writing
from ..errors import GraphError, ResultWrong
from ..protocol import FileRef, HistoryRecord, files_of, sheet_files_of
from ..workflow.graph import parse_graph
from ..workflow.signatures import Signatures
from .looking import Look, carries, format_of, look
from .picture_formats import NAMED


@dataclass(frozen=True, kw_only=True)
class ExpectedFile:
    """A file on the server that a job leaves behind."""

    node: str
    # place among the files of its node, from 0
    index: int
    file: FileRef
    # whether it is of a set whose files name each other, so that their names must stay
    of_sheet: bool = False


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A file of a job that is here, and counts."""

    # up to the end of the picture
    content: bytes
    # of `content`, lower-case hexadecimal
    sha256: str
    # of such files, with the dot; as the server named it where it is no picture
    suffix: str
    # None for what is no picture, such as a film or a sound
    look: Look | None
    # whether it carries the graph that was sent, or one that makes the same
    has_graph: bool = False
    # bytes that came behind the end of the picture: no part of it, and not kept
    cut: int = 0


def sent_as_told(record: HistoryRecord) -> Signatures:
    """The graph that the server says was sent; raises ResultWrong where that is none."""
    try:
        return Signatures(parse_graph(record.graph))
    except GraphError as error:
        raise ResultWrong(f"the server's record of {record.prompt_id}: {error}") from error


def wanted(record: HistoryRecord) -> list[ExpectedFile]:
    """The files to keep: those saved, or the previews of a workflow that saves nothing."""
    files = files_of(record.outputs)
    kept = [entry for entry in files if entry[1].type == "output"] or files
    counts: dict[str, int] = {}
    found = []
    for node, file in kept:
        index = counts.get(node, 0)
        counts[node] = index + 1
        found.append(ExpectedFile(node=node, index=index, file=file))
    return found


def with_sheets(record: HistoryRecord) -> list[ExpectedFile]:
    """The files to keep, and what stands beside the sheets among them, for engines to read."""
    beside = [
        (node, file) for node, file in sheet_files_of(record.outputs) if file.type == "output"
    ]
    sheets = {node for node, _ in beside}
    pictures = [replace(one, of_sheet=one.node in sheets) for one in wanted(record)]
    return pictures + [
        ExpectedFile(node=node, index=index, file=file, of_sheet=True)
        for index, (node, file) in enumerate(beside)
    ]


def fetch(
    client: Client, one: ExpectedFile, sent: Signatures, *, any_graph: bool = False
) -> Fetched:
    """Download a file and see that it counts; with `any_graph` whatever graph it carries.

    Raises ResultMissing where the server has it no longer, ResultWrong where it does not count, and
    what the client raises: the download has a deadline and a limit of size.
    """
    sink = io.BytesIO()
    came = client.fetch(one.file, sink)
    return counted(
        sink.getvalue(),
        one.file.filename,
        one.node,
        sent,
        any_graph=any_graph,
        sha256=came.sha256,
    )


def counted(
    content: bytes,
    name: str,
    node: str,
    sent: Signatures,
    *,
    any_graph: bool = False,
    sha256: str | None = None,
) -> Fetched:
    """A file of a job, where it counts; `name` is the server's, `node` the one that made it.

    Raises ResultWrong where it is no whole picture, or is called one and is none, or carries a
    graph that makes another picture than the one that was sent. `sha256` is the content's, where it
    is known.
    """
    suffix = PurePath(name).suffix
    if format_of(content) is None and suffix and suffix.casefold() not in NAMED:
        # A film, a sound, a model, a text: nothing here reads it.
        return Fetched(content=content, sha256=_sha256(content, sha256), suffix=suffix, look=None)
    found = look(content)
    try:
        has_graph = carries(found, sent, node)
    except ResultWrong:
        if not any_graph:
            raise
        has_graph = False
    if found.behind:
        content, sha256 = content[: found.length], None
    return Fetched(
        content=content,
        sha256=_sha256(content, sha256),
        suffix=found.suffix,
        look=found,
        has_graph=has_graph,
        cut=found.behind,
    )


def store(content: bytes, part: str, target: str) -> None:
    """Write a file to the disk itself as `part`, then give it its name; both on one disk.

    The rename itself is not waited for: a power cut may take it back. Raises OutputError, and then
    neither is there. Paths are texts, as pathlib's take longer than the writing.
    """
    store_part(content, part, target)
    with writing(Path(target)):
        try:
            os.replace(part, target)
        except OSError:
            Path(part).unlink(missing_ok=True)
            raise


def store_part(content: bytes, part: str, target: str) -> None:
    """Do all of it but the rename, so that this is quick and hardly fails."""
    with writing(Path(target)):
        try:
            with open(part, "wb", buffering=0) as stream:
                left = memoryview(content)
                while left:
                    left = left[stream.write(left) :]
                os.fsync(stream.fileno())
            os.makedirs(os.path.dirname(target) or ".", exist_ok=True)
        except OSError:
            Path(part).unlink(missing_ok=True)
            raise


def _sha256(content: bytes, known: str | None) -> str:
    return known or hashlib.sha256(content).hexdigest()
