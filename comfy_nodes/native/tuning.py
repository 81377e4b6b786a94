"""Applies a loader's settings to the one model they were given for, never to the process."""

from __future__ import annotations

import logging
from typing import Any

import comfy.model_management as management
import torch

from ..hardware import Device
from ..ops.dtypes import DTYPES
from ..placing import Dtype, Memory, PartPlacement, Placement, Where, place
from ..probe import this_device
from ..settings import LoaderSettings
from .attention import set_attention
from .compat import host
from .compiling import set_compile
from .loaded_weights import set_dtypes
from .offloading import set_clip_offload, set_model_offload, set_vae_offload
from .running import set_running
from .storage import store
from .vae_tuning import set_vae, store_vae

_log = logging.getLogger(__name__)


def hardware() -> Device:
    """The device that ComfyUI computes on."""
    return this_device(management.get_torch_device())


def place_loaded(settings: LoaderSettings, parameters: int, *, dynamic: bool) -> Placement:
    """The placement of a model that is being loaded, with a UNet of that many parameters.

    `dynamic`: into dynamic memory, where ComfyUI has it and the settings allow it; what gives it up
    is said in the log. Raises as `place_here`.
    """
    found = place_here(settings, parameters, dynamic=dynamic and host().dynamic)
    if found.without_dynamic_memory:
        _log.info("%s", found.without_dynamic_memory)
    return found


def place_here(
    settings: LoaderSettings, parameters: int, *, dynamic: bool, vae_alone: bool = False
) -> Placement:
    """The placement on this machine, of weights that are in dynamic memory or not.

    Says in the log what the machine cannot do and what is done instead; raises UnsupportedSetting
    there where the settings are strict.
    """
    memory = Memory.DYNAMIC if dynamic else Memory.MANAGED
    found = place(settings, hardware(), parameters, memory, vae_alone=vae_alone)
    for note in found.notes:
        _log.warning("%s", note)
    return found


def text_options(text: PartPlacement) -> dict[str, Any]:
    """Options for ComfyUI's CLIP: number format and devices."""
    options: dict[str, Any] = {"dtype": DTYPES[text.dtype]}
    if text.device is Where.CPU:
        options["load_device"] = options["offload_device"] = torch.device("cpu")
    return options


def tune(model: Any, clip: Any, vae: Any, placement: Placement) -> None:
    """Carries out the placement on what a loader has just made, and nothing else uses."""
    set_arithmetic(model, placement.unet)
    network, dtype = model.model.diffusion_model, DTYPES[placement.unet.dtype]
    stays = placement.unet.in_dynamic_memory
    set_dtypes(network, computed=computed_by(model), stored=None if stays else dtype)
    text = placement.text
    kept = text.in_dynamic_memory
    set_dtypes(clip.cond_stage_model, computed=None, stored=None if kept else DTYPES[text.dtype])
    if not stays:
        store(network, placement.unet)
    model.size = clip.patcher.size = 0  # to be counted again
    tune_model(model, placement)
    store_vae(vae, placement.vae)
    set_vae(vae, placement.settings)
    set_clip_offload(clip, text)
    set_vae_offload(vae, placement.vae)


def computed_by(model: Any) -> torch.dtype:
    """Number format that this MODEL's UNet computes in."""
    dtype: torch.dtype = model.model.manual_cast_dtype or model.model.get_dtype()
    return dtype


def tune_model(model: Any, placement: Placement) -> None:
    """What stands on the MODEL object and leaves the network's weights as they are."""
    settings = placement.settings
    set_attention(model, settings)
    set_running(model, settings)  # outside of the compiled part
    set_compile(model, settings)
    set_model_offload(model, placement.unet)


def set_arithmetic(model: Any, unet: PartPlacement) -> None:
    """Makes this model's UNet compute in bf16 when that was asked for.

    On a CPU the host would store bf16 and compute in fp32. fp16 is left to the host: where a
    device has no fast fp16 (every CPU), it is stored so and computed in fp32.
    """
    if unet.dtype is Dtype.BF16:
        model.model.manual_cast_dtype = None
