"""Weights in 8 bits."""

from __future__ import annotations

import pytest
import torch

from comfy_nodes.ops.narrowing import narrowed, scaled

FP8 = torch.float8_e4m3fn


def test_numbers_beyond_the_format_are_cut_off() -> None:
    weight = torch.tensor([1000.0, -1000.0, 1.0])
    assert narrowed(weight, FP8).float().tolist() == [448.0, -448.0, 1.0]
    assert narrowed(weight, torch.int8).tolist() == [127, -127, 1]


def test_int8_is_rounded_and_not_cut() -> None:
    assert narrowed(torch.tensor([0.6, -0.6, 1.4]), torch.int8).tolist() == [1, -1, 1]


# Half a step of 1/127, and half of the last of fp8's three fractional bits.
@pytest.mark.parametrize(("dtype", "error"), [(torch.int8, 1 / 254), (FP8, 1 / 16)])
def test_rows_keep_their_own_scale(dtype: torch.dtype, error: float) -> None:
    rows = torch.randn(8, 64, generator=torch.Generator().manual_seed(0))
    rows *= 10.0 ** torch.arange(-4, 4).reshape(-1, 1)
    narrow, scale = scaled(rows, dtype)
    assert (narrow.dtype, scale.shape) == (dtype, (8, 1))
    difference = (narrow.float() * scale - rows).abs().amax(dim=1)
    assert bool((difference <= error * 1.001 * rows.abs().amax(dim=1)).all())


def test_a_row_of_zeros_stays_zero() -> None:
    narrow, scale = scaled(torch.zeros(1, 4), torch.int8)
    assert (narrow.float() * scale).tolist() == [[0.0] * 4]
