"""What makes a size more or less certain."""

from __future__ import annotations

import numpy as np
import pytest

import fake_grids
from comfy_nodes.ops.cells import split
from comfy_nodes.ops.certainty import SURE, Evidence, confidence
from comfy_nodes.ops.lattice import Axis, Lattice, even
from comfy_nodes.ops.true_pixels import snap


def lattice(cells: tuple[int, int], *, pitch: float = 10.0, drifts: bool = False) -> Lattice:
    axes = [Axis(pitch, np.arange(count + 1) * pitch) for count in cells]
    return Lattice(axes[0], axes[1], 0.0, drifts, 0.9)


PLAIN = lattice((40, 36))


def test_a_larger_margin_and_better_odds_are_more_certain() -> None:
    margins = [confidence([PLAIN], Evidence(margin, 2.0)) for margin in (0.0, 1.0, 5.0, 30.0)]
    odds = [confidence([PLAIN], Evidence(3.0, odd)) for odd in (-6.0, 0.0, 4.0, 12.0)]
    for several in (margins, odds):
        assert several == sorted(several)
        assert several[0] < SURE <= several[-1]


def test_no_evidence_is_beyond_all_doubt() -> None:
    assert confidence([PLAIN], Evidence(1e9, 1e9)) < 1
    assert confidence([PLAIN], Evidence(-1e9, -1e9)) > 0


@pytest.mark.parametrize("cells", [(65, 65), (31, 31), (50, 50)])
def test_a_square_next_to_a_usual_one_is_less_certain(cells: tuple[int, int]) -> None:
    evidence = Evidence(10.0, 4.0)
    assert confidence([lattice(cells)], evidence) < SURE
    usual = min((8, 16, 24, 32, 48, 64), key=lambda side: abs(side - cells[0]))
    assert confidence([lattice((usual, usual))], evidence) > SURE
    assert confidence([lattice((cells[0], cells[0] - 3))], evidence) > SURE


def test_split_cells_are_less_certain_where_they_are_large() -> None:
    split_, whole = Evidence(6.0, 3.0, split=0.1), Evidence(6.0, 3.0)
    large, small = lattice((40, 36), pitch=8), lattice((40, 36), pitch=4)
    assert confidence([large], split_) < SURE < confidence([large], whole)
    assert confidence([small], split_) == confidence([small], whole)


def test_drifting_cells_are_mostly_square() -> None:
    square = lattice((40, 36), drifts=True)
    oblong = Lattice(square.x, Axis(10.2, square.y.borders * 1.02), 0.0, True, 0.9)
    evidence = Evidence(6.0, 4.0)
    assert confidence([oblong], evidence) < SURE < confidence([square], evidence)


def test_cells_of_which_no_border_shows_are_a_guess() -> None:
    axis = even(100, 10)
    assert confidence([Lattice(axis, axis, 0.0, False, 0.0)], Evidence(30.0)) == 0


def test_cells_of_twice_the_true_size_are_split() -> None:
    small = fake_grids.figure(np.random.default_rng(5))
    small = small[: small.shape[0] // 2 * 2, : small.shape[1] // 2 * 2]
    picture = small.repeat(8, axis=0).repeat(8, axis=1)
    height, width = small.shape[:2]
    right = Lattice(even(8 * width, width), even(8 * height, height), 0.0, False, 1.0)
    double = Lattice(even(8 * width, width // 2), even(8 * height, height // 2), 0.0, False, 1.0)
    assert split(picture, right) == 0
    assert split(picture, double) > 0.1
    assert split(np.full_like(picture, 9), right) == 0


def test_most_wrong_sizes_are_unsure_and_few_right_ones() -> None:
    """On fakes that the regression has not seen; docs/sprites.md has larger counts."""
    unsure: dict[bool, list[bool]] = {True: [], False: []}
    for fake in fake_grids.fakes(77, 16):
        found = snap(fake.picture)
        height, width = fake.truth.shape[:2]
        off = max(abs(found.width - width), abs(found.height - height))
        unsure[off <= (fake.kind == "offset")].append(not found.sure)
    assert len(unsure[False]) >= 4
    assert np.mean(unsure[False]) >= 0.7
    assert np.mean(unsure[True]) <= 0.05
