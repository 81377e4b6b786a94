"""What became of fakes: counts, and how far the true pixels are from the truth.

exact: the true size (for `offset` within one cell). solved: exact, and at least 99% of the pixels
within 40 of 255. details: pixels of the truth that stand out by more than 40 from all four
neighbours, and are within 40 in the result, too. error: mean OKLab distance times 100, of the exact
ones and of all: there a result of a wrong size is enlarged to the true one, nearest neighbour, and
no result at all counts as mid grey.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from comfy_nodes.ops.color import oklab

from .cases import FakeCase, Pixels

ALIKE = 40
"""Levels by which a pixel may miss its true colour and counts as right."""


@dataclass(frozen=True)
class ToolOutcome:
    """What a tool made of a picture, and in how many seconds of CPU."""

    picture: Pixels | None
    seconds: float
    # that the size is right; None where the tool does not say
    sure: bool | None = None
    # why there is no picture
    error: str = ""


@dataclass
class SnapTally:
    """What became of several pictures."""

    count: int = 0
    exact: int = 0
    solved: int = 0
    wrong_unsure: int = 0
    right_unsure: int = 0
    details: int = 0
    kept: int = 0
    errors: list[float] = field(default_factory=list)
    errors_of_all: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)

    def add(self, case: FakeCase, outcome: ToolOutcome) -> None:
        """One more picture."""
        own, truth = outcome.picture, case.truth
        self.count += 1
        self.seconds.append(outcome.seconds)
        self.details += int(_details(truth).sum())
        if own is None:
            self.failures[outcome.error] += 1
            own = np.full((1, 1, 3), 128, dtype=np.uint8)
        off = max(abs(own.shape[1] - truth.shape[1]), abs(own.shape[0] - truth.shape[0]))
        if off > (case.kind == "offset") or outcome.error:
            self.wrong_unsure += outcome.sure is False
            resized = Image.fromarray(own).resize(truth.shape[1::-1], Image.Resampling.NEAREST)
            self.errors_of_all.append(_error(np.asarray(resized), truth))
            return
        self.exact += 1
        self.right_unsure += outcome.sure is False
        own, truth = _laid_over(own, truth)
        near = np.abs(own.astype(int) - truth).max(axis=2) <= ALIKE
        self.solved += bool(near.mean() >= 0.99)
        self.errors.append(_error(own, truth))
        self.errors_of_all.append(self.errors[-1])
        self.kept += int((_details(truth) & near).sum())

    @property
    def error(self) -> float:
        """Of the exact ones, times 100."""
        return 100 * float(np.mean(self.errors)) if self.errors else float("nan")

    @property
    def error_of_all(self) -> float:
        """Of all, times 100."""
        return 100 * float(np.mean(self.errors_of_all)) if self.errors_of_all else float("nan")

    @property
    def median_seconds(self) -> float:
        """Of CPU, a picture."""
        return float(np.median(self.seconds)) if self.seconds else float("nan")


def merged(tallies: Iterable[SnapTally]) -> SnapTally:
    """All together."""
    whole = SnapTally()
    for one in tallies:
        for name, own in vars(one).items():
            setattr(whole, name, getattr(whole, name) + own)
    return whole


def _error(own: Pixels, truth: Pixels) -> float:
    return float(np.sqrt(((oklab(own) - oklab(truth)) ** 2).sum(axis=2)).mean())


def _laid_over(own: Pixels, truth: Pixels) -> tuple[Pixels, Pixels]:
    """Both where they overlap best, at most one pixel moved."""
    if own.shape == truth.shape:
        return own, truth
    best = (-1.0, own, truth)
    for y in (-1, 0, 1):
        for x in (-1, 0, 1):
            one, other = own[max(0, -y) :, max(0, -x) :], truth[max(0, y) :, max(0, x) :]
            height, width = np.minimum(one.shape[:2], other.shape[:2])
            one, other = one[:height, :width], other[:height, :width]
            alike = float((np.abs(one.astype(int) - other).max(axis=2) <= ALIKE).mean())
            best = max(best, (alike, one, other), key=lambda each: each[0])
    return best[1], best[2]


def _details(truth: Pixels) -> NDArray[np.bool_]:
    padded = np.pad(truth.astype(int), ((1, 1), (1, 1), (0, 0)), mode="edge")
    middle = padded[1:-1, 1:-1]
    around = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    alone = [np.abs(middle - one).max(axis=2) > ALIKE for one in around]
    return np.logical_and.reduce(alone)
