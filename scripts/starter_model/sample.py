"""Samples sprites from a model folder the way ComfyUI does, for evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from numpy.typing import NDArray
from transformers import CLIPTextModel, CLIPTokenizer

from .text import tokenise


@dataclass(frozen=True)
class Model:
    """The parts of a loaded model folder."""

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    alphas: torch.Tensor
    """(1000,) cumulative signal shares of the noise schedule."""
    predicts_v: bool = False
    """Whether the denoiser gives v (Salimans and Ho 2022), not the noise."""


def load_model(folder: Path, device: str = "cpu") -> Model:
    """Read a model folder in fp32.

    Raises:
        OSError: if the folder or a part of it is missing.
    """

    def settle(part: torch.nn.Module) -> torch.nn.Module:
        return part.float().to(device).eval().requires_grad_(False)

    scheduler = DDPMScheduler.from_pretrained(folder / "scheduler")
    return Model(
        settle(UNet2DConditionModel.from_pretrained(folder / "unet")),
        settle(AutoencoderKL.from_pretrained(folder / "vae")),
        settle(CLIPTextModel.from_pretrained(folder / "text_encoder")),
        CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        scheduler.alphas_cumprod.to(device),
        scheduler.config["prediction_type"] == "v_prediction",
    )


def karras_sigmas(low: float, high: float, steps: int, rho: float = 7.0) -> torch.Tensor:
    """(steps + 1,) falling noise levels of Karras et al. 2022, ending in 0."""
    ramp = torch.linspace(0, 1, steps)
    levels = (high ** (1 / rho) + ramp * (low ** (1 / rho) - high ** (1 / rho))) ** rho
    return torch.cat([levels, torch.zeros(1)])


def normal_sigmas(table: torch.Tensor, steps: int) -> torch.Tensor:
    """(steps + 1,) noise levels at evenly spaced time steps, ending in 0."""
    places = torch.linspace(len(table) - 1, 0, steps)
    lower = places.floor().long()
    upper = places.ceil().long()
    share = places - lower
    logs = table.log().cpu()
    levels = ((1 - share) * logs[lower] + share * logs[upper]).exp()
    return torch.cat([levels, torch.zeros(1)])


@torch.no_grad()
def sample(
    model: Model,
    texts: Sequence[str],
    seeds: Sequence[int],
    *,
    negative: str = "",
    steps: int = 20,
    cfg: float = 5.0,
    sampler: str = "euler_ancestral",
    side: int = 64,
    wide: int = 1,
) -> NDArray[np.uint8]:
    """Sample one picture a text; (n, side, side * wide, 3) RGB.

    Args:
        sampler: ``euler_ancestral`` (with Karras' noise levels) or ``ddim`` (even time steps).

    Raises:
        ValueError: for another sampler.
    """
    if sampler not in ("euler_ancestral", "ddim"):
        raise ValueError(f"unknown sampler {sampler!r}: euler_ancestral or ddim")
    device = model.alphas.device
    wanted = model.encoder(input_ids=tokenise(model.tokenizer, list(texts)).to(device))
    unwanted = model.encoder(
        input_ids=tokenise(model.tokenizer, [negative] * len(texts)).to(device)
    )
    states = torch.cat([unwanted.last_hidden_state, wanted.last_hidden_state])
    sources = [torch.Generator().manual_seed(seed) for seed in seeds]
    shape = (4, side // 8, side // 8 * wide)

    def draw_noise() -> torch.Tensor:
        return torch.stack([torch.randn(shape, generator=source) for source in sources]).to(device)

    table = ((1 - model.alphas) / model.alphas).sqrt()
    if sampler == "ddim":
        sigmas = normal_sigmas(table, steps)
    else:
        sigmas = karras_sigmas(float(table[0]), float(table[-1]), steps)
    latent = draw_noise() * float((1 + sigmas[0] ** 2).sqrt())
    for now, after in pairwise(sigmas.tolist()):
        moment = (table.log() - np.log(now)).abs().argmin()
        scaled = latent / (now**2 + 1) ** 0.5
        guess = model.unet(torch.cat([scaled, scaled]), moment, states).sample
        without, with_text = guess.chunk(2)
        slope = without + cfg * (with_text - without)
        if model.predicts_v:
            slope = (latent * now / (now**2 + 1) ** 0.5 + slope) / (now**2 + 1) ** 0.5
        added = 0.0
        if sampler == "euler_ancestral" and after > 0:
            added = min(after, (after**2 * (now**2 - after**2) / now**2) ** 0.5)
        target = (after**2 - added**2) ** 0.5
        latent = latent + slope * (target - now)
        if added > 0:
            latent = latent + draw_noise() * added
    scale = float(model.vae.config["scaling_factor"])
    pictures = model.vae.decode(latent / scale).sample
    scaled_up = ((pictures.clamp(-1, 1) + 1) * 127.5).round().byte()
    return np.asarray(scaled_up.permute(0, 2, 3, 1).cpu().numpy())
