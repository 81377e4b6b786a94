"""The random numbers of a run: where they start, and what ancestral and SDE steps add.

A run has one seed for the whole batch, as ComfyUI does it, or one seed an image; with one seed
an image, every image sees exactly the numbers it would see as a batch of one.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch
import torchsde

# Noise between two levels: called with (sigma, next sigma), gives a tensor shaped as the latent.
StepNoise = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Seeds = int | tuple[int, ...]

# Seeds are unsigned 64-bit numbers.
SEED_LIMIT = 2**64


def add_to_seeds(seeds: Seeds, amount: int) -> Seeds:
    """Every seed plus `amount`, modulo 2^64."""
    if isinstance(seeds, int):
        return (seeds + amount) % SEED_LIMIT
    return tuple((seed + amount) % SEED_LIMIT for seed in seeds)


def starting_noise(
    shape: Sequence[int], seeds: Seeds, batch_index: Sequence[int] | None = None
) -> torch.Tensor:
    """Gaussian noise drawn on the CPU: float32 of `shape`, [B, C, H, W].

    `batch_index` names, for each image, its place in the batch it was cut from; the noise is
    that place's. It has no meaning where every image has its own seed, and is then ignored.
    """
    if not isinstance(seeds, int):
        return torch.cat([starting_noise((1, *shape[1:]), seed) for seed in seeds])
    generator = torch.Generator().manual_seed(seeds)
    if batch_index is None:
        return torch.randn(tuple(shape), generator=generator)
    drawn = [torch.randn((1, *shape[1:]), generator=generator) for _ in range(max(batch_index) + 1)]
    return torch.cat([drawn[i] for i in batch_index])


def gaussian_steps(x: torch.Tensor, seeds: Seeds) -> StepNoise:
    """Fresh noise at each step, from generators on the device of `x`.

    On a CPU they start one above `seeds`, as ComfyUI's do since 0.7.0: at `seeds` itself the first
    draw would repeat the starting noise, which is drawn on the CPU too.
    """
    if x.device.type == "cpu":
        seeds = add_to_seeds(seeds, 1)
    each = (seeds,) if isinstance(seeds, int) else seeds
    generators = [torch.Generator(x.device).manual_seed(seed) for seed in each]
    shape = x.shape if isinstance(seeds, int) else (1, *x.shape[1:])

    def draw(sigma: torch.Tensor, next_sigma: torch.Tensor) -> torch.Tensor:
        parts = [
            torch.randn(shape, generator=g, dtype=x.dtype, device=x.device) for g in generators
        ]
        return torch.cat(parts)

    return draw


def brownian_steps(x: torch.Tensor, sigmas: torch.Tensor, seeds: Seeds) -> StepNoise:
    """Increments of a Brownian path over sigma, scaled to unit variance (torchsde's tree).

    A path gives the same noise however the range is cut into steps, so more steps refine a
    picture in place of changing it.
    """
    low, high = sigmas[sigmas > 0].min().cpu(), sigmas.max().cpu()
    each = (seeds,) if isinstance(seeds, int) else seeds
    start = torch.zeros_like(x if isinstance(seeds, int) else x[:1], device="cpu")
    trees = [torchsde.BrownianTree(low, start, high, entropy=seed) for seed in each]

    def draw(sigma: torch.Tensor, next_sigma: torch.Tensor) -> torch.Tensor:
        # The path runs up in sigma and the sampler down, hence the minus.
        span = (next_sigma.cpu(), sigma.cpu())
        with warnings.catch_warnings():
            # torchsde keeps the range's end to six decimals, then clamps our float to it.
            warnings.filterwarnings("ignore", message="Should have t[ab]")
            increment = -torch.cat([tree(*span) for tree in trees]).to(x)
        return increment / (next_sigma - sigma).abs().sqrt()

    return draw
