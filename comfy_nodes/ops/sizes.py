"""How likely each number of cells is, over all ways through the peaks, not only the cheapest.

A way that counts a cell too many has many places to do so, and the cheapest way for every size says
nothing of that. So the forward sum of a hidden Markov model (Rabiner, A Tutorial on Hidden Markov
Models, 1989, III.A) goes over the same peaks at the same costs as the search. Its states are a peak
that is a border, and how many cells there are up to it, a few more or fewer than the pitch says.
Cells may vary in width throughout.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .arrays import Floats, Ints
from .costs import (
    DRIFT,
    GAIN,
    LONGEST,
    MARGIN_CELL,
    UNEXPLAINED,
    cut_cell,
    missed,
    together,
    unseen,
)
from .lattice import Edges

# Cells more or fewer than the pitch says.
_AROUND = 3
_OFF = np.arange(-_AROUND, _AROUND + 1)
_CHANGES = _OFF[None, None, :] - _OFF[None, :, None]
# Peaks that may lie, unexplained, between two borders that are seen.
_NEAR = 10
# What cannot be costs so much.
_NEVER = 1e6
# Of a cell's width as a part of the pitch: how much of it the next ones are told.
_WIDEST = 0.3


def likely(
    frames: Sequence[tuple[Edges, Edges]], pitch: tuple[float, float]
) -> tuple[Ints, Ints, Floats]:
    """Numbers of cells on x and on y, and the log of how likely each pair is: [X], [Y], [X, Y].

    `frames` are the edges on x and y, of pictures of one size, and `pitch` about their pitch in px.
    Pairs that are not among these are not counted.
    """
    lengths = frames[0][0].length, frames[0][1].length
    counts = [round(lengths[axis] / pitch[axis]) + _OFF for axis in (0, 1)]
    sums = [
        np.sum([_sums(frame[axis], pitch[axis], counts[axis]) for frame in frames], axis=0)
        for axis in (0, 1)
    ]
    widths = lengths[0] / np.maximum(counts[0], 1), lengths[1] / np.maximum(counts[1], 1)
    whole = np.ones(len(_OFF), dtype=bool)
    pairs = together(widths, (whole, whole), (counts[0], counts[1]), lengths)
    logs = sums[0][:, None] + sums[1][None, :] - pairs
    return counts[0], counts[1], logs - np.logaddexp.reduce(logs, axis=None)


def _sums(found: Edges, pitch: float, counts: Ints) -> Floats:
    """The log of how likely each of so many cells is on one axis, up to a constant."""
    places, weights = found.places, found.weights
    if not len(places):
        return np.where(counts >= 1, 0.0, -np.inf)
    passed = np.concatenate([[0.0], np.cumsum(weights)])
    expected = np.rint(places / pitch).astype(np.int64)
    costs = _Costs(pitch)
    ahead = -(costs.to_edge(places[:, None], expected[:, None] + _OFF, np.zeros((1, 1))))
    logs = ahead - UNEXPLAINED * passed[:-1, None]
    wider = np.zeros_like(logs)
    wide, columns = len(_OFF), np.arange(len(_OFF))
    for j in range(1, len(places)):
        low = max(0, j - _NEAR)
        distance = (places[j] - places[low:j])[:, None, None]
        # from a peak and its count to this one and its count
        steps = (expected[j] - expected[low:j])[:, None, None] + _CHANGES
        cost = costs.between(distance, steps, wider[low:j, :, None])
        before = logs[low:j] + UNEXPLAINED * (passed[low + 1 : j + 1] - passed[j])[:, None]
        ways = (before[:, :, None] - cost).reshape(-1, wide)
        best = ways.argmax(axis=0)
        cheapest = ways[best, columns]
        taken = np.maximum(steps.reshape(-1, wide)[best, columns], 1)
        width = distance.ravel()[best // wide] / taken - pitch
        told = np.clip(width, -_WIDEST * pitch, _WIDEST * pitch)
        wider[j] = np.where(cheapest > logs[j], told, 0.0)
        summed = np.log(np.exp(ways - cheapest).sum(axis=0)) + cheapest
        logs[j] = np.logaddexp(logs[j], summed)
    cells = counts - (expected[:, None, None] + _OFF[:, None])
    last = costs.to_edge((found.length - places)[:, None, None], cells, wider[:, :, None])
    last += UNEXPLAINED * (passed[-1] - passed[1:])[:, None, None]
    ends = (logs[:, :, None] - last).reshape(-1, len(counts))
    summed = np.logaddexp.reduce(ends, axis=0)
    return np.where(counts >= 1, summed, -np.inf)


class _Costs:
    """What cells of one pitch cost, which is a parabola for each number of them."""

    def __init__(self, pitch: float) -> None:
        self.pitch = pitch
        cells = np.arange(LONGEST + 1)
        self.least = missed(np.zeros(len(cells)), cells, pitch, DRIFT)
        self.slope = missed(np.ones(len(cells)), cells, pitch, DRIFT) - self.least
        self.seen = self.least + unseen(cells)
        self.seen[0] = _NEVER

    def between(self, distance: Floats, cells: Ints, wider: Floats) -> Floats:
        """So many cells between two borders that are seen; `wider` is the cell before, in px."""
        capped = np.minimum(np.maximum(cells, 0), LONGEST)
        farther = distance - cells * self.pitch - wider * GAIN[DRIFT][capped]
        return self.seen[capped] + self.slope[capped] * farther * farther

    def to_edge(self, distance: Floats, cells: Ints, wider: Floats) -> Floats:
        """So many cells up to the picture's edge, which may cut the last."""
        capped = np.minimum(np.maximum(cells, 0), LONGEST)
        farther = distance - cells * self.pitch - wider * GAIN[DRIFT][capped]
        cost = self.least[capped] + self.slope[capped] * farther * farther
        full = np.maximum(1, np.ceil(distance / self.pitch - 0.05))
        cost = np.where(cells == full, np.minimum(cost, cut_cell(self.pitch)), cost)
        ended: Floats = np.where(cells >= 1, cost + MARGIN_CELL * cells, _NEVER)
        return ended
