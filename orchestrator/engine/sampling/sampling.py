"""A sampling run from latent to latent: what KSampler and KSamplerAdvanced do.

Same model, same request, same latents as ComfyUI 0.33.0 up to the rounding of float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from .. import room
from ..handles.handles import LATENT_FACTOR, Model
from ..handles.noise_table import NoiseTable
from ..pictures.resizing import repeat_to
from ..tuning.tuning import at_work
from .guidance import Conditioning, Guide
from .noise import SEED_LIMIT, Seeds, add_to_seeds, starting_noise
from .samplers import SAMPLERS, Denoise, Report
from .schedules import sigmas_for

# Latents that a run holds at one time at least: where it starts, noise, step, two answers, the sum.
_LATENTS = 6
# Numbers that a UNet holds at its peak for each cell of the latent and channel of its first level:
# 20 measured with the starter model at 64 x 64 cells on a CPU. Less is asked for, since attention
# and convolutions of other devices do with less.
_ACTIVATIONS = 12

# LATENT as ComfyUI's: "samples" [B, 4, h, w], and maybe "noise_mask" and "batch_index".
Latent = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class SamplingRequest:
    """Everything besides the model, the texts and the latent that decides a run."""

    seed: int
    steps: int
    cfg: float
    sampler: str
    scheduler: str
    # the part of the schedule that is run, 0..1
    denoise: float = 1.0
    # whether noise is added to the latent at the start
    add_noise: bool = True
    # first step to run, and the step to stop before; None: from the start, to the end
    start_step: int | None = None
    end_step: int | None = None
    # stopping early: whether to remove all noise that is left
    finish: bool = False


def sample(
    model: Model,
    positive: Conditioning,
    negative: Conditioning,
    latent: Latent,
    request: SamplingRequest,
    report: Report,
) -> Latent:
    """`latent` with new samples, on the CPU in float32; its other entries are kept.

    `report` is called once a step with the step and the predicted clean latent, on the UNet's
    side of the latent scale. Raises OutOfMemory before the first step, InterruptedByUser in any.
    """
    image = latent["samples"].float()
    _check_room(model, image, 1 if math.isclose(request.cfg, 1.0) else 2)
    seeds = _seeds(model, request.seed, len(image))
    sigmas = run_sigmas(model.table, request)
    if len(sigmas) < 2:
        return dict(latent)
    noise = (
        starting_noise(image.shape, seeds, latent.get("batch_index"))
        if request.add_noise
        else torch.zeros_like(image)
    )
    with at_work(model.settings), model.unet.ready() as unet:
        device = model.unet.device
        if torch.count_nonzero(image) > 0:
            image = image * model.latent_scale
        image, noise, sigmas = image.to(device), noise.to(device), sigmas.to(device)
        mask = _fit_mask(latent.get("noise_mask"), image)
        guide = Guide(model, unet, positive, negative, request.cfg, image, mask)
        samples = walk(
            guide,
            request.sampler,
            sigmas,
            noise,
            image,
            mask,
            seeds,
            starts_at_full_noise(model.table, sigmas),
            report,
        )
    return {**latent, "samples": (samples.float() / model.latent_scale).cpu()}


def _check_room(model: Model, image: torch.Tensor, texts: int) -> None:
    """Raises OutOfMemory where the run cannot fit, on the CPU or on the model's device."""
    batch, channels, high, wide = image.shape
    what = f"{batch:,} pictures of {wide * LATENT_FACTOR} x {high * LATENT_FACTOR}"
    room.check(what, room.of_tensors(batch, channels, high, wide, copies=_LATENTS))
    width = int(model.unet.module.config.block_out_channels[0])
    # In numbers of the width that the network computes in.
    need = texts * batch * high * wide * width * _ACTIVATIONS * model.unet.dtype.itemsize
    room.check(what, need, lambda: room.free(model.unet.device))


def run_sigmas(table: NoiseTable, request: SamplingRequest) -> torch.Tensor:
    """The noise levels that the request really runs; fewer than 2 mean nothing to do."""
    sigmas = sigmas_for(table, request.scheduler, request.steps, request.denoise)
    if request.end_step is not None and request.end_step < len(sigmas) - 1:
        sigmas = sigmas[: request.end_step + 1].clone()
        if request.finish:
            sigmas[-1] = 0
    return sigmas if request.start_step is None else sigmas[request.start_step :]


def starts_at_full_noise(table: NoiseTable, sigmas: torch.Tensor) -> bool:
    """Whether the run starts at (or above) the noisiest level that the model knows."""
    first = float(sigmas[0])
    return math.isclose(first, table.sigma_max, rel_tol=1e-5) or first > table.sigma_max


def walk(
    denoise: Denoise,
    sampler: str,
    sigmas: torch.Tensor,
    noise: torch.Tensor,
    image: torch.Tensor,
    mask: torch.Tensor | None,
    seeds: Seeds,
    full_noise: bool,
    report: Report,
) -> torch.Tensor:
    """Noise the image to the first level and sample it down to the last.

    `mask` [B, C, h, w]: 1 where the picture is made anew, 0 where it is kept.
    """
    level = sigmas[0]
    # At full noise the variance-preserving factor sqrt(1 + sigma^2), which the model was
    # trained on, differs from sigma by 0.2%.
    start = noise * (torch.sqrt(1.0 + level**2) if full_noise else level) + image
    if mask is not None:
        # ddim keeps masked places under other noise than the picture started from.
        kept_noise = starting_noise(noise.shape, add_to_seeds(seeds, 1)).to(noise)
        denoise = keep_outside(denoise, mask, image, kept_noise if sampler == "ddim" else noise)
    return SAMPLERS[sampler](denoise, start, sigmas, seeds, report)


def keep_outside(
    denoise: Denoise, mask: torch.Tensor, image: torch.Tensor, noise: torch.Tensor
) -> Denoise:
    """`denoise` that sees, and gives, the known picture wherever the mask is 0."""
    known = 1.0 - mask

    def masked(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        seen = x * mask + (noise * sigma + image) * known
        return denoise(seen, sigma) * mask + image * known

    return masked


def _seeds(model: Model, seed: int, batch: int) -> Seeds:
    if model.first_seed is None:
        return seed
    return tuple((model.first_seed + i) % SEED_LIMIT for i in range(batch))


def _fit_mask(mask: torch.Tensor | None, image: torch.Tensor) -> torch.Tensor | None:
    """A mask of any size as [B, C, h, w] of the latent's shape."""
    if mask is None:
        return None
    flat = mask.reshape(-1, 1, *mask.shape[-2:])
    small = torch.nn.functional.interpolate(flat, size=image.shape[-2:], mode="bilinear")
    return repeat_to(small.expand(-1, image.shape[1], -1, -1), len(image)).to(image.device)
