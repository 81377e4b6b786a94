"""The denoiser: a small Stable Diffusion UNet on 8x8 latents, trained on cached latents."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from .captions import unconditional, write_caption
from .data import COLOUR_NAMES, SUBJECT_NAMES, DrawingSet
from .draw import SIZES
from .progress import (
    Average,
    Budget,
    falling_rate,
    load_checkpoint,
    need_checkpoint,
    save_checkpoint,
    set_rate,
)
from .team import Team
from .text import HIDDEN, tokenise
from .vae import Latents

WIDTHS = (64, 128)
"""Channels by level: multiples of 64, because ComfyUI builds heads of 64 channels."""

SNR_CAP = 5.0
"""Min-SNR weighting (Hang et al. 2023): the weight of nearly clean steps stops growing here."""

DROP = 0.1
"""Share of pictures trained with a text that asks for nothing, for guidance."""


def make_unet(side: int = 64) -> UNet2DConditionModel:
    """An untrained denoiser.

    ``attention_head_dim`` is diffusers' historic name for the *number* of heads: one for every 64
    channels.
    """
    return UNet2DConditionModel(
        sample_size=side // 8,
        in_channels=4,
        out_channels=4,
        down_block_types=("CrossAttnDownBlock2D",) * 2,
        up_block_types=("CrossAttnUpBlock2D",) * 2,
        block_out_channels=WIDTHS,
        layers_per_block=2,
        act_fn="silu",
        norm_num_groups=32,
        norm_eps=1e-5,
        cross_attention_dim=HIDDEN,
        attention_head_dim=tuple(width // 64 for width in WIDTHS),
        use_linear_projection=False,
    )


def make_scheduler(prediction: str = "epsilon", end: float = 0.012) -> DDPMScheduler:
    """Stable Diffusion 1's noise schedule; the denoiser gives the noise, or "v_prediction".

    `end` is the beta of the last time step.
    """
    return DDPMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=end,
        beta_schedule="scaled_linear",
        clip_sample=False,
        prediction_type=prediction,
    )


@dataclass(frozen=True)
class TextPool:
    """Many token rows for every (subject, colour, size), made once; unconditional rows apart."""

    rows: torch.Tensor
    """(38, 10, 3, variants, 77) token ids."""
    nothing: torch.Tensor
    """(variants, 77) token ids."""

    def pick(
        self, drawings: DrawingSet, indices: np.ndarray, rng: np.random.Generator
    ) -> torch.Tensor:
        """(n, 77) token ids, one wording for each drawing, a tenth of them asking for nothing."""
        chosen = self.rows[
            drawings.subjects[indices],
            drawings.colours[indices],
            drawings.sizes[indices],
            rng.integers(0, self.rows.shape[3], len(indices)),
        ].clone()
        dropped = np.flatnonzero(rng.random(len(indices)) < DROP)
        chosen[dropped] = self.nothing[rng.integers(0, len(self.nothing), len(dropped))]
        return chosen.long()


def make_text_pool(tokenizer: CLIPTokenizer, seed: int, variants: int = 40) -> TextPool:
    """Write and tokenise ``variants`` wordings for every combination of labels."""
    rng = random.Random(f"pool {seed}")
    texts = [
        write_caption(rng, subject, colour, size).text
        for subject in SUBJECT_NAMES
        for colour in COLOUR_NAMES
        for size in SIZES
        for _ in range(variants)
    ]
    rows = tokenise(tokenizer, texts).to(torch.int16)
    nothing = tokenise(tokenizer, [unconditional(rng) for _ in range(4000)]).to(torch.int16)
    shape = (len(SUBJECT_NAMES), len(COLOUR_NAMES), len(SIZES), variants, rows.shape[1])
    return TextPool(rows.reshape(shape), nothing)


def train_unet(
    team: Team,
    latents: Latents,
    drawings: DrawingSet,
    texts: TextPool,
    encoder: CLIPTextModel,
    checkpoint: Path,
    budget: Budget,
    *,
    device: str = "cpu",
    side: int = 64,
    batch: int = 128,
    peak_rate: float = 1e-3,
) -> None:
    """Train or go on training, ``batch`` latents a worker and step; keeps ``checkpoint``."""
    torch.manual_seed(2)
    unet = make_unet(side).to(device)
    encoder = encoder.to(device).eval().requires_grad_(False)
    average = Average(unet, 0.998)
    optimizer = torch.optim.AdamW(
        unet.parameters(), lr=peak_rate, weight_decay=0.01, betas=(0.9, 0.99)
    )
    step = 0
    stored = load_checkpoint(checkpoint)
    if stored is not None:
        unet.load_state_dict(stored["model"])
        average.values = {k: v.to(device) for k, v in stored["average"].items()}
        optimizer.load_state_dict(stored["optimizer"])
        step, budget.spent = stored["step"], stored["seconds"]
    alphas = make_scheduler().alphas_cumprod.to(device)
    weight = torch.clamp(SNR_CAP * (1 - alphas) / alphas, max=1.0)
    rng = np.random.default_rng([step, team.rank, 1])
    torch.manual_seed(step * 64 + team.rank)
    trained = list(unet.parameters())
    losses: list[float] = []
    clock = time.monotonic()
    share = budget.done(step)
    while share < 1.0:
        set_rate(optimizer, falling_rate(peak_rate, share))
        indices = rng.integers(0, len(drawings), batch)
        clean = latents.draw(indices).to(device)
        ids = texts.pick(drawings, indices, rng).to(device)
        noise = torch.randn_like(clean)
        moments = _spread_steps(batch, device)
        level = alphas[moments].view(-1, 1, 1, 1)
        noisy = level.sqrt() * clean + (1 - level).sqrt() * noise
        with torch.autocast(device.split(":")[0], torch.bfloat16):
            with torch.no_grad():
                states = encoder(input_ids=ids).last_hidden_state
            guess = unet(noisy, moments, states).sample
        error = (guess.float() - noise).square().mean(dim=(1, 2, 3))
        loss = (error * weight[moments]).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        share = team.meet(trained, budget.done(step))
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        step += 1
        average.update(unet, step)
        losses.append(float(loss.detach()))
        if step % 50 == 0 and team.leads:
            pace = (time.monotonic() - clock) / 50
            print(
                f"unet step {step} loss {np.mean(losses[-50:]):.4f} {pace:.2f} s/step {share:.0%}",
                flush=True,
            )
            clock = time.monotonic()
        if step % 200 == 0 and team.leads:
            _keep(checkpoint, unet, average, optimizer, step, budget)
    if team.leads:
        _keep(checkpoint, unet, average, optimizer, step, budget)


def _spread_steps(count: int, device: str) -> torch.Tensor:
    """Time steps in even strata over 0 to 999, so that every batch sees the whole schedule."""
    places = (torch.arange(count, device=device) + torch.rand(count, device=device)) / count
    return (places * 1000).long().clamp(0, 999)


def _keep(
    path: Path,
    unet: UNet2DConditionModel,
    average: Average,
    optimizer: torch.optim.Optimizer,
    step: int,
    budget: Budget,
) -> None:
    save_checkpoint(
        path,
        {
            "model": unet.state_dict(),
            "average": average.values,
            "step": step,
            "optimizer": optimizer.state_dict(),
            "seconds": budget.seconds(),
        },
    )


def load_unet(checkpoint: Path, side: int = 64) -> UNet2DConditionModel:
    """The averaged weights of a checkpoint.

    Raises:
        FileNotFoundError: if the stage has not run.
    """
    stored = need_checkpoint(checkpoint, "denoiser", "unet")
    unet = make_unet(side)
    unet.load_state_dict(stored["average"])
    return unet.eval()
