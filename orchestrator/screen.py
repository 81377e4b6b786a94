"""What a person sees on standard error while something runs: lines, and on a terminal a picture.

Whoever has something to tell decides what to say and what to show; how it looks is decided here.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from itertools import groupby
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table
    from rich.text import Text

# Pictures a second: as many as the eye needs, and little work over a night.
_RATE = 5.0
# s over which the speed of a download is measured
_SPEED_OVER = 10.0
# letters of a text before a bar; a longer one gives way to the bar and its numbers
_LONGEST = 44
# terminals that can write lines and nothing else
_LINES_ONLY = ("dumb", "unknown")


class Unit(Enum):
    """What a bar counts."""

    PIECES = "pieces"
    BYTES = "bytes"


@dataclass(frozen=True)
class Line:
    """A line of text."""

    text: str


@dataclass(frozen=True)
class TextGrid:
    """Rows of texts, their columns aligned."""

    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Bar:
    """How much is done of what; with the time that has passed, of bytes with speed and time left.

    `total` None is for what nobody knows the end of.
    """

    text: str
    done: float
    total: float | None
    unit: Unit = Unit.PIECES


Part = Line | TextGrid | Bar


class Screen:
    """Lines on a stream; a context manager like the screen of a terminal."""

    # whether `show` shows anything
    is_live = False

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __enter__(self) -> Screen:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """There is nothing to clear away."""

    def say(self, text: str) -> None:
        """Write one line, which stays."""
        print(text, file=self._stream, flush=True)

    def show(self, *parts: Part) -> None:
        """Replace the picture by these parts, one below the other; without a terminal, nothing."""


class _Terminal(Screen):
    """A terminal: the picture stands below all lines and is gone when the block ends."""

    is_live = True

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        # 50 ms to import, which commands without a terminal save.
        from rich.console import Console
        from rich.live import Live

        self._console = Console(file=stream)
        self._clocks = _Clocks(time.monotonic)
        self._parts: tuple[Part, ...] = ()
        # of the longest text before a bar so far: bars that moved at every other text would flicker
        self._width = 0
        # It draws at its own pace, so that `show` costs nothing however often it is called.
        self._live = Live(
            console=self._console,
            get_renderable=self._picture,
            refresh_per_second=_RATE,
            transient=True,
        )

    def __enter__(self) -> _Terminal:
        _drawn_on.append(self._stream)
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()
        _drawn_on.remove(self._stream)

    def say(self, text: str) -> None:
        """Write one line above the picture."""
        self._console.print(_text(text))

    def show(self, *parts: Part) -> None:
        """Replace the picture by these parts, one below the other."""
        bars = [part for part in parts if isinstance(part, Bar)]
        self._clocks.note(bars)
        self._width = max([self._width, *(len(bar.text) for bar in bars)])
        self._parts = parts

    def _picture(self) -> Group:
        from rich.console import Group

        return Group(*self._drawn(self._parts))

    def _drawn(self, parts: Sequence[Part]) -> Iterator[RenderableType]:
        clocks = iter(self._clocks.now())
        for kind, several in groupby(parts, type):
            if kind is Bar:
                # in one table, so that bars that stand together are aligned
                bars = [part for part in several if isinstance(part, Bar)]
                yield _bars(bars, clocks, min(self._width, _LONGEST))
                continue
            for part in several:
                if isinstance(part, Line):
                    yield _text(part.text)
                elif isinstance(part, TextGrid):
                    yield _grid(part)


class _Clock:
    """Since when a bar is there, and how fast it grows."""

    def __init__(self, now: float) -> None:
        self.begun = now
        self._past: deque[tuple[float, float]] = deque()

    def note(self, now: float, done: float) -> None:
        """So much is done by now."""
        self._past.append((now, done))
        while len(self._past) > 2 and now - self._past[0][0] > _SPEED_OVER:
            self._past.popleft()

    @property
    def speed(self) -> float:
        """How much a second; 0 where that is not known yet."""
        if len(self._past) < 2:
            return 0.0
        (since, before), (until, after) = self._past[0], self._past[-1]
        return max(0.0, after - before) / max(until - since, 1e-3)


@dataclass(frozen=True)
class _Times:
    """What the clock of a bar says at a moment."""

    passed: float
    speed: float


class _Clocks:
    """The clocks of the bars that are shown, by their place; a bar that goes away loses its."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # One thread shows, another one draws.
        self._lock = threading.Lock()
        self._clocks: list[_Clock] = []

    def note(self, bars: Sequence[Bar]) -> None:
        """These are shown from now on."""
        now = self._clock()
        with self._lock:
            del self._clocks[len(bars) :]
            self._clocks += [_Clock(now) for _ in bars[len(self._clocks) :]]
            for clock, bar in zip(self._clocks, bars, strict=True):
                clock.note(now, bar.done)

    def now(self) -> list[_Times]:
        """What they say."""
        now = self._clock()
        with self._lock:
            return [_Times(now - clock.begun, clock.speed) for clock in self._clocks]


# terminals that have a picture
_drawn_on: list[TextIO] = []


def let_go() -> None:
    """Give the cursor back where there is a picture, before an end that clears nothing away.

    Takes no lock: whoever holds one may be what the process does not wait for any longer.
    """
    for stream in tuple(_drawn_on):
        with suppress(OSError, ValueError):
            os.write(stream.fileno(), b"\r\n\x1b[?25h")


def screen_on(stream: TextIO) -> Screen:
    """The screen for a stream: with a picture where it is a terminal that can draw one."""
    draws = stream.isatty() and os.environ.get("TERM") not in _LINES_ONLY
    return (_Terminal if draws else Screen)(stream)


def _bars(bars: Sequence[Bar], clocks: Iterator[_Times], width: int) -> Table:
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    table = Table.grid(padding=(0, 1))
    table.add_column(overflow="ellipsis", no_wrap=True, min_width=width, max_width=_LONGEST)
    table.add_column()
    table.add_column(no_wrap=True, justify="right")
    table.add_column(no_wrap=True)
    for bar in bars:
        # A picture may be drawn while the bars are just being replaced.
        times = next(clocks, _Times(0.0, 0.0))
        drawn = ProgressBar(total=bar.total, completed=bar.done, pulse=bar.total is None, width=32)
        counted, timed = _words(bar, times)
        table.add_row(_text(bar.text), drawn, _text(counted), _text(timed))
    return table


def _words(bar: Bar, times: _Times) -> tuple[str, str]:
    """What stands behind a bar: how much of what, and the time."""
    if bar.unit is Unit.PIECES:
        total = "?" if bar.total is None else f"{bar.total:.0f}"
        return f"{bar.done:.0f}/{total}", _span(times.passed)
    from rich.filesize import decimal

    total = "?" if bar.total is None else decimal(int(bar.total))
    speed = f"{decimal(int(times.speed))}/s" if times.speed else "?"
    left = "-:--:--"
    if times.speed and bar.total is not None:
        left = _span((bar.total - bar.done) / times.speed)
    return f"{decimal(int(bar.done))}/{total}", f"{speed} {left}"


def _grid(grid: TextGrid) -> Table:
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for row in grid.rows:
        table.add_row(*map(_text, row))
    return table


def _span(seconds: float) -> str:
    return str(timedelta(seconds=max(0, int(seconds))))


def _text(text: str) -> Text:
    """A text as it is: what servers say has neither markup nor colours, nor moves the cursor."""
    from rich.text import Text

    return Text("".join(sign if sign.isprintable() or sign == "\n" else " " for sign in text))
