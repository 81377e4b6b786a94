"""The picture autoencoder: 128x128 RGB to 16x16x4 latents and back, for sprites of 32x32 pixels.

The picture repeats each pixel of a sprite 4 times 4, so its two outer levels have nothing to learn.
They are written down here: on the way in they take means and call what is nearly white background;
on the way out they make white what does not belong to the sprite, and repeat its pixels. What is
trained lies between them: 32x32 pixels of red, green, blue and whether they belong to the sprite,
to 16x16 latents and back. So edges are hard, and what the model draws lies on an exact grid of 4x4
pixels.

The weights have the layout of `AutoencoderKL`, which diffusers and ComfyUI load as they load any
other. Two things of that layout stand in the way of writing them down and are worked around:

- GroupNorm of 32 groups, here of three channels each, would take away brightness and contrast. A
  group of (x, -x, C) with a constant C far larger than x keeps them: its mean is C/3, and its
  spread depends on x by less than one part in a thousand.
- SiLU: silu(x) - silu(-x) is x.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from .progress import Budget, Training, need_checkpoint
from .team import Team

FACTOR = 4
"""Picture pixels to a sprite's pixel, each way."""

WHITEST = 240
"""Whitest level of a sprite's pixel in training: above it the encoder begins to see background."""

PAINTED = 0.5
"""What the fourth channel of a sprite's pixels is on the sprite; the opposite outside."""

_WIDTHS = (96, 96, 96, 128)
"""Channels by level, 128x128 to 16x16."""

_GROUP = 3
"""Channels of a group: 96 in 32."""

_READ = 72
"""Channels from which the way out reads pixels; the others are kept free for what is written."""

_LARGE = 210.0
"""The constant of groups whose x is about -2 to 2. Its third, 70, and what multiplies the group,
210 times the root of 2 by 3 = 98.995, are bfloat16 numbers or nearly (99): half a percent of them
would be seen in every picture. Steepnesses are powers of 2 for the same reason."""

_DOUBT, _EDGE, _STEEP = 0.1, 0.05, 64.0
"""From which negative value of the fourth channel on a pixel is white, over how much more of it,
and how sharply (the slope of what goes into SiLU). A white hole in a sprite or a floor is worse
than a pixel more on an outline, so that what is in doubt is not white."""

_WHITENED = 4.0
"""What is added to colours outside: white is 1, and what is learnt is now and then below -1."""

_BEGINS, _WHITE = 0.90, 0.95
"""Mean of red, green and blue (-1 to 1) from which the encoder begins to see background, and where
it is sure; 240 of 255 is 0.88."""

_WHITE_LARGE, _WHITE_STEEP = 26.25, 256.0

_RATE = 1e-3

_KEPT = 400
"""Steps between two checkpoints."""

_DECODER_RATE = 4e-4

_TRUE_SHARE = 0.3
"""Share of true latents among those that the decoder goes on learning from."""

_STANDARD = 2000
"""Sprites by which the latents' spread is told."""

_DENOISER_ERROR = 0.3
"""Largest spread of the error that the decoder learns to bear, in units of the latents' spread."""


class SpriteAutoencoder(nn.Module):
    """What is trained: the two inner levels, on sprites of 32x32 pixels."""

    def __init__(self) -> None:
        super().__init__()
        whole = _untrained()
        encoder, decoder = whole.encoder, whole.decoder
        self.take = nn.Conv2d(4, _WIDTHS[2], 1)
        self.down = nn.ModuleList(encoder.down_blocks[2:])
        self.encoder_mid = encoder.mid_block
        self.encoder_norm = encoder.conv_norm_out
        self.encoder_out = encoder.conv_out
        self.decoder_in = decoder.conv_in
        self.decoder_mid = decoder.mid_block
        self.up = decoder.up_blocks[0]
        self.last = decoder.up_blocks[1].resnets
        self.choose = nn.Conv2d(_WIDTHS[2], _READ, 1)
        self.norm = nn.GroupNorm(_READ // _GROUP, _READ, eps=1e-6)
        self.give = nn.Conv2d(_READ, 4, 1)
        self.middle = nn.Buffer(torch.zeros(4))
        self.spread = nn.Buffer(torch.ones(4))

    def encode(self, sprites: torch.Tensor) -> torch.Tensor:
        """(n, 4, h / 2, w / 2) latents of (n, 4, h, w) sprites, colours -1 to 1."""
        found = self.take(sprites)
        for block in self.down:
            found = block(found)
        found = self.encoder_norm(self.encoder_mid(found))
        latents: torch.Tensor = self.encoder_out(functional.silu(found))[:, :4]
        return (latents - self.middle.view(1, 4, 1, 1)) / self.spread.view(1, 4, 1, 1)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """(n, 4, 2 h, 2 w) sprites of (n, 4, h, w) latents."""
        latents = latents * self.spread.view(1, 4, 1, 1) + self.middle.view(1, 4, 1, 1)
        found = self.up(self.decoder_mid(self.decoder_in(latents)))
        for resnet in self.last:
            found = resnet(found, None)
        sprites: torch.Tensor = self.give(functional.silu(self.norm(self.choose(found))))
        return sprites


def _untrained() -> AutoencoderKL:
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=_WIDTHS,
        layers_per_block=1,
        act_fn="silu",
        latent_channels=4,
        norm_num_groups=32,
        sample_size=32 * FACTOR,
        scaling_factor=1.0,
    )


def whole_vae(trained: SpriteAutoencoder) -> AutoencoderKL:
    """The whole autoencoder, in fp32, of a copy of what was trained."""
    vae = _untrained()
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.zero_()
        _write_encoder(vae, trained)
        _write_decoder(vae, trained)
        for ours, theirs in _copied(trained, vae):
            theirs.load_state_dict(ours.state_dict())
        for channel in range(4):
            vae.post_quant_conv.weight[channel, channel] = trained.spread[channel]
            vae.quant_conv.weight[channel, channel] = 1 / trained.spread[channel]
        vae.post_quant_conv.bias.copy_(trained.middle)
        vae.quant_conv.bias[:4] = -trained.middle / trained.spread
        vae.quant_conv.bias[4:] = -30.0  # the log variance: no noise
    return vae.eval().requires_grad_(False)


def trained_of(vae: AutoencoderKL) -> SpriteAutoencoder:
    """What was trained of a whole autoencoder: `whole_vae` backwards, to go on from a folder."""
    encoder, decoder = vae.encoder, vae.decoder
    second, choose = encoder.down_blocks[1].downsamplers[0].conv, decoder.up_blocks[1].upsamplers[0]
    resnet = decoder.up_blocks[2].resnets[0]
    trained = SpriteAutoencoder()
    with torch.no_grad():
        trained.spread.copy_(vae.post_quant_conv.weight[:, :, 0, 0].diagonal())
        trained.middle.copy_(vae.post_quant_conv.bias)
        for channel in range(4):
            gain = _taken(channel) / 4
            trained.take.weight[:, channel, 0, 0] = second.weight[:, _GROUP * channel, 0, 0] / gain
        assert trained.take.bias is not None
        trained.take.bias.copy_(second.bias - PAINTED * trained.take.weight[:, 3, 0, 0])
        trained.choose.weight[:, :, 0, 0] = choose.conv.weight[:_READ, :, 1, 1]
        assert trained.choose.bias is not None
        trained.choose.bias.copy_(choose.conv.bias[:_READ])
        trained.norm.weight.copy_(resnet.norm1.weight[:_READ])
        trained.norm.bias.copy_(resnet.norm1.bias[:_READ])
        assert trained.give.bias is not None
        for channel, gain in enumerate(_GIVEN):
            place = _GROUP * channel
            trained.give.weight[channel, :, 0, 0] = gain * resnet.conv1.weight[place, :_READ, 1, 1]
            trained.give.bias[channel] = gain * resnet.conv1.bias[place]
        trained.give.bias[3] -= _DOUBT
    for ours, theirs in _copied(trained, vae):
        ours.load_state_dict(theirs.state_dict())
    return trained.eval()


def _copied(trained: SpriteAutoencoder, vae: AutoencoderKL) -> list[tuple[nn.Module, nn.Module]]:
    """What is trained as it is in the whole, beside its place there."""
    encoder, decoder = vae.encoder, vae.decoder
    return [
        *zip(trained.down, encoder.down_blocks[2:], strict=True),
        (trained.encoder_mid, encoder.mid_block),
        (trained.encoder_norm, encoder.conv_norm_out),
        (trained.encoder_out, encoder.conv_out),
        (trained.decoder_in, decoder.conv_in),
        (trained.decoder_mid, decoder.mid_block),
        (trained.up, decoder.up_blocks[0]),
        (trained.last, decoder.up_blocks[1].resnets),
    ]


def _taken(channel: int) -> float:
    """What `whole_vae` multiplies a channel by on the way in: its ramp is 1 outside."""
    return -2.0 * PAINTED if channel == 3 else 1.0


_GIVEN = (1.0, 1.0, 1.0, -1.0)
"""What `whole_vae` multiplies the channels by on the way out."""


def _write_encoder(vae: AutoencoderKL, trained: SpriteAutoencoder) -> None:
    """Means of 4x4 pixels, with the fourth channel from how white they are."""
    encoder = vae.encoder
    _pairs(encoder.conv_in, range(3))
    first, second = (block.downsamplers[0].conv for block in encoder.down_blocks[:2])
    # A window starts at the pixel itself: the first two rows and columns are the block.
    for channel in range(3 * _GROUP):
        first.weight[channel, channel, :2, :2] = 0.25
    resnet = encoder.down_blocks[1].resnets[0]
    for channel in range(3):
        mean = {0: 1 / 3, 1: -1 / 3, 3: 1 / 3, 4: -1 / 3}
        _read(resnet.norm1, resnet.conv1, channel, mean)
    # What is white becomes middle grey, and is told so.
    changes = {_GROUP * channel: -1.0 for channel in range(3)} | {3 * _GROUP: 1.0}
    _ramp(resnet, 0, (_BEGINS, _WHITE), _WHITE_LARGE, _WHITE_STEEP, changes)
    take = trained.take
    assert take.bias is not None
    second.bias.copy_(take.bias + PAINTED * take.weight[:, 3, 0, 0])
    for channel in range(4):
        weight = _taken(channel) * take.weight[:, channel, 0, 0] / 4
        second.weight[:, _GROUP * channel, :2, :2] = weight[:, None, None]


def _write_decoder(vae: AutoencoderKL, trained: SpriteAutoencoder) -> None:
    """The fourth channel turns its pixels white, and every one is repeated."""
    decoder = vae.decoder
    choose = decoder.up_blocks[1].upsamplers[0].conv
    choose.weight[:_READ, :, 1, 1] = trained.choose.weight[:, :, 0, 0]
    choose.bias[:_READ] = trained.choose.bias
    # The first block reads the sprite and adds it where nothing is; there it is a copy of itself
    # beside the ramp that turns it white.
    resnet = decoder.up_blocks[2].resnets[0]
    resnet.norm1.weight[:_READ] = trained.norm.weight
    resnet.norm1.bias[:_READ] = trained.norm.bias
    free = range(_READ, _READ + 3)
    read = trained.give
    assert read.bias is not None
    for group, channel in enumerate((0, 1, 2, 3, 3)):
        gain = _GIVEN[channel]
        for place, sign in ((_GROUP * group, gain), (_GROUP * group + 1, -gain)):
            resnet.conv1.weight[place, :_READ, 1, 1] = sign * read.weight[channel, :, 0, 0]
            resnet.conv1.bias[place] = sign * read.bias[channel]
    for channel, place in enumerate(free):
        resnet.conv1.bias[_GROUP * channel + 2] = _LARGE
        _read(resnet.norm2, resnet.conv2, channel, {place: 1.0})
    _ramp(resnet, 3, (_DOUBT, _DOUBT + _EDGE), _LARGE, _STEEP, dict.fromkeys(free, _WHITENED))
    _pairs(decoder.up_blocks[2].upsamplers[0].conv, free)
    for channel in range(3):
        _read(decoder.conv_norm_out, decoder.conv_out, channel, {channel: 1.0})


def _pairs(conv: nn.Conv2d, channels: range) -> None:
    """Make a group (x, -x, C) of each of these channels, from the first group on."""
    assert conv.bias is not None
    for group, channel in enumerate(channels):
        place = _GROUP * group
        conv.weight[place, channel, 1, 1] = 1.0
        conv.weight[place + 1, channel, 1, 1] = -1.0
        conv.bias[place + 2] = _LARGE


def _plain(norm: nn.GroupNorm, group: int, large: float, gain: float) -> None:
    """Let x and -x of a group (x, -x, C) through, times ``gain``."""
    spread = large * math.sqrt(2.0) / 3.0
    place = _GROUP * group
    norm.weight[place : place + 2] = gain * spread
    norm.bias[place : place + 2] = gain * large / 3.0


def _read(norm: nn.GroupNorm, conv: nn.Conv2d, group: int, factors: dict[int, float]) -> None:
    """Add x of a group, times the given factors, to outputs of norm, SiLU and convolution.

    ``silu(x) - silu(-x)`` is x.
    """
    _plain(norm, group, _LARGE, 1.0)
    for output, factor in factors.items():
        conv.weight[output, _GROUP * group, 1, 1] += factor
        conv.weight[output, _GROUP * group + 1, 1, 1] -= factor


def _ramp(
    resnet: Any,
    first: int,
    ends: tuple[float, float],
    large: float,
    steep: float,
    changes: dict[int, float],
) -> None:
    """Add ``changes`` times a ramp, from 0 to 1 between ``ends``, of what conv1 gives.

    Two groups of conv1 from ``first`` on hold (x, -x); one gets the lower end, one the upper.
    """
    for group, (end, sign) in enumerate(zip(ends, (1.0, -1.0), strict=True), first):
        place = _GROUP * group
        resnet.conv1.bias[place] -= end
        resnet.conv1.bias[place + 1] += end
        resnet.conv1.bias[place + 2] = large
        _plain(resnet.norm2, group, large, steep)
        for output, amount in changes.items():
            factor = sign * amount / (steep * (ends[1] - ends[0]))
            resnet.conv2.weight[output, place, 1, 1] = factor


@torch.no_grad()
def standardised(trained: SpriteAutoencoder, sprites: torch.Tensor) -> SpriteAutoencoder:
    """The same with latents of mean 0 and spread 1 over the sprites, in every channel."""
    latents = trained.encode(sprites)
    trained.middle.add_(trained.spread * latents.mean(dim=(0, 2, 3)))
    trained.spread.mul_(latents.std(dim=(0, 2, 3)))
    return trained


def train_vae(
    team: Team,
    sprites: NDArray[np.int8],
    held_out: torch.Tensor,
    checkpoint: Path,
    budget: Budget,
    batch: int = 32,
) -> None:
    """Train on (count, 4, 32, 32) sprites, or go on; keeps ``checkpoint``.

    Args:
        held_out: (n, 4, 32, 32) sprites to tell the quality of.
        batch: of each worker.
    """
    torch.manual_seed(5)
    model = SpriteAutoencoder()
    work = Training(team, model, budget, checkpoint, label="vae", rate=_RATE, decay=0.998)
    rng = np.random.default_rng([work.step, team.rank, 5])
    torch.manual_seed(work.step * 64 + team.rank)
    while work.share < 1.0:
        work.learn(_loss(model, _batch(sprites, rng, batch), work.share))
        if (work.step % _KEPT == 0 or work.share >= 1.0) and team.leads:
            standard = torch.from_numpy(sprites[:_STANDARD]).float() / 127
            _keep(work, standardised(_averaged(work), standard), held_out)


def _averaged(work: Training) -> SpriteAutoencoder:
    found = SpriteAutoencoder()
    found.load_state_dict(work.average.values)
    return found.eval()


def _keep(work: Training, ready: SpriteAutoencoder, held_out: torch.Tensor) -> None:
    """Write the checkpoint with what may be used of it, and say how good that is."""
    work.keep(ready=ready.state_dict())
    decibels, close = quality(ready, held_out)
    print(f"{decibels:.1f} dB, {close:.1%} within 40 of 255", flush=True)


Redrawn = tuple[NDArray[np.float16], NDArray[np.float16], NDArray[np.int8]]
"""(n, 4, h, w) latents as they were drawn again, the true ones, and (n, 4, 2 h, 2 w) sprites."""


def train_decoder(
    team: Team,
    start: SpriteAutoencoder,
    sets: Sequence[tuple[int, Redrawn]],
    held_out: torch.Tensor,
    checkpoint: Path,
    budget: Budget,
) -> None:
    """Train the decoder alone, on latents as the denoiser draws them, or go on.

    What the denoiser leaves wrong is learnt to be put right: flat colours stay flat.

    Args:
        sets: redrawn examples, and how many of them to a batch of each worker; at every eighth step
            sets take turns, the other steps learn from the first.
        held_out: (n, 4, 32, 32) sprites to tell the quality of.
    """
    model = SpriteAutoencoder()
    model.load_state_dict(start.state_dict())
    for part in (model.take, model.down, model.encoder_mid, model.encoder_norm, model.encoder_out):
        part.requires_grad_(False)
    work = Training(
        team, model, budget, checkpoint, label="decoder", rate=_DECODER_RATE, decay=0.995
    )
    rng = np.random.default_rng([work.step, team.rank, 6])
    while work.share < 1.0:
        place = work.step // 8 % len(sets) if work.step % 8 == 0 else 0
        count, (drawn, true, sprites) = sets[place]
        picked = rng.integers(0, len(drawn), count)
        taken = rng.random(count) < _TRUE_SHARE
        chosen = np.where(taken[:, None, None, None], true[picked], drawn[picked])
        latents = torch.from_numpy(chosen).float()
        with torch.autocast("cpu", torch.bfloat16):
            restored = model.decode(latents + 0.02 * torch.randn_like(latents))
        work.learn(_error(restored.float(), torch.from_numpy(sprites[picked]).float() / 127))
        if (work.step % _KEPT == 0 or work.share >= 1.0) and team.leads:
            _keep(work, _averaged(work), held_out)


def _batch(sprites: NDArray[np.int8], rng: np.random.Generator, count: int) -> torch.Tensor:
    """Sprites mirrored, moved and with their colours exchanged: more than there are to see.

    What is under white has one level of grey, another one in each.
    """
    found = torch.from_numpy(sprites[rng.integers(0, len(sprites), count)]).float() / 127
    if rng.random() < 0.5:
        found = found.flip(3)
    if rng.random() < 0.3:
        found = found[:, torch.tensor([*rng.permutation(3), 3])]
    level = torch.from_numpy(rng.uniform(-1, 1, (count, 1, 1, 1)).astype(np.float32))
    found[:, :3] = torch.where(found[:, 3:] > 0, found[:, :3], level)
    moved = int(rng.integers(-3, 4)), int(rng.integers(-3, 4))
    return torch.roll(found, moved, (2, 3))


def _loss(model: SpriteAutoencoder, sprites: torch.Tensor, share: float) -> torch.Tensor:
    """Error of what is restored from latents with a little noise."""
    with torch.autocast("cpu", torch.bfloat16):
        latents = model.encode(sprites)
        spread = latents.detach().float().std(dim=(0, 2, 3), keepdim=True)
        # The denoiser is never exact: half of the sprites are restored from what is a little off.
        amount = 0.02 + _DENOISER_ERROR * share * torch.rand(len(sprites), 1, 1, 1)
        amount[::2] = 0.02
        restored = model.decode(latents + amount * spread * torch.randn(latents.shape))
    small: torch.Tensor = latents.float().square().sum(dim=(1, 2, 3)).mean()
    return _error(restored.float(), sprites) + 1e-8 * small


def _error(restored: torch.Tensor, sprites: torch.Tensor) -> torch.Tensor:
    """Of the colours on the sprite, of where it is, and a little of what is under white."""
    error = restored - sprites
    there = (sprites[:, 3:] > 0).float()
    colours = error[:, :3]
    on_sprite = (there.sum() * 3).clamp(min=1.0)
    return (
        (colours.abs() * there).sum() / on_sprite
        + 2 * (colours.square() * there).sum() / on_sprite
        + 0.3 * error[:, 3].abs().mean()
        + 0.1 * colours.abs().mean()
    )


@torch.no_grad()
def quality(model: SpriteAutoencoder, sprites: torch.Tensor) -> tuple[float, float]:
    """Signal to noise in dB of the sprites' pixels, and the share of them within 40 of 255."""
    there = sprites[:, 3] > 0
    restored = model.decode(model.encode(sprites))[:, :3].clamp(-1, 1)
    error = ((restored - sprites[:, :3]) * 127.5).permute(0, 2, 3, 1)[there]
    decibels = 10 * math.log10(255**2 / max(float(error.square().mean()), 1e-6))
    return decibels, float((error.abs().amax(1) <= 40).float().mean())


def load_sprite_autoencoder(checkpoint: Path) -> SpriteAutoencoder:
    """The averaged weights of a checkpoint, with latents of mean 0 and spread 1.

    Raises:
        FileNotFoundError: if the stage has not run.
    """
    stored = need_checkpoint(checkpoint, "autoencoder", "vae")
    model = SpriteAutoencoder()
    model.load_state_dict(stored["ready"])
    return model.eval()
