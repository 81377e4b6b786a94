"""How likely each number of cells is: against every way counted out, and where lines say little."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from comfy_nodes.ops.costs import DRIFT, MARGIN_CELL, cut_cell, missed, together
from comfy_nodes.ops.lattice import Edges
from comfy_nodes.ops.sizes import likely


def edges(places: list[float], length: int, weight: float = 1.0) -> Edges:
    return Edges(np.array(places, dtype=float), np.full(len(places), weight), length)


def probabilities(x: Edges, y: Edges, pitch: float) -> dict[tuple[int, int], float]:
    across, down, logs = likely([(x, y)], (pitch, pitch))
    return {
        (int(a), int(b)): math.exp(logs[i, j])
        for (i, a), (j, b) in itertools.product(enumerate(across), enumerate(down))
    }


def test_all_sizes_together_are_certain() -> None:
    axis = edges([10, 21, 29, 41, 60], 100)
    assert sum(probabilities(axis, axis, 10).values()) == pytest.approx(1)


def test_borders_that_all_show_leave_no_doubt() -> None:
    axis = edges([float(place) for place in range(10, 320, 10)], 320)
    assert probabilities(axis, axis, 10)[32, 32] > 0.999


def test_a_stretch_without_borders_leaves_doubt() -> None:
    """Cells drift, so that over 22 of them that no line shows there may be 21 or 23."""
    seen = [*range(10, 60, 10), *range(280, 320, 10)]
    odd = [place + 5.0 if place > 60 else float(place) for place in seen]
    axis = edges(odd, 325)
    found = probabilities(axis, axis, 10)
    assert 0.2 < found[32, 32] < 0.9
    assert found[33, 33] > 0.05


def test_no_peaks_say_nothing_but_that_usual_squares_are_usual() -> None:
    axis = edges([], 320)
    found = probabilities(axis, axis, 10)
    assert max(found, key=lambda size: found[size]) == (32, 32)
    assert found[31, 31] == pytest.approx(found[33, 33], rel=0.1)
    assert found[32, 32] < 0.7


def test_few_cells_are_never_fewer_than_one() -> None:
    axis = edges([10.0], 20)
    found = probabilities(axis, axis, 10)
    assert all(found[size] == 0 for size in found if min(size) < 1)
    assert max(found, key=lambda size: found[size]) == (2, 2)


def test_every_way_through_one_peak_is_counted() -> None:
    """The sum over all ways, counted out one by one."""
    pitch, length, place, weight = 10.0, 42, 19.0, 0.7

    def edge(distance: float, cells: int) -> float:
        wide = np.array([cells])
        cost = float(missed(np.array([distance - cells * pitch]), wide, pitch, DRIFT)[0])
        if cells == max(1, math.ceil(distance / pitch - 0.05)):
            cost = min(cost, float(cut_cell(pitch)))
        return cost + MARGIN_CELL * cells

    def axis(total: int) -> float:
        ways = [edge(place, left) + edge(length - place, total - left) for left in range(1, total)]
        return -math.log(sum(math.exp(-way) for way in ways))

    counts = np.arange(2, 6)
    cost = np.array([axis(int(total)) for total in counts])
    whole = np.ones(len(counts), dtype=bool)
    widths = length / counts
    both = cost[:, None] + cost[None, :]
    both = both + together((widths, widths), (whole, whole), (counts, counts), (length, length))
    one = edges([place], length, weight)
    across, down, logs = likely([(one, one)], (pitch, pitch))
    rows, columns = np.isin(across, counts), np.isin(down, counts)
    own = logs[rows][:, columns]
    assert np.allclose(own - own.max(), -both + both.min(), atol=1e-6)


def test_frames_together_know_more_than_one() -> None:
    seen = [float(place) for place in (*range(10, 60, 10), *range(260, 320, 10))]
    axis = edges(seen, 320)
    _, _, one = likely([(axis, axis)], (10, 10))
    _, _, four = likely([(axis, axis)] * 4, (10, 10))
    assert four.max() > one.max()
