"""Kernel switches are set for a model's run, and then as they were."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from comfy_nodes.kernels import can_accumulate_in_fp16, switched
from comfy_nodes.settings import LoaderSettings, Toggle

cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
ALL_ON = LoaderSettings(cudnn_benchmark=Toggle.ON, fp16_accumulation=Toggle.ON, tf32=Toggle.ON)
ALL_OFF = LoaderSettings(cudnn_benchmark=Toggle.OFF, fp16_accumulation=Toggle.OFF, tf32=Toggle.OFF)


def state() -> list[object]:
    """Every switch under each of its names."""
    accumulation = matmul.allow_fp16_accumulation if can_accumulate_in_fp16() else None
    new = [
        getattr(owner, "fp32_precision", None)
        for owner in (matmul, cudnn, getattr(cudnn, "conv", None), getattr(cudnn, "rnn", None))
    ]
    return [cudnn.benchmark, accumulation, matmul.allow_tf32, cudnn.allow_tf32, *new]


@pytest.fixture(autouse=True)
def _nothing_leaks() -> Iterator[None]:
    before = state()
    yield
    assert state() == before


@pytest.mark.parametrize("settings", [ALL_ON, ALL_OFF])
def test_switches_are_set_and_restored(settings: LoaderSettings) -> None:
    wanted = settings.tf32 is Toggle.ON
    with switched(settings):
        assert cudnn.benchmark is wanted
        assert matmul.allow_tf32 is wanted
        assert cudnn.allow_tf32 is wanted
        if can_accumulate_in_fp16():
            assert matmul.allow_fp16_accumulation is wanted


def test_auto_touches_nothing() -> None:
    before = state()
    with switched(LoaderSettings()):
        assert state() == before


def test_restored_after_an_error() -> None:
    before = state()
    with pytest.raises(ZeroDivisionError), switched(ALL_ON):
        _ = 1 / 0
    assert state() == before


def test_one_inside_the_other() -> None:
    with switched(ALL_ON):
        with switched(ALL_OFF):
            assert cudnn.benchmark is False
        assert cudnn.benchmark is True


@pytest.mark.skipif(not hasattr(matmul, "fp32_precision"), reason="torch older than 2.9")
def test_a_process_that_uses_the_newer_names_is_restored_too() -> None:
    before = matmul.fp32_precision
    matmul.fp32_precision = "tf32"
    try:
        with switched(ALL_OFF):
            assert matmul.allow_tf32 is False
        assert matmul.fp32_precision == "tf32"
    finally:
        matmul.allow_tf32 = False  # so that both names agree again
        matmul.fp32_precision = before
