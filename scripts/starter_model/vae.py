"""The picture autoencoder: 64x64 RGB to 8x8x4 latents and back.

Every drawing has its pixels doubled, so the outermost level (full size to half size and back) has
nothing to learn: it is set to average 2x2 pixels on the way in and to repeat them on the way out,
and only the core inside it is trained, on pictures of half the side. That takes a third of the
time, and what the model draws lies on an exact grid of 2x2 pixels.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch.nn import functional

from .data import DrawingSet
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

SCALING_FACTOR = 0.18215
"""Stable Diffusion 1's latent scale; the weights are rescaled to meet it, not the other way."""

KL_WEIGHT = 1e-6
"""Weight of the KL term (a sum over the latent), small enough to leave the picture sharp."""

WIDTHS = (64, 64, 128, 128)
"""Channels by level. Multiples of 32, since ComfyUI's blocks always normalise in 32 groups."""

DENOISER_ERROR = 0.15
"""Largest spread of the error that the decoder learns to bear, in units of the latents' spread."""

LAYERS = 1
"""Residual blocks a level on the way in; one more on the way out."""


def make_vae(side: int = 64) -> AutoencoderKL:
    """An untrained autoencoder of Stable Diffusion's layout, factor 8, 4 latent channels."""
    vae = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=WIDTHS,
        layers_per_block=LAYERS,
        act_fn="silu",
        latent_channels=4,
        norm_num_groups=32,
        sample_size=side,
        scaling_factor=SCALING_FACTOR,
    )
    _fix_outer_level(vae)
    # Most of a sprite's picture is white: starting there saves the first hundred steps.
    torch.nn.init.constant_(vae.decoder.conv_out.bias, 0.8)
    return vae


@torch.no_grad()
def _fix_outer_level(vae: AutoencoderKL) -> None:
    """Make the outermost level a plain 2x2 mean on the way in and a repeat on the way out."""
    first, last = vae.encoder.down_blocks[0], vae.decoder.up_blocks[-1]
    for resnet in (*first.resnets, *last.resnets):
        resnet.conv2.weight.zero_()
        resnet.conv2.bias.zero_()
    same = torch.eye(WIDTHS[0])
    # The downsampler's window starts at the pixel itself: its first two rows and columns are the
    # 2x2 block.
    half = first.downsamplers[0].conv
    half.weight.zero_()
    half.bias.zero_()
    half.weight[:, :, :2, :2] = same[:, :, None, None] / 4
    double = vae.decoder.up_blocks[-2].upsamplers[0].conv
    double.weight.zero_()
    double.bias.zero_()
    double.weight[:, :, 1, 1] = same
    for edge in (vae.encoder.conv_in, vae.decoder.conv_out):
        middle = edge.weight[:, :, 1, 1].clone() * 3.0
        edge.weight.zero_()
        edge.weight[:, :, 1, 1] = middle


def core_parameters(vae: AutoencoderKL) -> list[torch.nn.Parameter]:
    """What is trained: everything but the outermost level."""
    outer = {
        id(parameter)
        for module in (
            vae.encoder.down_blocks[0],
            vae.decoder.up_blocks[-1],
            vae.decoder.up_blocks[-2].upsamplers[0],
        )
        for parameter in module.parameters()
    }
    return [parameter for parameter in vae.parameters() if id(parameter) not in outer]


def encode_core(vae: AutoencoderKL, half: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and log variance of pictures of half the side: ``vae.encode`` of them doubled."""
    encoder = vae.encoder
    found = functional.conv2d(half, encoder.conv_in.weight[:, :, 1:2, 1:2], encoder.conv_in.bias)
    for block in encoder.down_blocks[1:]:
        found = block(found)
    found = encoder.conv_act(encoder.conv_norm_out(encoder.mid_block(found)))
    mean, variance = vae.quant_conv(encoder.conv_out(found)).chunk(2, dim=1)
    return mean, variance.clamp(-30.0, 20.0)


def decode_core(vae: AutoencoderKL, latents: torch.Tensor) -> torch.Tensor:
    """Pictures of half the side: ``vae.decode`` gives these with every pixel doubled."""
    decoder = vae.decoder
    found = decoder.mid_block(decoder.conv_in(vae.post_quant_conv(latents)))
    for block in decoder.up_blocks[:-2]:
        found = block(found)
    for resnet in decoder.up_blocks[-2].resnets:
        found = resnet(found, None)
    found = decoder.conv_act(decoder.conv_norm_out(found))
    return functional.conv2d(found, decoder.conv_out.weight[:, :, 1:2, 1:2], decoder.conv_out.bias)


def standardise_latents(vae: AutoencoderKL, pictures: torch.Tensor) -> None:
    """Give every latent channel mean 0 and spread 1 after scaling; decoded pictures stay the same.

    The last convolution of the encoder gives mean and log variance: means are moved and
    multiplied, log variances shifted by 2 ln(factor). The first of the decoder undoes it. Both are
    1x1 convolutions, so nothing at the borders changes.
    """
    with torch.no_grad():
        latents = vae.encode(pictures).latent_dist.mean
        middle = latents.mean(dim=(0, 2, 3))
        factor = 1.0 / (SCALING_FACTOR * latents.std(dim=(0, 2, 3)))
        encoder, decoder = vae.quant_conv, vae.post_quant_conv
        decoder.bias += decoder.weight[:, :, 0, 0] @ middle
        decoder.weight /= factor.view(1, 4, 1, 1)
        encoder.bias[:4] = (encoder.bias[:4] - middle) * factor
        encoder.weight[:4] *= factor.view(4, 1, 1, 1)
        encoder.bias[4:] += 2.0 * factor.log()


@torch.no_grad()
def reconstruction(vae: AutoencoderKL, pictures: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Pictures through the autoencoder, and the peak signal to noise ratio in dB."""
    restored = vae.decode(vae.encode(pictures).latent_dist.mean).sample.clamp(-1, 1)
    error = float((restored - pictures).square().mean()) / 4.0
    return restored, -10.0 * float(np.log10(max(error, 1e-12)))


@dataclass(frozen=True)
class Latents:
    """Scaled latents of drawings: mean and spread, each (count, 4, h, w)."""

    mean: torch.Tensor
    spread: torch.Tensor

    def draw(self, indices: NDArray[np.int64]) -> torch.Tensor:
        """(n, 4, h, w) latents as the encoder would draw them, scaled to unit spread."""
        picked = torch.from_numpy(indices)
        mean = self.mean[picked]
        return mean + self.spread[picked] * torch.randn_like(mean)


@torch.no_grad()
def encode_all(vae: AutoencoderKL, drawings: DrawingSet, side: int, device: str) -> Latents:
    """Every drawing through the encoder, scaled."""
    vae = vae.to(device)
    means, spreads = [], []
    for start in range(0, len(drawings), 256):
        indices = np.arange(start, min(start + 256, len(drawings)))
        with torch.autocast(device.split(":")[0], torch.bfloat16):
            mean, variance = encode_core(vae, drawings.batch(indices, side // 2).to(device))
        means.append(mean.float().cpu() * SCALING_FACTOR)
        spreads.append((0.5 * variance.float()).exp().cpu() * SCALING_FACTOR)
    return Latents(torch.cat(means), torch.cat(spreads))


def keep_latents(latents: Latents, path: Path) -> None:
    """Write latents for later stages and for the workers of a team."""
    save_checkpoint(path, {"mean": latents.mean, "spread": latents.spread})


def load_latents(path: Path) -> Latents:
    """Read what ``keep_latents`` wrote.

    Raises:
        FileNotFoundError: if nothing was written.
    """
    stored = need_checkpoint(path, "latents", "latents")
    return Latents(stored["mean"], stored["spread"])


@dataclass
class Autoencoding:
    """What one training step restores and how far off it was."""

    vae: AutoencoderKL
    drawings: DrawingSet
    side: int
    device: str
    latents: Latents | None
    """Where given, the encoder rests and the decoder learns from these."""

    def parameters(self) -> list[torch.nn.Parameter]:
        """What is trained."""
        trained = core_parameters(self.vae)
        if self.latents is None:
            return trained
        rest = {id(p) for m in (self.vae.encoder, self.vae.quant_conv) for p in m.parameters()}
        return [parameter for parameter in trained if id(parameter) not in rest]

    def loss(self, indices: NDArray[np.int64]) -> torch.Tensor:
        """Restoring error of these drawings, and the KL term while the encoder learns."""
        pictures = self.drawings.batch(indices, self.side // 2).to(self.device)
        kl = torch.zeros((), device=self.device)
        with torch.autocast(self.device.split(":")[0], torch.bfloat16):
            if self.latents is None:
                mean, variance = encode_core(self.vae, pictures)
                mean, variance = mean.float(), variance.float()
                latent = mean + (0.5 * variance).exp() * torch.randn_like(mean)
                kl = 0.5 * (mean.square() + variance.exp() - 1.0 - variance).sum((1, 2, 3)).mean()
            else:
                clean = self.latents.draw(indices).to(self.device)
                # The denoiser is never exact: half of the pictures are restored from a latent
                # that is a little off.
                amount = DENOISER_ERROR * torch.rand(len(clean), 1, 1, 1, device=self.device)
                amount[::2] = 0.0
                latent = (clean + amount * torch.randn_like(clean)) / SCALING_FACTOR
            restored = decode_core(self.vae, latent)
        error = restored.float() - pictures
        return error.abs().mean() + 2.0 * error.square().mean() + KL_WEIGHT * kl


def train_vae(
    team: Team,
    work: Autoencoding,
    held_out: DrawingSet,
    checkpoint: Path,
    budget: Budget,
    *,
    batch: int = 16,
    peak_rate: float = 2e-3,
) -> None:
    """Train or go on training, ``batch`` pictures a worker and step; keeps ``checkpoint``."""
    vae, device, side = work.vae.to(work.device), work.device, work.side
    trained = work.parameters()
    average = Average(vae, 0.998)
    optimizer = torch.optim.AdamW(trained, lr=peak_rate, weight_decay=0.0, betas=(0.9, 0.99))
    step = 0
    stored = load_checkpoint(checkpoint)
    if stored is not None:
        vae.load_state_dict(stored["model"])
        average.values = {k: v.to(device) for k, v in stored["average"].items()}
        optimizer.load_state_dict(stored["optimizer"])
        step, budget.spent = stored["step"], stored["seconds"]
    probe = held_out.batch(np.arange(96), side).to(device)
    rng = np.random.default_rng([step, team.rank])
    torch.manual_seed(step * 64 + team.rank)
    losses: list[float] = []
    clock = time.monotonic()
    share = budget.done(step)
    while share < 1.0:
        set_rate(optimizer, falling_rate(peak_rate, share))
        loss = work.loss(rng.integers(0, len(work.drawings), batch))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        share = team.meet(trained, budget.done(step))
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        step += 1
        average.update(vae, step)
        losses.append(float(loss.detach()))
        if step % 50 == 0 and team.leads:
            pace = (time.monotonic() - clock) / 50
            print(
                f"{checkpoint.stem} step {step} loss {np.mean(losses[-50:]):.4f} "
                f"{pace:.2f} s/step {share:.0%}",
                flush=True,
            )
            clock = time.monotonic()
        if step % 250 == 0 and team.leads:
            _keep(checkpoint, vae, average, optimizer, step, budget)
            print(f"step {step} psnr {_quality(average, probe, side):.2f} dB", flush=True)
            clock = time.monotonic()
    if team.leads:
        _keep(checkpoint, vae, average, optimizer, step, budget)


def _keep(
    path: Path,
    vae: AutoencoderKL,
    average: Average,
    optimizer: torch.optim.Optimizer,
    step: int,
    budget: Budget,
) -> None:
    save_checkpoint(
        path,
        {
            "model": vae.state_dict(),
            "average": average.values,
            "optimizer": optimizer.state_dict(),
            "step": step,
            "seconds": budget.seconds(),
        },
    )


def _quality(average: Average, probe: torch.Tensor, side: int) -> float:
    vae = make_vae(side).to(probe.device)
    vae.load_state_dict(average.values)
    return reconstruction(vae.eval(), probe)[1]


def load_vae(checkpoint: Path, drawings: DrawingSet, side: int = 64) -> AutoencoderKL:
    """The averaged weights of a checkpoint with latents of spread 1 after the scaling factor.

    Raises:
        FileNotFoundError: if the stage has not run.
    """
    stored = need_checkpoint(checkpoint, "autoencoder", "vae")
    vae = make_vae(side)
    vae.load_state_dict(stored["average"])
    vae.eval()
    standardise_latents(vae, drawings.batch(np.arange(min(512, len(drawings))), side))
    return vae


def load_decoder(checkpoint: Path, side: int = 64) -> AutoencoderKL:
    """The averaged weights of the decoder stage, whose latents are standardised already.

    Raises:
        FileNotFoundError: if the stage has not run.
    """
    stored = need_checkpoint(checkpoint, "decoder", "decoder")
    vae = make_vae(side)
    vae.load_state_dict(stored["average"])
    return vae.eval()
