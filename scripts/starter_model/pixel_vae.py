"""An autoencoder without training: one latent pixel is one pixel of the sprite.

The four latent channels are red, green, blue and whether the pixel belongs to the sprite. Decoding
repeats each of them 8 times 8 (the picture of a 32x32 sprite has 256x256 pixels) and makes what
does not belong to the sprite exactly white; encoding takes the mean of 8x8 pixels and calls what is
nearly white background. So nothing is blurred, edges are hard, and training time goes to the
denoiser alone.

The weights are written down here, in the layout of `AutoencoderKL`, which diffusers and ComfyUI
load as they load any other. Two things of that layout stand in the way and are worked around:

- GroupNorm of 32 groups, here of three channels each, would take away brightness and contrast. A
  group of (x, -x, C) with a constant C far larger than x keeps them: its mean is C/3, and its
  spread depends on x by less than one part in a thousand.
- SiLU: silu(x) - silu(-x) is x.

Everything else of a residual block is zero, so its shortcut alone counts.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import nn

FACTOR = 8
"""Picture pixels to a latent pixel, each way."""

SCALING_FACTOR = 2.0
"""Colours spread by about 0.45 around 0; so much gives the denoiser about unit spread."""

WHITEST = 240
"""Whitest level of a sprite's pixel in training: above it the encoder begins to see background."""

PAINTED = 0.5
"""What the fourth channel is on the sprite; the opposite outside."""

_WIDTHS = (96, 32, 32, 96)
_GROUP = 3
"""Channels of a group: 96 in 32."""

_LARGE = 192.0
"""The constant of groups whose x is about -2 to 2."""

_EDGE, _STEEP = 0.05, 96.0
"""From which negative value of the fourth channel on a pixel is white, and how sharply (the slope
of what goes into SiLU)."""

_BEGINS, _WHITE = 0.90, 0.95
"""Mean of red, green and blue (-1 to 1) from which the encoder begins to see background, and where
it is sure; 240 of 255 is 0.88."""

_WHITE_LARGE, _WHITE_STEEP = 24.0, 200.0


def make_pixel_vae() -> AutoencoderKL:
    """The autoencoder, in fp32."""
    vae = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=_WIDTHS,
        layers_per_block=1,
        act_fn="silu",
        latent_channels=4,
        norm_num_groups=32,
        sample_size=256,
        scaling_factor=SCALING_FACTOR,
    )
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.zero_()
        _write_encoder(vae.encoder)
        _write_decoder(vae.decoder)
        for channel in range(4):
            vae.post_quant_conv.weight[channel, channel] = 1.0
            vae.quant_conv.weight[channel, channel] = 1.0
        vae.quant_conv.bias[4:] = -30.0  # the log variance: no noise
    return vae.eval().requires_grad_(False)


def _write_encoder(encoder: Any) -> None:
    """Means of 8x8 pixels, then the fourth channel from how white they are."""
    _same(encoder.conv_in, 3)
    for block in encoder.down_blocks[:-1]:
        for resnet in block.resnets:
            _shortcut(resnet, 3)
        # Its window starts at the pixel itself: the first two rows and columns are the block.
        half = block.downsamplers[0].conv
        for channel in range(3):
            half.weight[channel, channel, :2, :2] = 0.25
    pairs = encoder.down_blocks[-1].resnets[0].conv_shortcut
    _pairs(pairs, 3)
    pairs.bias[3 * _GROUP + 2] = _LARGE
    resnet = encoder.mid_block.resnets[0]
    for channel in range(3):
        _read(resnet.norm1, resnet.conv1, channel, {0: 1 / 3, 3: 1 / 3}, {1: -1 / 3, 4: -1 / 3})
    changes = {3 * channel: -1.0 for channel in range(3)} | {3 * c + 1: 1.0 for c in range(3)}
    changes |= {3 * _GROUP: 1.0, 3 * _GROUP + 1: -1.0}
    _step(resnet, (_BEGINS, _WHITE), _WHITE_LARGE, _WHITE_STEEP, changes)
    for channel in range(4):
        gain = -2.0 * PAINTED if channel == 3 else 1.0
        _read(encoder.conv_norm_out, encoder.conv_out, channel, {channel: gain}, {})
    encoder.conv_out.bias[3] = PAINTED


def _write_decoder(decoder: Any) -> None:
    """The fourth channel turns its pixels white, then every pixel is repeated."""
    _same(decoder.conv_in, 3)
    base = 3 * _GROUP
    decoder.conv_in.weight[base, 3, 1, 1] = 1.0
    decoder.conv_in.weight[base + 1, 3, 1, 1] = -1.0
    decoder.conv_in.bias[base + 2] = _LARGE
    resnet = decoder.mid_block.resnets[0]
    _read(resnet.norm1, resnet.conv1, 3, {0: -1.0, 3: -1.0}, {1: 1.0, 4: 1.0})
    _step(resnet, (0.0, _EDGE), _LARGE, _STEEP, dict.fromkeys(range(3), 2.0))
    for block in decoder.up_blocks:
        for resnet in block.resnets:
            _shortcut(resnet, 3)
        for double in block.upsamplers or ():
            _same(double.conv, 3)
    last = decoder.up_blocks[-1].resnets[0].conv_shortcut
    last.weight.zero_()
    _pairs(last, 3)
    for channel in range(3):
        _read(decoder.conv_norm_out, decoder.conv_out, channel, {channel: 1.0}, {})


def _same(conv: nn.Conv2d, channels: int) -> None:
    """Give the first channels on as they are."""
    for channel in range(channels):
        conv.weight[channel, channel, 1, 1] = 1.0


def _shortcut(resnet: Any, channels: int) -> None:
    """Give the first channels on where the block changes their number."""
    if resnet.conv_shortcut is not None:
        for channel in range(channels):
            resnet.conv_shortcut.weight[channel, channel] = 1.0


def _pairs(conv: nn.Conv2d, channels: int) -> None:
    """Make a group (x, -x, C) of each of the first channels."""
    assert conv.bias is not None
    conv.weight.zero_()
    for channel in range(channels):
        place = _GROUP * channel
        conv.weight[place, channel] = 1.0
        conv.weight[place + 1, channel] = -1.0
        conv.bias[place + 2] = _LARGE


def _plain(norm: nn.GroupNorm, group: int, large: float, gain: float) -> None:
    """Let x and -x of a group (x, -x, C) through, times ``gain``."""
    spread = large * math.sqrt(2.0) / 3.0
    place = _GROUP * group
    norm.weight[place : place + 2] = gain * spread
    norm.bias[place : place + 2] = gain * large / 3.0


def _read(
    norm: nn.GroupNorm,
    conv: nn.Conv2d,
    group: int,
    plus: dict[int, float],
    minus: dict[int, float],
) -> None:
    """Add x of a group, times the given numbers, to outputs of norm, SiLU and convolution.

    ``silu(x) - silu(-x)`` is x. ``minus`` is another table of the same kind.
    """
    _plain(norm, group, _LARGE, 1.0)
    for output, factor in (plus | minus).items():
        conv.weight[output, _GROUP * group, 1, 1] += factor
        conv.weight[output, _GROUP * group + 1, 1, 1] -= factor


def _step(
    resnet: Any,
    ends: tuple[float, float],
    large: float,
    steep: float,
    changes: dict[int, float],
) -> None:
    """Add ``changes`` times a ramp, from 0 to 1 between ``ends``, of what conv1 gives.

    conv1's first two groups hold (x, -x, C); the first gets the lower end, the second the upper.
    """
    for group, (end, sign) in enumerate(zip(ends, (1.0, -1.0), strict=True)):
        place = _GROUP * group
        resnet.conv1.bias[place] -= end
        resnet.conv1.bias[place + 1] += end
        resnet.conv1.bias[place + 2] = large
        _plain(resnet.norm2, group, large, steep)
        for output, amount in changes.items():
            factor = sign * amount / (steep * (ends[1] - ends[0]))
            resnet.conv2.weight[output, place, 1, 1] = factor
