"""How a batch is shown while it runs: a view on a terminal, lines elsewhere, events as JSON.

All three also write what happens in words into the batch's log file.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from ..protocol import Executing, Progress
from .dispatcher import Dispatcher

if TYPE_CHECKING:
    from rich.console import Group

LOG_FILE = "batch.log"
# s between two lines of progress where there is no terminal
_LINE_EVERY = 10.0
# s between two looks at how many jobs are where
_COUNT_EVERY = 1.0
# s over which the rate is measured
_RATE_OVER = 60.0


class Lines:
    """Plain lines; a context manager like the other two."""

    def __init__(self, stream: TextIO, folder: Path) -> None:
        self._stream = stream
        self._folder = folder
        self._log: TextIO | None = None
        self._lock = threading.Lock()
        self._said = time.monotonic()
        self.rate = Rate()
        self.last_picture = ""

    def __enter__(self) -> Lines:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._log is not None:
            self._log.close()

    def happened(self, kind: str, **details: Any) -> None:
        """Show what happened; see `dispatcher.Observer`."""
        match kind:
            case "tick":
                self.tick(details["dispatcher"])
            case "progress":
                self.progress(details["server"], details["event"])
            case "done":
                self.rate.add(time.monotonic())
                self.last_picture = details["path"]
            case "note":
                self.note(details["text"], details["warning"])
            case "plan":
                self.note(details["text"], False)
        self.event(kind, details)

    def event(self, kind: str, details: dict[str, Any]) -> None:
        """Pass an event on as it is."""

    def tick(self, dispatcher: Dispatcher) -> None:
        """Show progress now and then."""
        now = time.monotonic()
        if now - self._said >= _LINE_EVERY:
            self._said = now
            self.say(summary(dispatcher, self.rate))

    def progress(self, server: str, event: Any) -> None:
        """Show how far a server is; too much for lines."""

    def note(self, text: str, warning: bool) -> None:
        """Show a sentence and write it into the log file."""
        self.write_log(text)
        self.say(f"warning: {text}" if warning else text)

    def write_log(self, text: str) -> None:
        """Add a line to the log file; without the file where it cannot be written."""
        try:
            with self._lock:
                if self._log is None:
                    self._log = (self._folder / LOG_FILE).open("a", encoding="utf-8")
                stamp = datetime.now().isoformat(sep=" ", timespec="seconds")
                print(f"{stamp}  {text}", file=self._log, flush=True)
        except OSError:
            # The store keeps the same words, and a full disk has its own error.
            return

    def say(self, text: str) -> None:
        """Write one line."""
        print(text, file=self._stream, flush=True)


class Events(Lines):
    """One JSON object a line on standard output: what happens, for programs."""

    def __init__(self, stream: TextIO, folder: Path) -> None:
        super().__init__(stream, folder)
        self._last: dict[str, Any] = {}

    def event(self, kind: str, details: dict[str, Any]) -> None:
        """Write an event; progress is summed up once a tick, and only where it changed."""
        if kind == "progress":
            return
        if kind == "tick":
            # Counting 100,000 jobs takes 20 ms.
            if time.monotonic() - self._said < _COUNT_EVERY:
                return
            self._said = time.monotonic()
            counts = counted(details["dispatcher"])
            if counts == self._last:
                return
            self._last = details = counts
            kind = "counts"
        with self._lock:
            print(json.dumps({"event": kind, **details}), file=self._stream, flush=True)

    def tick(self, dispatcher: Dispatcher) -> None:
        """Nothing to show between events."""

    def say(self, text: str) -> None:
        """Sentences go out as events."""


class View(Lines):
    """A live view: overall progress, one line a server, rate, time left, last picture."""

    def __init__(self, stream: TextIO, folder: Path) -> None:
        super().__init__(stream, folder)
        # 50 ms to import; scripts without a terminal never need it.
        from rich.console import Console
        from rich.live import Live

        self._console = Console(file=stream)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._doing: dict[str, str] = {}
        self._shown = 0.0

    def __enter__(self) -> View:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()
        super().__exit__(kind, error, trace)

    def progress(self, server: str, event: Any) -> None:
        """Remember how far a server is."""
        match event:
            case Progress():
                self._doing[server] = f"step {event.value:g} of {event.max:g}"
            case Executing(node=str(node)):
                self._doing[server] = f"node {node}"

    def tick(self, dispatcher: Dispatcher) -> None:
        """Draw anew."""
        if time.monotonic() - self._shown >= _COUNT_EVERY:
            self._shown = time.monotonic()
            self._live.update(self._drawn(dispatcher), refresh=True)

    def say(self, text: str) -> None:
        """Write one line above the view."""
        self._console.print(text, markup=False, highlight=False)

    def _drawn(self, dispatcher: Dispatcher) -> Group:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        counts = counted(dispatcher)
        servers = Table.grid(padding=(0, 2))
        for name, server in counts["servers"].items():
            state = server["words"] or self._doing.get(name, "")
            made = f"{server['pictures']} pictures"
            # Brackets in what servers say are no markup.
            cells = (name, made, f"{server['failures']} failures", state[:60])
            servers.add_row(*map(Text, cells))
        # A bar by itself does not end its line, and what follows would be cut off.
        bar = Table.grid(expand=True)
        bar.add_row(ProgressBar(total=max(1, counts["total"]), completed=counts["done"]))
        parts: list[Any] = [
            bar,
            Text(summary(dispatcher, self.rate)),
            servers,
        ]
        if self.last_picture:
            parts.append(Text(f"last picture: {self.last_picture}"))
        return Group(*parts)


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


def summary(dispatcher: Dispatcher, rate: Rate) -> str:
    """One line: how many, how fast, how long."""
    counts = dispatcher.counts()
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


def view_on(stream: TextIO, folder: Path) -> Lines:
    """Choose the view for a terminal and lines for everything else."""
    chosen: Callable[[TextIO, Path], Lines] = View if stream.isatty() else Lines
    return chosen(stream, folder)
