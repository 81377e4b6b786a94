"""What travels between nodes as MODEL, CLIP and VAE: frozen handles on diffusers objects.

A handle is never changed in place. What alters a model (a LoRA, a seed batch, clip skip) makes
a new handle, so a cached node output stays what it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from comfy_nodes.models import Family
from comfy_nodes.profiles import ModelProfile
from comfy_nodes.settings import LoaderSettings

from .blocks import stoppable
from .noise_table import NoiseTable
from .offloading import lent, lent_by_layer
from .preview import Previewer

# Latents are an eighth of the picture's width and height in every Stable Diffusion.
LATENT_FACTOR = 8


@dataclass(frozen=True, eq=False)
class Part:
    """A network, and where it runs and rests."""

    # a diffusers or transformers network
    module: Any
    # where it computes
    device: torch.device
    # where it rests between uses; the same as `device` for one that stays
    home: torch.device
    # the type that it computes in
    dtype: torch.dtype
    # the narrower type in which its large weights are stored; None: they are not
    storage: torch.dtype | None = None
    # the 8-bit type of its linear layers' weights, with a scale for each row; None: they are not
    quantized: torch.dtype | None = None
    # whether its layers come to the device one by one, each for its own turn only
    by_layer: bool = False

    @contextmanager
    def ready(self) -> Iterator[Any]:
        """The module on its device, without gradients; it is home again afterwards.

        Its blocks ask whether the run is to stop, and raise InterruptedByUser.
        """
        with self._on_device(), torch.inference_mode(), stoppable(self.module):
            yield self.module

    @contextmanager
    def _on_device(self) -> Iterator[None]:
        self.module.to(self.home)  # the first time only; afterwards nothing moves
        if self.home == self.device:
            yield
            return
        lend = lent_by_layer if self.by_layer else lent
        with lend(self.module, self.device):
            yield


@dataclass(frozen=True, eq=False)
class Model:
    """MODEL: the denoiser with everything that sampling needs to know about it."""

    unet: Part
    table: NoiseTable
    family: Family
    # what the VAE's latents are multiplied by before the UNet sees them
    latent_scale: float
    profile: ModelProfile
    # resolved for the device: what the sampler has to heed of them, and LoRAs to apply again
    settings: LoaderSettings = field(default_factory=LoaderSettings)
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
    # resolved for the device
    settings: LoaderSettings = field(default_factory=LoaderSettings)


@dataclass(frozen=True, eq=False)
class Loaded:
    """What a loader gives."""

    model: Model
    clip: Clip
    vae: Vae
    profile: ModelProfile
