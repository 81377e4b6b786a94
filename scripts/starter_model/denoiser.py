"""The denoiser, trained with a text encoder that has had its lessons.

Latents are 16x16 (a sheet of four frames 64 wide). There is attention at 8x8 and in the middle, at
4x4; around the middle there is none, so that the weights keep within their 48 MB.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDPMScheduler, UNet2DConditionModel

from .pool import Pool
from .progress import Average, Budget, Training, need_checkpoint
from .sample import karras_sigmas
from .team import Team
from .text import encoder_of, make_text_encoder
from .text_pictures import LAYERS, load_teller

HIDDEN = 256
"""Width of the text states and of the cross-attention."""

WIDTHS = (128, 192, 192)
"""Channels by level, 16x16 to 4x4; heads have 64."""

NOISE_END = 0.02
"""Beta of the last time step, where the noise is 65 times the latents' spread. Stable Diffusion's
0.012 stops at 15, and through so little the size and place of a sprite are still seen in 16x16
latents: the denoiser learnt to read them there, and sampling, which begins with noise alone, took
them from the noise and not from the text."""

NOISE_CENTRES, NOISE_SPREAD = (2.0, 0.8), 1.3
"""Mean of the logarithm of the noise levels at the start and at the end of training, between which
it falls evenly, and its standard deviation, for latents of unit spread. They are drawn as Karras et
al. 2022 do (-1.2 and 1.2 at a spread of 0.5), but higher: what a text decides, the whole of a
sprite, is seen at high noise alone and takes longest to learn; its pixels come last and soon."""

_REDRAWN_TO, _REDRAWN_STEPS = 0.3, 5
"""Lowest noise level, and steps, at which examples are drawn again for the decoder."""

WALK_SHARE = 0.18
"""Share of the steps that learn sheets of four frames."""


def make_unet() -> UNet2DConditionModel:
    """An untrained denoiser.

    ``attention_head_dim`` is diffusers' historic name for the number of heads.
    """
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=WIDTHS,
        layers_per_block=1,
        act_fn="silu",
        norm_num_groups=32,
        norm_eps=1e-5,
        cross_attention_dim=HIDDEN,
        attention_head_dim=tuple(width // 64 for width in WIDTHS),
        use_linear_projection=False,
    )


def noise_schedule() -> DDPMScheduler:
    """The schedule that it is trained and sampled with; it gives v (Salimans and Ho 2022)."""
    return DDPMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=NOISE_END,
        beta_schedule="scaled_linear",
        clip_sample=False,
        prediction_type="v_prediction",
    )


class Both(torch.nn.Module):
    """Denoiser and text encoder as one module."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.unet = make_unet()
        self.encoder = make_text_encoder(vocabulary, HIDDEN, LAYERS)

    def forward(
        self, noisy: torch.Tensor, moments: torch.Tensor, ids: torch.Tensor
    ) -> torch.Tensor:
        """v of (n, 4, h, w) noisy latents at (n,) time steps for (n, 77) texts."""
        states = self.encoder(input_ids=ids).last_hidden_state
        found: torch.Tensor = self.unet(noisy, moments, states).sample
        return found


@dataclass(frozen=True)
class Plan:
    """How to train."""

    singles: Pool
    walks: Pool
    vocabulary: int
    checkpoint: Path
    start: Path | None = None
    """A model folder to go on from where there is no checkpoint."""
    text: Path | None = None
    """Where ``train_text`` kept the encoder to begin with."""
    batch: int = 32
    peak_rate: float = 5e-4
    keep_minutes: float = 5.0
    watch_minutes: float = 20.0


def train(team: Team, plan: Plan, budget: Budget, watch: Any = None) -> None:
    """Train or go on training; keeps a checkpoint every few minutes.

    Args:
        watch: called by the leader with the averaged module and the step every ``watch_minutes``.
    """
    torch.manual_seed(2)
    model = Both(plan.vocabulary)
    if plan.start is not None and not plan.checkpoint.exists():
        take_weights(model, plan.start)
    teller = load_teller(plan.text, plan.vocabulary, HIDDEN) if plan.text else None
    if teller is not None:
        # An encoder with lessons rests: it saw more texts in them than the denoiser will.
        model.encoder.load_state_dict(teller.encoder.state_dict())
        model.encoder.requires_grad_(False)
    work = Training(
        team, model, budget, plan.checkpoint, label="train", rate=plan.peak_rate, decay=0.999
    )
    alphas = noise_schedule().alphas_cumprod
    rng = np.random.default_rng([work.step, team.rank, 1])
    shared = np.random.default_rng([work.step, 3])
    torch.manual_seed(work.step * 64 + team.rank)
    kept = watched = time.monotonic()
    while work.share < 1.0:
        # All workers take the same kind of batch, so that none waits for a larger one.
        walking = shared.random() < WALK_SHARE
        pool, count = (plan.walks, plan.batch // 4) if walking else (plan.singles, plan.batch)
        clean, ids = pool.batch(rng, count)
        work.learn(_loss(model, clean, ids, alphas, work.share))
        if not team.leads:
            continue
        now = time.monotonic()
        if now - kept > plan.keep_minutes * 60:
            work.keep()
            kept = now
        if watch is not None and now - watched > plan.watch_minutes * 60:
            work.keep()
            watch(averaged(work.average, plan.vocabulary), work.step)
            kept = watched = time.monotonic()
    if team.leads:
        work.keep()
        if watch is not None:
            watch(averaged(work.average, plan.vocabulary), work.step)


def _loss(
    model: Both,
    clean: torch.Tensor,
    ids: torch.Tensor,
    alphas: torch.Tensor,
    share: float,
) -> torch.Tensor:
    """Mean squared error of v."""
    moments = noise_moments(len(clean), alphas, share)
    noise = torch.randn_like(clean)
    level = alphas[moments].view(-1, 1, 1, 1)
    noisy = level.sqrt() * clean + (1 - level).sqrt() * noise
    target = level.sqrt() * noise - (1 - level).sqrt() * clean
    with torch.autocast("cpu", torch.bfloat16):
        guess = model(noisy, moments, ids)
    return (guess.float() - target).square().mean()


def _log_noise(signal: torch.Tensor) -> torch.Tensor:
    """Logarithm of the noise levels, in latents' spreads, by the shares of signal left."""
    return ((1 - signal) / signal).sqrt().log()


def noise_moments(count: int, alphas: torch.Tensor, share: float) -> torch.Tensor:
    """(count,) time steps with log-normal noise levels, one from each part of them.

    Args:
        share: of the training that is done, 0 to 1.
    """
    first, last = NOISE_CENTRES
    centre = first + share * (last - first)
    shares = (torch.arange(count) + torch.rand(count)) / count
    wanted = centre + NOISE_SPREAD * math.sqrt(2) * torch.erfinv(2 * shares - 1)
    return torch.searchsorted(_log_noise(alphas), wanted).clamp(0, len(alphas) - 1)


@torch.no_grad()
def redrawn(model: Both, clean: torch.Tensor, ids: torch.Tensor, most: float) -> torch.Tensor:
    """(n, 4, h, w) latents as the model draws them, of true ones under noise of level ``most``.

    Args:
        ids: (n, 77) their texts.
        most: in latents' spreads; so low that what was drawn is still seen, so high that its
            parts are not.
    """
    alphas = noise_schedule().alphas_cumprod
    states = model.encoder(input_ids=ids).last_hidden_state
    latent = clean + most * torch.randn_like(clean)
    for now, after in pairwise(karras_sigmas(_REDRAWN_TO, most, _REDRAWN_STEPS).tolist()):
        moment = (_log_noise(alphas) - math.log(now)).abs().argmin()
        whole = math.sqrt(now**2 + 1)
        with torch.autocast("cpu", torch.bfloat16):
            guess = model.unet(latent / whole, moment, states).sample.float()
        found = latent / whole**2 - guess * now / whole
        latent = found + (latent - found) * (after / now)
    return latent


def take_weights(model: Both, folder: Path) -> None:
    """Give a module the weights of a model folder.

    Raises:
        RuntimeError: if they are of another architecture or vocabulary.
    """
    unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32)
    model.unet.load_state_dict(unet.state_dict())
    model.encoder.load_state_dict(encoder_of(folder).state_dict())


def averaged(average: Average, vocabulary: int) -> Both:
    """The averaged weights as a module of their own."""
    model = Both(vocabulary)
    model.load_state_dict(average.values)
    return model.eval()


def load_both(checkpoint: Path, vocabulary: int) -> Both:
    """The averaged weights of a checkpoint.

    Raises:
        FileNotFoundError: if nothing has been trained.
    """
    stored = need_checkpoint(checkpoint, "denoiser", "train")
    model = Both(vocabulary)
    model.load_state_dict(stored["average"])
    return model.eval()
