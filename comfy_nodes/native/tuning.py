"""Applies a loader's settings to the one model they were given for, never to the process."""

from __future__ import annotations

import logging
from typing import Any

import comfy.model_management as management
import torch

from ..hardware import Device, computed_in, resolve
from ..probe import this_device
from ..settings import LoaderSettings, Offload, Precision
from .attention import set_attention
from .compiling import set_compile
from .dynamic import Kept
from .formats import settle
from .offloading import set_clip_offload, set_model_offload, set_vae_offload
from .running import set_running
from .storage import store
from .vae_tuning import DTYPES as VAE_DTYPES
from .vae_tuning import set_vae, store_vae

_log = logging.getLogger(__name__)

_DTYPES = {
    Precision.FP32: torch.float32,
    Precision.FP16: torch.float16,
    Precision.BF16: torch.bfloat16,
}


def hardware() -> Device:
    """The device that ComfyUI computes on."""
    return this_device(management.get_torch_device())


def resolved(
    settings: LoaderSettings, parameters: int, *, keeps_weights: bool = False
) -> LoaderSettings:
    """The settings for a UNet of that many parameters on this machine.

    `keeps_weights`: they stay as ComfyUI has them, in dynamic memory. Says in the log what the
    machine cannot do and what is done instead; raises UnsupportedSetting there where the settings
    are strict.
    """
    found = resolve(
        settings,
        hardware(),
        parameters,
        host_manages_memory=True,
        host_keeps_weights=keeps_weights,
    )
    for note in found.notes:
        _log.warning("%s", note)
    return found.settings


def unet_dtype(settings: LoaderSettings) -> torch.dtype:
    """Number format that the UNet computes in; 8-bit weights are widened to it."""
    return _DTYPES[computed_in(settings, hardware())]


def vae_dtype(settings: LoaderSettings) -> torch.dtype:
    """Number format of the VAE."""
    return VAE_DTYPES[settings.vae_precision]


def text_options(settings: LoaderSettings) -> dict[str, Any]:
    """Options for ComfyUI's CLIP: number format and devices."""
    options: dict[str, Any] = {"dtype": unet_dtype(settings)}
    if settings.offload is Offload.TEXT_ENCODER:
        options["load_device"] = options["offload_device"] = torch.device("cpu")
    return options


def tune(model: Any, clip: Any, vae: Any, settings: LoaderSettings, keeps: Kept) -> None:
    """Applies resolved settings to what a loader has just made, and nothing else uses.

    `keeps`: the parts whose weights stay in dynamic memory, in the formats of their files.
    """
    set_arithmetic(model, settings)
    network, dtype = model.model.diffusion_model, unet_dtype(settings)
    settle(network, computed=computed_by(model), stored=None if keeps.model else dtype)
    settle(clip.cond_stage_model, computed=None, stored=None if keeps.model else dtype)
    if not keeps.model:
        store(network, settings)
    model.size = clip.patcher.size = 0  # to be counted again
    tune_model(model, settings)
    store_vae(vae, settings, keeps_weights=keeps.vae)
    set_vae(vae, settings)
    set_clip_offload(clip, settings.offload)
    set_vae_offload(vae, settings.offload)


def computed_by(model: Any) -> torch.dtype:
    """Number format that this MODEL's UNet computes in."""
    dtype: torch.dtype = model.model.manual_cast_dtype or model.model.get_dtype()
    return dtype


def tune_model(model: Any, settings: LoaderSettings) -> None:
    """What stands on the MODEL object and leaves the network's weights as they are."""
    set_attention(model, settings)
    set_running(model, settings)  # outside of the compiled part
    set_compile(model, settings)
    set_model_offload(model, settings.offload)


def set_arithmetic(model: Any, settings: LoaderSettings) -> None:
    """Makes this model's UNet compute in bf16 when that was asked for.

    On a CPU the host would store bf16 and compute in fp32. fp16 is left to the host: where a
    device has no fast fp16 (every CPU), it is stored so and computed in fp32.
    """
    if unet_dtype(settings) is torch.bfloat16:
        model.model.manual_cast_dtype = None
