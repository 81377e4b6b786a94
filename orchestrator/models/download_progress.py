"""How a download is shown on standard error: a bar on a terminal, a line a file elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from comfy_nodes.hub.pulling import DownloadProgress, Report, gigabytes

from ..screen import Bar, Screen, Unit, screen_on


@contextmanager
def shown(stream: TextIO) -> Iterator[Report]:
    """The observer of a download, until the block ends."""
    with screen_on(stream) as screen:
        yield _Download(screen)


class _Download:
    """Shows how far it is, and says which file begins where nothing can be shown."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._last = ""

    def __call__(self, progress: DownloadProgress) -> None:
        text = f"{progress.doing} {progress.file}"
        if text != self._last and not self._screen.is_live:
            share = f"{gigabytes(progress.done)} of {gigabytes(progress.total)}"
            self._screen.say(f"{text} ({share})")
        self._last = text
        self._screen.show(Bar(text, progress.done, progress.total, Unit.BYTES))
