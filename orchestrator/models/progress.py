"""How a download is shown on standard error: a bar on a terminal, a line a file elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from comfy_nodes.hub.pulling import Progress, Report, gigabytes


@contextmanager
def shown(stream: TextIO) -> Iterator[Report]:
    """The observer of a download, until the block ends."""
    if not stream.isatty():
        yield _Lines(stream)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(file=stream), transient=True) as bars:
        task = bars.add_task("", total=None)

        def tell(progress: Progress) -> None:
            text = f"{progress.doing} {progress.file}"
            bars.update(task, description=text, completed=progress.done, total=progress.total)

        yield tell


class _Lines:
    """Says what begins."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last = ("", "")

    def __call__(self, progress: Progress) -> None:
        now = (progress.doing, progress.file)
        if now != self._last:
            self._last = now
            share = f"{gigabytes(progress.done)} of {gigabytes(progress.total)}"
            print(f"{progress.doing} {progress.file} ({share})", file=self._stream, flush=True)
