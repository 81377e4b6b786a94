"""What the parts of a lattice cost: minus the logs of how likely they are, in nats.

`lattice` looks for the cheapest way through the peaks of an axis, `sizes` sums over all of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .arrays import Floats, Ints

UNEXPLAINED = 4.5
"""A full peak that is no border: one in a hundred positions."""
MARGIN_CELL = 0.02
"""A cell between the picture's edge and the first peak: plain background."""
UNLIKE = 2.0
"""One axis rigid, the other drifting."""
LONGEST = 64
"""Cells between two peaks; more count as so many."""
RIGID, DRIFT = range(2)
REGIMES = ((0.012, 0.0), (0.11, 0.55))
"""Standard deviation of a cell's width as a part of the pitch, and correlation with the one before,
rigid and drifting."""
USUAL = (8, 16, 24, 32, 48, 64, 96, 128)
"""Sides that are asked for more often than others, in cells."""

_CUT = 4.5  # a first or last cell that the picture's edge cuts
_EMPTY, _EMPTY_MORE = 1.0, 0.05  # a border that no line shows; one of the fourth on in a row
_PLACE = 0.4  # px by which a peak misses its border: nearest neighbour misses by up to 0.5
_SPARE = 0.92  # log(sqrt(2 pi)) of the normal density
# Pixels are square, by 0.4%, in four of five pictures, by 8% else.
_SQUARE, _SQUARE_BY, _OBLONG_BY = 0.8, 0.004, 0.08
# by which cells are square where the picture's edges cut some
_CUT_BY = 0.01
# Nobody squashes pixel art to half its height, but one may.
_SQUASHED = 1e-8
_USUAL_GAIN = 1.5


def _forecast() -> tuple[Floats, Floats]:
    """Of the sum of m cells' widths, by regime and m: its variance, and what it gains by the
    deviation of the cell before (Box and Jenkins, Time Series Analysis, 5.1: forecasts of AR(1)).
    """
    variance = np.zeros((len(REGIMES), LONGEST + 1))
    gain = np.zeros_like(variance)
    for regime, (deviation, alike) in enumerate(REGIMES):
        steps = np.arange(1, LONGEST + 1)
        sums = (1 - alike**steps) / (1 - alike)
        variance[regime, 1:] = deviation**2 * (1 - alike**2) * np.cumsum(sums**2)
        gain[regime, 1:] = alike * sums
    return variance, gain


_VARIANCE, GAIN = _forecast()
"""GAIN [regime, m]: by how much m cells are wider for each px that the one before them is."""


def missed(distance: Floats, cells: Ints, pitch: Floats | float, regime: Ints | int) -> Floats:
    """Two borders that are `distance` px farther apart than so many `cells` are expected to be."""
    variance = _VARIANCE[regime, np.clip(cells, 1, LONGEST)] * np.square(pitch) + 2 * _PLACE**2
    cost: Floats = distance * distance / (2 * variance) + 0.5 * np.log(variance) + _SPARE
    return cost


def unseen(cells: Ints) -> Floats:
    """The borders inside so many cells, none of which any line shows."""
    cost: Floats = _EMPTY * np.minimum(cells - 1, 3) + _EMPTY_MORE * (cells - 1)
    return cost


def cut_cell(pitch: Floats | float) -> Floats:
    """A first or last cell that the picture's edge cuts anywhere."""
    cost: Floats = np.log(pitch) + _CUT
    return cost


def together(
    widths: tuple[Floats, Floats],
    whole: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    cells: tuple[Ints, Ints],
    lengths: tuple[int, int],
) -> Floats:
    """[X, Y]: every width of a cell on x with every one on y, in px.

    `whole` says that the picture's edges cut no cell, `cells` how many there are, and `lengths` are
    the picture's sides in px.
    """
    ratio = np.log(widths[0])[:, None] - np.log(widths[1])[None, :]
    # A whole number of cells has a rounded length.
    rounding = float(np.hypot(0.4 / lengths[0], 0.4 / lengths[1]))
    exact = np.hypot(_SQUARE_BY, rounding)
    square = np.where(whole[0][:, None] & whole[1][None, :], exact, _CUT_BY)
    likely = _SQUARE * np.exp(-0.5 * (ratio / square) ** 2) / square
    likely += (1 - _SQUARE) * np.exp(-0.5 * (ratio / _OBLONG_BY) ** 2) / _OBLONG_BY
    cost: Floats = -np.log(np.asarray(likely + _SQUASHED, dtype=np.float64))
    usual = np.isin(cells[0], USUAL)[:, None] & (cells[0][:, None] == cells[1][None, :])
    cost -= _USUAL_GAIN * usual
    return cost
