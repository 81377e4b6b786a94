"""The pictures in a batch's folder, each looked at: is it whole, and what does it carry."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ...errors import ResultWrong
from ...protocol import Graph
from ...runs.looking import look
from ..logic.prefixes import savers
from ..reporting.report.contact import is_contact_sheet

# Pictures that are decoded at once, and that are handed out before more are.
_TOGETHER = min(8, os.cpu_count() or 1)
_PAGE = 64


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A picture file of a batch's folder."""

    # inside the folder, with "/"
    path: str
    # of the file
    sha256: str = ""
    bytes: int = 0
    mtime_ns: int = 0
    # by its first bytes, with the dot; "" where it is no whole picture
    suffix: str = ""
    width: int = 0
    height: int = 0
    # what it carries, as long as somebody asks; whether it does, and how many nodes of it save
    graph: Graph | None = None
    has_graph: bool = False
    savers: int = 0
    # why it does not count as a picture
    fault: str = ""
    # made of the batch's pictures, and written anew when it is asked for
    is_derived: bool = False


def look_at(folder: Path, paths: Sequence[str], told: Callable[[int, int], None]) -> Iterator[Seen]:
    """Look at pictures, several at once; `told` is called with how many are done, of how many."""
    with ThreadPoolExecutor(_TOGETHER) as pool:
        for begin in range(0, len(paths), _PAGE):
            told(begin, len(paths))
            page = paths[begin : begin + _PAGE]
            yield from pool.map(lambda path: _seen(folder, path), page)
    told(len(paths), len(paths))


def _seen(folder: Path, path: str) -> Seen:
    try:
        with open(os.path.join(folder, path), "rb") as stream:
            content = stream.read()
            status = os.fstat(stream.fileno())
    except OSError as error:
        return Seen(path=path, fault=f"it cannot be read ({error.strerror or error})")
    sha256 = hashlib.sha256(content).hexdigest()
    try:
        found = look(content)
        graph = found.graph
    except ResultWrong as error:
        return Seen(path=path, sha256=sha256, bytes=status.st_size, fault=str(error))
    return Seen(
        path=path,
        sha256=sha256,
        bytes=status.st_size,
        mtime_ns=status.st_mtime_ns,
        suffix=found.suffix,
        width=found.width,
        height=found.height,
        graph=graph,
        has_graph=graph is not None,
        savers=savers(graph or {}),
        is_derived=is_contact_sheet(found.texts),
    )
