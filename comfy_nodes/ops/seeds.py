"""The seeds of a batch, and the noise that each of them means."""

from __future__ import annotations

from collections.abc import Sequence

import torch

LAST_SEED = 2**64 - 1
"""Largest seed that ComfyUI's samplers accept; the one after it is 0."""


def seed_list(seed: int, count: int) -> list[int]:
    """The seeds of `count` pictures: seed, seed + 1, ... modulo 2**64."""
    return [(seed + i) % (LAST_SEED + 1) for i in range(count)]


def batch_noise(seeds: Sequence[int], shape: Sequence[int]) -> torch.Tensor:
    """Start noise of a batch: float32 [len(seeds), *shape], each image as a single run draws it.

    `shape` is that of one image, [C, H, W]. A single run draws [1, C, H, W] on the CPU from its
    seed whatever the device, which keeps pictures the same from machine to machine.
    """
    return torch.cat([_one(seed, shape) for seed in seeds])


def _one(seed: int, shape: Sequence[int]) -> torch.Tensor:
    generator = torch.Generator("cpu").manual_seed(seed)
    return torch.randn([1, *shape], generator=generator, device="cpu")
