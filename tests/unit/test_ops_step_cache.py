"""Whether a step's answer is used again."""

from __future__ import annotations

import pytest
import torch

from comfy_nodes.ops.step_cache import StepCache, relative_change


class Network:
    """Counts its calls; its answer tells which call gave it."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> torch.Tensor:
        self.calls += 1
        return torch.full((1, 4), float(self.calls))


def walk(threshold: float, inputs: list[float]) -> list[int]:
    """The number of the call whose answer each step gets."""
    cache, network = StepCache(threshold), Network()
    return [int(cache.answer("text", torch.full((1, 4), x), network)[0, 0]) for x in inputs]


def test_changes_are_summed_until_the_threshold() -> None:
    # 10% a step: two fit under 25%, the third does not, and the sum starts again.
    inputs = [1.0, 1.1, 1.21, 1.331, 1.4641, 1.61051, 1.771561]
    assert walk(0.25, inputs) == [1, 1, 1, 2, 2, 2, 3]


def test_a_threshold_of_zero_computes_every_step_even_when_nothing_changes() -> None:
    assert walk(0.0, [1.0, 1.0, 1.0]) == [1, 2, 3]


def test_going_back_does_not_undo_the_sum() -> None:
    assert walk(0.15, [1.0, 1.1, 1.0, 1.0]) == [1, 1, 2, 2]


def test_keys_have_answers_of_their_own() -> None:
    cache, network = StepCache(0.5), Network()
    x = torch.ones(1, 4)
    for key in ("positive", "negative", "positive", "negative"):
        cache.answer(key, x, network)
    assert (cache.computed, cache.reused, network.calls) == (2, 2, 2)


def test_another_shape_is_computed() -> None:
    cache, network = StepCache(1.0), Network()
    cache.answer("text", torch.ones(1, 4), network)
    cache.answer("text", torch.ones(2, 4), network)
    assert cache.computed == 2


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_numbers_that_are_none_are_computed(bad: float) -> None:
    assert walk(1.0, [1.0, bad, bad]) == [1, 2, 3]


def test_what_is_kept_is_a_copy() -> None:
    cache = StepCache(1.0)
    x, output = torch.ones(1, 4), torch.ones(1, 4)
    cache.answer("text", x, lambda: output)
    x.mul_(100)
    output.mul_(100)
    again = cache.answer("text", torch.ones(1, 4), lambda: torch.zeros(1, 4))
    torch.testing.assert_close(again, torch.ones(1, 4))


def test_the_image_that_changes_most_decides() -> None:
    before = torch.ones(2, 3, 2, 2)
    after = before.clone()
    after[1] += 0.5
    assert relative_change(before, after) == pytest.approx(0.5)
    assert relative_change(torch.zeros(1, 3), torch.zeros(1, 3)) == float("inf")
