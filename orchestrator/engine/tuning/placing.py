"""Where the parts of a model run and rest, and in which number formats."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from comfy_nodes.hardware import Device, computed_in, resolve
from comfy_nodes.ops.memory_format import set_memory_format
from comfy_nodes.probe import this_device
from comfy_nodes.settings import (
    LoaderSettings,
    Offload,
    Precision,
)

from ...errors import UsageError
from ..handles.handles import Part, Vae
from .storage import FP8, narrow
from .tuning import tune_unet

_log = logging.getLogger(__name__)

_CPU = torch.device("cpu")
_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


# Which device to use, where a person says so: cpu, cuda or mps.
DEVICE = "SPRITEWORKS_DEVICE"


def best_device() -> torch.device:
    """The device that a person chose, else the accelerator where there is one, else the CPU.

    Raises UsageError where the one that was chosen is not there.
    """
    wanted = os.environ.get(DEVICE, "")
    there = {
        "": True,
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there.get(wanted, False):
        raise UsageError(f"there is no device {wanted!r} on this machine that torch can use")
    if wanted == "cpu":
        return _CPU
    if wanted == "mps":
        return torch.device("mps")
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
        """In which the UNet computes."""
        return _computed(self._large, self.device)

    @property
    def vae_dtype(self) -> torch.dtype:
        """In which the VAE computes."""
        return _computed(_DTYPES[self.settings.vae_precision.value], self.device)

    @property
    def text_dtype(self) -> torch.dtype:
        """In which the text encoders compute."""
        return _computed(self._large, self._text_device)

    @property
    def _large(self) -> torch.dtype:
        """The precision that was asked for, without 8 bits: nothing computes in those."""
        return _DTYPES[computed_in(self.settings, self.hardware).value]

    @property
    def _text_device(self) -> torch.device:
        return _CPU if self.settings.offload is Offload.TEXT_ENCODER else self.device

    def unet(self, network: Any) -> Part:
        """A UNet that nothing else uses, tuned as the settings say."""
        asked = FP8 if self.settings.precision is Precision.FP8 else self._large
        part = Part(
            network,
            self.device,
            self._home,
            self.dtype,
            storage=_stored(asked, self.dtype),
            by_layer=self.settings.offload is Offload.SEQUENTIAL,
        )
        tune_unet(network, self.settings, part.storage)
        return part

    def vae(self, network: Any) -> Vae:
        """A VAE that nothing else uses. It is compiled only where a node asks for that alone."""
        settings = self.settings
        storage = _stored(_DTYPES[settings.vae_precision.value], self.vae_dtype)
        if storage:
            narrow(network, storage)
        set_memory_format(network, settings.memory_format)
        return Vae(
            Part(network, self.device, self._home, self.vae_dtype, storage),
            tiling=settings.vae_tiling,
            tile=settings.vae_tile,
            overlap=settings.vae_overlap,
            slicing=settings.vae_slicing,
            cpu_kernels=settings.cpu_kernels,
        )

    def text_encoder(self, network: nn.Module) -> Part:
        """A text encoder, which may be kept off the accelerator altogether."""
        device = self._text_device
        storage = _stored(self._large, self.text_dtype)
        if storage:
            narrow(network, storage)
        home = self._home if device == self.device else device
        return Part(network, device, home, self.text_dtype, storage)

    @property
    def _home(self) -> torch.device:
        away = self.settings.offload in (Offload.MODEL, Offload.SEQUENTIAL)
        return _CPU if away else self.device


def _computed(asked: torch.dtype, device: torch.device) -> torch.dtype:
    """CPUs compute in fp16 so slowly (one VAE pass in minutes) that fp32 is done instead."""
    return torch.float32 if asked is torch.float16 and device.type == "cpu" else asked


def _stored(asked: torch.dtype, computed: torch.dtype) -> torch.dtype | None:
    return None if asked is computed else asked
