"""How a batch is shown while it runs: a view on a terminal, lines elsewhere, events as JSON.

Either also writes what happens in words into the batch's log file.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from ...protocol import Event, Executing, StepProgress
from ...screen import Bar, Line, Part, Screen, TextGrid, screen_on
from ..execution.dispatcher import Dispatcher

LOG_FILE = "batch.log"
# s between two lines of progress where there is no terminal
_LINE_EVERY = 10.0
# s between two looks at how many jobs are where; counting 100,000 of them takes 20 ms
_COUNT_EVERY = 1.0
# s over which the rate is measured
_RATE_OVER = 60.0
# letters of what a server says or does
_WORDS = 60


class Log:
    """The batch's log file: a sentence a line."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: TextIO | None = None
        self._lock = threading.Lock()

    def write(self, text: str) -> None:
        """Add a line; without the file where it cannot be written."""
        try:
            with self._lock:
                if self._file is None:
                    self._file = (self._folder / LOG_FILE).open("a", encoding="utf-8")
                stamp = datetime.now().isoformat(sep=" ", timespec="seconds")
                print(f"{stamp}  {text}", file=self._file, flush=True)
        except OSError:
            # The store keeps the same words, and a full disk has its own error.
            return

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


class BatchDisplay:
    """A batch for people; a context manager. See `messages.BatchObserver`.

    On a terminal: overall progress, a line a server, rate, time left, last picture.
    """

    def __init__(self, screen: Screen, folder: Path) -> None:
        self._screen = screen
        self._log = Log(folder)
        self._rate = Rate()
        self._last_picture = ""
        # {server: what it is at}
        self._doing: dict[str, str] = {}
        # s, monotonic, of the last look at the whole; the first picture comes at once
        self._looked = 0.0 if screen.is_live else time.monotonic()

    def __enter__(self) -> BatchDisplay:
        self._screen.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._screen.__exit__(kind, error, trace)
        self._log.close()

    def happened(self, kind: str, **details: Any) -> None:
        """Show what happened."""
        match kind:
            case "tick":
                self._tick(details["dispatcher"])
            case "progress":
                self._progress(details["server"], details["event"])
            case "done":
                self._rate.add(time.monotonic())
                self._last_picture = details["path"]
            case "note" | "plan":
                text = details["text"]
                self._log.write(text)
                self._screen.say(f"warning: {text}" if details.get("warning") else text)

    def _tick(self, dispatcher: Dispatcher) -> None:
        """Tell now and then how far the whole is."""
        every = _COUNT_EVERY if self._screen.is_live else _LINE_EVERY
        if time.monotonic() - self._looked < every:
            return
        self._looked = time.monotonic()
        if self._screen.is_live:
            self._screen.show(*self._parts(dispatcher))
        else:
            self._screen.say(summary(dispatcher.counts(), self._rate))

    def _progress(self, server: str, event: Event) -> None:
        match event:
            case StepProgress():
                self._doing[server] = f"step {event.value:g} of {event.max:g}"
            case Executing(node=str(node)):
                self._doing[server] = f"node {node}"

    def _parts(self, dispatcher: Dispatcher) -> list[Part]:
        counts = counted(dispatcher)
        servers = [
            (
                name,
                f"{server['pictures']} pictures",
                f"{server['failures']} failures",
                (server["words"] or self._doing.get(name, ""))[:_WORDS],
            )
            for name, server in counts["servers"].items()
        ]
        parts: list[Part] = [
            Bar("pictures", counts["done"], counts["total"]),
            Line(summary(counts, self._rate)),
            TextGrid(servers),
        ]
        if self._last_picture:
            parts.append(Line(f"last picture: {self._last_picture}"))
        return parts


class Events:
    """A batch for programs: one JSON object a line. See `messages.BatchObserver`."""

    def __init__(self, stream: TextIO, folder: Path) -> None:
        self._stream = stream
        self._log = Log(folder)
        self._lock = threading.Lock()
        self._looked = time.monotonic()
        self._last: dict[str, Any] = {}

    def __enter__(self) -> Events:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._log.close()

    def happened(self, kind: str, **details: Any) -> None:
        """Write what happened; progress is summed up now and then, and only where it changed."""
        match kind:
            case "progress" | "state":
                return
            case "tick":
                self._tick(details["dispatcher"])
                return
            case "note" | "plan":
                self._log.write(details["text"])
        self._write(kind, details)

    def _tick(self, dispatcher: Dispatcher) -> None:
        if time.monotonic() - self._looked < _COUNT_EVERY:
            return
        self._looked = time.monotonic()
        counts = counted(dispatcher)
        if counts != self._last:
            self._last = counts
            self._write("counts", counts)

    def _write(self, kind: str, details: dict[str, Any]) -> None:
        with self._lock:
            print(json.dumps({"event": kind, **details}), file=self._stream, flush=True)


class Rate:
    """Pictures a second over the last minute."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()

    def add(self, now: float) -> None:
        """A picture came."""
        self._times.append(now)

    def at(self, now: float) -> float:
        """Pictures a second; 0 before the second one."""
        while self._times and now - self._times[0] > _RATE_OVER:
            self._times.popleft()
        if len(self._times) < 2:
            return 0.0
        return len(self._times) / max(now - self._times[0], 1e-3)


def counted(dispatcher: Dispatcher) -> dict[str, Any]:
    """Where the batch stands, as JSON values."""
    return {
        **dispatcher.counts(),
        "servers": {
            name: {"pictures": one.pictures, "failures": one.failures, "words": one.words}
            for name, one in dispatcher.server_counts.items()
        },
    }


def summary(counts: dict[str, Any], rate: Rate) -> str:
    """One line: how many, how fast, how long."""
    text = f"{counts['done']} of {counts['total']} pictures"
    if counts["failed"] or counts["quarantined"]:
        text += f", {counts['failed'] + counts['quarantined']} failed"
    speed = rate.at(time.monotonic())
    if speed:
        left = (counts["pending"] + counts["running"]) / speed
        text += f", {speed * 60:.1f} a minute, {duration(left)} left"
    return text


def duration(seconds: float) -> str:
    """A duration for people: 45 s, 12 min, 3 h 20 min, 2 d 5 h."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"


def view_on(stream: TextIO, folder: Path) -> BatchDisplay:
    """What shows a batch on a stream."""
    return BatchDisplay(screen_on(stream), folder)
