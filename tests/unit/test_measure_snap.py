"""The judge of tools that snap, and the processes that they run in."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest

import fake_grids

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.snapping.cases import FakeCase
from scripts.snapping.contestants import OURS, RIVALS, outcomes
from scripts.snapping.judging import SnapTally, ToolOutcome, merged
from scripts.snapping.worker import CALLS

TRUTH = fake_grids.figure(np.random.default_rng(3))
PICTURE = TRUTH.repeat(6, axis=0).repeat(6, axis=1)


def judged(picture: fake_grids.Pixels | None, *, kind: str = "int", error: str = "") -> SnapTally:
    tally = SnapTally()
    tally.add(FakeCase(kind, PICTURE, TRUTH), ToolOutcome(picture, 0.5, False, error))
    return tally


def test_the_truth_is_solved_without_error() -> None:
    found = judged(TRUTH)
    assert (found.exact, found.solved, found.right_unsure) == (1, 1, 1)
    assert found.error == found.error_of_all == 0
    assert found.kept == found.details > 0


def test_wrong_colours_are_exact_and_not_solved() -> None:
    found = judged(255 - TRUTH)
    assert (found.exact, found.solved) == (1, 0)
    assert found.error > 10
    assert found.kept < found.details


def test_a_wrong_size_is_judged_where_it_is_enlarged() -> None:
    found = judged(PICTURE)
    assert (found.exact, found.solved, found.wrong_unsure, found.kept) == (0, 0, 1, 0)
    assert math.isnan(found.error)
    assert found.error_of_all < 3
    one_off = TRUTH[1:]
    assert judged(one_off).exact == 0
    assert judged(one_off, kind="offset").solved == 1


def test_no_result_is_wrong_and_mid_grey() -> None:
    found = judged(None, error="ValueError: no grid")
    assert (found.exact, found.failures) == (0, {"ValueError: no grid": 1})
    grey = judged(np.full_like(TRUTH, 128))
    assert found.error_of_all == pytest.approx(grey.error_of_all)


def test_tallies_together_are_those_of_all() -> None:
    both = merged([judged(TRUTH), judged(None, error="x")])
    assert (both.count, both.exact, len(both.seconds), both.failures["x"]) == (2, 1, 2, 1)


def test_every_tool_has_a_way_to_be_called() -> None:
    assert {OURS, *(rival.name for rival in RIVALS)} == set(CALLS)


def test_a_tool_runs_in_a_process_of_its_own(tmp_path: Path) -> None:
    several = [FakeCase("int", PICTURE, TRUTH), FakeCase("int", TRUTH, TRUTH)]
    found = outcomes(OURS, Path(sys.executable), several, tmp_path)
    for one in found:
        assert one.picture is not None
        assert np.array_equal(one.picture, TRUTH)
        assert 0 < one.seconds < 5
        assert not one.error
    assert found[0].sure is True


def test_a_tool_that_does_not_start_is_told(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="unfake does not start"):
        outcomes("unfake", Path(sys.executable), [FakeCase("int", PICTURE, TRUTH)], tmp_path)
