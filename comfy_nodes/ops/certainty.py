"""How likely it is that a size is right, by all that tells right ones from wrong ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .costs import USUAL
from .lattice import Lattice

SURE = 0.87
"""From this confidence on a result is called sure: so are 96 of 100 right ones."""

LEAST_ODDS, MOST_ODDS = -6.0, 12.0
"""Between these log odds tell."""

DECIDED = 30.0
"""A margin over so many nats says no more than that the model is not the world."""

# Log odds that a size is right; a logistic regression on 2,880 fakes of tests/unit/fake_grids.py.
_OF_MARGIN = 1.41  # log(1 + margin in nats)
_OF_SUMMED = 4.7  # the sum over all ways chose another size than the cheapest way
_OF_ODDS = 0.375
_OF_DRIFT = 1.3
_OF_SHAPE = -356.0  # the log of how far the pitches of cells that drift are from square
_OF_NEXT = -3.33
_OF_SPLIT = -3.97
_OF_ALL = -0.89

# What is farther from square is no less square.
_SHAPELESS = 0.02
# Cells by which a square size is next to a usual one: miscounted, as 65x65 mostly is.
_NEXT = 2
# From this part of split cells on, in cells of so many px, cells are of twice the true size.
_SPLIT, _LARGE = 0.03, 5.5


@dataclass(frozen=True)
class Evidence:
    """What is known of a size beside its lattices.

    `margin` is in nats, over the cheapest way with another size; `odds` are the log odds of the
    size, over all ways; `summed` says that these chose it, against the cheapest way; `split` is
    what `cells.split` says of its cells.
    """

    margin: float
    odds: float = MOST_ODDS
    summed: bool = False
    split: float = 0.0


def confidence(lattices: Sequence[Lattice], evidence: Evidence) -> float:
    """0 to 1, of the lattices of all frames, which have one size."""
    if all(one.seen == 0 for one in lattices):
        # Even cells, where the lines show none of a size that was asked for, are a guess.
        return 0.0
    margin = min(max(evidence.margin, 0.0), DECIDED)
    log_odds = _OF_ALL + _OF_MARGIN * math.log1p(margin) + _OF_SUMMED * evidence.summed
    log_odds += _OF_ODDS * min(max(evidence.odds, LEAST_ODDS), MOST_ODDS)
    if any(one.drifts for one in lattices):
        shape = max(abs(math.log(one.x.pitch / one.y.pitch)) for one in lattices)
        log_odds += _OF_DRIFT + _OF_SHAPE * min(shape, _SHAPELESS)
    log_odds += _OF_NEXT * any(_next_to_usual(one) for one in lattices)
    pitch = min(min(one.x.pitch, one.y.pitch) for one in lattices)
    log_odds += _OF_SPLIT * (evidence.split >= _SPLIT and pitch >= _LARGE)
    return 1 / (1 + math.exp(-log_odds))


def _next_to_usual(lattice: Lattice) -> bool:
    cells = lattice.x.cells
    return cells == lattice.y.cells and any(0 < abs(cells - side) <= _NEXT for side in USUAL)
