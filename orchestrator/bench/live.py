"""How a measurement is shown on standard error: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TextIO

from .record import Row, Status
from .report import difference_words, peak_bytes, size_words
from .variants import Case


class Lines:
    """One line for each case."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._total = self._number = 0

    def shown(self) -> AbstractContextManager[Any]:
        """The block in which it is shown."""
        return nullcontext()

    def planned(self, rows: Sequence[Case], done: int) -> None:
        """Say how many there are."""
        self._total, self._number = len(rows), done
        before = f", {done} of them measured before" if done else ""
        self.say(f"{len(rows)} cases to measure{before}")

    def began(self, case: Case) -> None:
        """A case begins."""
        self._number += 1

    def ran(self, case: Case, seconds: float) -> None:
        """One run of it is over; too many for lines."""

    def ended(self, case: Case, row: Row, baseline: Row | None) -> None:
        """Say what a case gave."""
        self.say(f"[{self._number}/{self._total}] {_label(case)}: {_outcome(row, baseline)}")

    def say(self, text: str) -> None:
        """Write one line."""
        print(text, file=self._stream, flush=True)


class Bar(Lines):
    """The same lines above a bar that counts cases."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
        )

        columns = (TextColumn("{task.description:<44.44}"), BarColumn(), MofNCompleteColumn())
        self._bars = Progress(
            *columns, TimeElapsedColumn(), console=Console(file=stream), transient=True
        )
        self._task = self._bars.add_task("", total=None)

    def shown(self) -> AbstractContextManager[Any]:
        """Draws the bar while the block runs."""
        return self._bars

    def planned(self, rows: Sequence[Case], done: int) -> None:
        """Say how many there are."""
        super().planned(rows, done)
        self._bars.update(self._task, total=len(rows), completed=done)

    def began(self, case: Case) -> None:
        """Show which case runs."""
        super().began(case)
        self._bars.update(self._task, description=f"{_label(case)}: first run")

    def ran(self, case: Case, seconds: float) -> None:
        """Show what a run took."""
        self._bars.update(self._task, description=f"{_label(case)}: {seconds:.2f} s")

    def ended(self, case: Case, row: Row, baseline: Row | None) -> None:
        """Say what a case gave."""
        super().ended(case, row, baseline)
        self._bars.advance(self._task)

    def say(self, text: str) -> None:
        """Write one line above the bar."""
        self._bars.console.print(text, markup=False, highlight=False)


def view_on(stream: TextIO | None = None) -> Lines:
    """A bar for a terminal and lines for everything else."""
    chosen = stream or sys.stderr
    return Bar(chosen) if chosen.isatty() else Lines(chosen)


def _label(case: Case) -> str:
    if case.batch_size is None:
        return case.variant.name
    return f"{case.variant.name}, {case.batch_size} picture{'s' if case.batch_size > 1 else ''}"


def _outcome(row: Row, baseline: Row | None) -> str:
    if row.status is not Status.MEASURED or row.seconds is None:
        return f"{row.status.value}: {row.reason}"
    words = [f"first {row.first_s:.2f} s, then {row.seconds['median']:.3f} s"]
    if baseline is not None and baseline.seconds and baseline.key != row.key:
        words.append(f"{baseline.seconds['median'] / row.seconds['median']:.2f} times as fast")
    peak = peak_bytes(row)
    if peak is not None:
        words.append(size_words(peak[0]))
    if row.difference is not None and baseline is not None and baseline.key != row.key:
        words.append(f"difference {difference_words(row)}")
    return ", ".join(words)
