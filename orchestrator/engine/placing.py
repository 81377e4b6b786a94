"""A loader's settings applied to diffusers objects: number formats, devices, attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from comfy_nodes.settings import Attention, LoaderSettings, Offload, Precision

from .handles import Part

_CPU = torch.device("cpu")


def best_device() -> torch.device:
    """The accelerator where there is one, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps") if torch.backends.mps.is_available() else _CPU


@dataclass(frozen=True)
class Placement:
    """Where the parts of one model run and rest, and in which number formats."""

    settings: LoaderSettings
    device: torch.device

    @property
    def dtype(self) -> torch.dtype:
        """Of the UNet and the text encoders."""
        auto = torch.float32 if self.device.type == "cpu" else torch.float16
        asked = {
            Precision.FP32: torch.float32,
            Precision.FP16: torch.float16,
            Precision.BF16: torch.bfloat16,
        }
        return asked.get(self.settings.precision, auto)

    @property
    def vae_dtype(self) -> torch.dtype:
        """Of the VAE; never fp16, in which SDXL's overflows."""
        if self.dtype is not torch.float16:
            return self.dtype
        wide = self.device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if wide else torch.float32

    def unet(self, network: Any) -> Part:
        """The UNet, with the attention that was asked for."""
        if self.settings.attention is Attention.SLICED:
            from diffusers.models.attention_processor import SlicedAttnProcessor

            network.set_attn_processor(SlicedAttnProcessor(slice_size=1))
        return self.vae(network)

    def vae(self, network: nn.Module) -> Part:
        """The VAE."""
        rests = _CPU if self.settings.offload is Offload.MODEL else self.device
        return Part(network, self.device, rests)

    def text_encoder(self, network: nn.Module) -> Part:
        """A text encoder, which may be kept off the accelerator altogether."""
        if self.settings.offload is Offload.TEXT_ENCODER:
            return Part(network, _CPU, _CPU)
        return self.vae(network)
