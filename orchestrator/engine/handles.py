"""What travels between nodes as MODEL, CLIP and VAE: frozen handles on diffusers objects.

A handle is never changed in place. What alters a model (a LoRA, a seed batch, clip skip) makes
a new handle, so a cached node output stays what it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from comfy_nodes.models import Family
from comfy_nodes.profiles import ModelProfile
from comfy_nodes.settings import VaeTiling

from .preview import Previewer
from .schedules import NoiseTable

# Latents are an eighth of the picture's width and height in every Stable Diffusion.
LATENT_FACTOR = 8


@dataclass(frozen=True, eq=False)
class Part:
    """A network, and where it runs and rests."""

    # a diffusers or transformers network
    module: Any
    # where it computes
    device: torch.device
    # where it goes after each use; the same as `device` for one that stays
    home: torch.device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights, which is the type it computes in."""
        dtype: torch.dtype = next(self.module.parameters()).dtype
        return dtype

    @contextmanager
    def ready(self) -> Iterator[Any]:
        """The module on its device, without gradients; it goes home afterwards."""
        self.module.to(self.device)
        try:
            with torch.inference_mode():
                yield self.module
        finally:
            if self.home != self.device:
                self.module.to(self.home)


@dataclass(frozen=True, eq=False)
class Model:
    """MODEL: the denoiser with everything that sampling needs to know about it."""

    unet: Part
    table: NoiseTable
    family: Family
    # what the VAE's latents are multiplied by before the UNet sees them
    latent_scale: float
    profile: ModelProfile
    previewer: Previewer | None = None
    # from SpriteworksSeedBatch: image i has this seed + i; None: the sampler node's own seed
    first_seed: int | None = None


@dataclass(frozen=True, eq=False)
class TextEncoder:
    """One text encoder with its tokenizer and the layer that it gives."""

    part: Part
    # a transformers CLIPTokenizer
    tokenizer: Any
    # None: the last layer, normed; -2: the last but one; as counted from the end
    layer: int | None
    # whether the final layer norm is applied to a layer taken from inside
    norm_inner: bool
    # the key of its vectors in an embedding file: clip_l, clip_h or clip_g
    key: str


@dataclass(frozen=True, eq=False)
class Clip:
    """CLIP: the text encoders, one or two, whose outputs are joined."""

    encoders: tuple[TextEncoder, ...]
    # CLIPSetLastLayer's choice for every encoder; None: each its own
    layer: int | None = None
    # folders in which `embedding:name` in a text is looked for
    embeddings: tuple[Path, ...] = ()


@dataclass(frozen=True, eq=False)
class Vae:
    """VAE: pictures to latents and back."""

    part: Part
    tiling: VaeTiling = VaeTiling.AUTO


@dataclass(frozen=True, eq=False)
class Loaded:
    """What a loader gives."""

    model: Model
    clip: Clip
    vae: Vae
    profile: ModelProfile
