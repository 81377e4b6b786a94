"""Where the parts of a model run and rest, and in which number formats."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from comfy_nodes.hardware import Device, resolve
from comfy_nodes.probe import this_device
from comfy_nodes.settings import (
    LoaderSettings,
    Offload,
    Precision,
)

from .handles import Part, Vae
from .tuning import set_memory_format, tune_unet

_log = logging.getLogger(__name__)

_CPU = torch.device("cpu")
_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def best_device() -> torch.device:
    """The accelerator where there is one, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("mps") if torch.backends.mps.is_available() else _CPU


@dataclass(frozen=True)
class Placement:
    """The device, and settings in which nothing is left open."""

    settings: LoaderSettings
    device: torch.device
    hardware: Device

    @classmethod
    def of(cls, settings: LoaderSettings, parameters: int) -> Placement:
        """For a UNet of that many parameters on this machine's best device.

        Says in the log what the machine cannot do and what is done instead; raises
        UnsupportedSetting there where the settings are strict.
        """
        device = best_device()
        hardware = this_device(device)
        resolved = resolve(settings, hardware, parameters)
        for note in resolved.notes:
            _log.warning("%s", note)
        return cls(resolved.settings, device, hardware)

    @property
    def dtype(self) -> torch.dtype:
        """In which the UNet and the text encoders compute."""
        if self.settings.precision is not Precision.FP8:
            return _DTYPES[self.settings.precision.value]
        if self.hardware.bf16:
            return torch.bfloat16
        return torch.float32 if self.hardware.on_cpu else torch.float16

    @property
    def vae_dtype(self) -> torch.dtype:
        """In which the VAE computes."""
        return _DTYPES[self.settings.vae_precision.value]

    @property
    def text_dtype(self) -> torch.dtype:
        """In which the text encoders compute; CPUs have no fast fp16."""
        kept_off = self.settings.offload is Offload.TEXT_ENCODER and not self.hardware.on_cpu
        return torch.float32 if kept_off and self.dtype is torch.float16 else self.dtype

    def unet(self, network: Any) -> Part:
        """A UNet that nothing else uses, tuned as the settings say."""
        tune_unet(network, self.settings)
        by_layer = self.settings.offload is Offload.SEQUENTIAL
        return Part(network, self.device, self._home, self.dtype, by_layer=by_layer)

    def vae(self, network: Any) -> Vae:
        """A VAE that nothing else uses. It is compiled only where a node asks for that alone."""
        settings = self.settings
        set_memory_format(network, settings.memory_format)
        return Vae(
            Part(network, self.device, self._home, self.vae_dtype),
            tiling=settings.vae_tiling,
            tile=settings.vae_tile,
            overlap=settings.vae_overlap,
            slicing=settings.vae_slicing,
        )

    def text_encoder(self, network: nn.Module) -> Part:
        """A text encoder, which may be kept off the accelerator altogether."""
        if self.settings.offload is Offload.TEXT_ENCODER:
            return Part(network, _CPU, _CPU, self.text_dtype)
        return Part(network, self.device, self._home, self.text_dtype)

    @property
    def _home(self) -> torch.device:
        away = self.settings.offload in (Offload.MODEL, Offload.SEQUENTIAL)
        return _CPU if away else self.device
