"""How a measurement is shown on standard error: a bar on a terminal, plain lines everywhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TextIO

from ..screen import Bar, Screen, screen_on
from .record import BenchRow, CaseStatus
from .report import difference_words, peak_bytes, size_words
from .variants import Case


class BenchView:
    """One line for each case, above a bar that counts them. See `bench.Observer`."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        # cases, the one at work, and how many have their row
        self._total = self._number = self._done = 0

    def shown(self) -> Screen:
        """The block in which the bar is shown."""
        return self._screen

    def say(self, text: str) -> None:
        """Write one line."""
        self._screen.say(text)

    def planned(self, rows: Sequence[Case], done: int) -> None:
        """Say how many there are."""
        self._total, self._number, self._done = len(rows), done, done
        before = f", {done} of them measured before" if done else ""
        self.say(f"{len(rows)} cases to measure{before}")

    def began(self, case: Case) -> None:
        """Show which case runs."""
        self._number += 1
        self._show(f"{_label(case)}: first run")

    def ran(self, case: Case, seconds: float) -> None:
        """Show what a run took."""
        self._show(f"{_label(case)}: {seconds:.2f} s")

    def ended(self, case: Case, row: BenchRow, baseline: BenchRow | None) -> None:
        """Say what a case gave."""
        self._done += 1
        self.say(f"[{self._number}/{self._total}] {_label(case)}: {_outcome(row, baseline)}")

    def _show(self, text: str) -> None:
        self._screen.show(Bar(text, self._done, self._total))


def view_on(stream: TextIO | None = None) -> BenchView:
    """What shows a measurement on a stream, else on standard error."""
    return BenchView(screen_on(stream or sys.stderr))


def _label(case: Case) -> str:
    if case.batch_size is None:
        return case.variant.name
    return f"{case.variant.name}, {case.batch_size} picture{'s' if case.batch_size > 1 else ''}"


def _outcome(row: BenchRow, baseline: BenchRow | None) -> str:
    if row.status is not CaseStatus.MEASURED or row.seconds is None:
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
