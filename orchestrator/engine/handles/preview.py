"""A rough picture of a latent while it is sampled, cheap enough to make at every step.

A linear map from the latent's channels to RGB, fitted to the model's own VAE, so that it is
right for any model (the starter's latents mean something else than Stable Diffusion's).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
from PIL import Image

# Latents on which the map is fitted; 16 x 16 = 256 equations for 5 unknowns, one cheap decode.
_FIT_SIDE = 16


class Previewer:
    """Shows latents as small pictures, one pixel a latent cell."""

    def __init__(self, decode: Callable[[torch.Tensor], torch.Tensor], channels: int) -> None:
        """`decode`: UNet-side latents [B, C, h, w] to pictures [B, 3, H, W] in 0..1."""
        self._decode = decode
        self._channels = channels

    @cached_property
    def _map(self) -> torch.Tensor:
        """[C + 1, 3], the last row the offset; fitted at the first use."""
        generator = torch.Generator().manual_seed(0)
        latents = torch.randn((1, self._channels, _FIT_SIDE, _FIT_SIDE), generator=generator)
        pictures = torch.nn.functional.interpolate(
            self._decode(latents).float().cpu(), size=(_FIT_SIDE, _FIT_SIDE), mode="area"
        )
        return torch.linalg.lstsq(_rows(latents), _rows(pictures)[:, :3]).solution

    def picture(self, latents: torch.Tensor) -> Image.Image:
        """The first image of UNet-side latents [B, C, h, w] as RGB of w x h pixels."""
        first = latents[:1].float().cpu()
        colours = (_rows(first) @ self._map).reshape(*first.shape[-2:], 3)
        return Image.fromarray(colours.clamp(0, 1).mul(255).to(torch.uint8).numpy())


def _rows(tensor: torch.Tensor) -> torch.Tensor:
    """[1, C, h, w] as rows of channels with a 1 appended: [h * w, C + 1]."""
    flat = tensor[0].flatten(1).T
    return torch.cat([flat, torch.ones(len(flat), 1)], dim=1)
