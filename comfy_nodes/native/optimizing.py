"""Settings for a MODEL or VAE that some other loader made.

What came in is used by others too, so it stays as it is: settings that stand on the object go onto
a clone, and those that change weights onto a copy of the network.
"""

from __future__ import annotations

import copy
from typing import Any

import comfy.model_patcher
import comfy.sd
import torch
from comfy.ldm.modules.diffusionmodules.model import ResnetBlock
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from torch import nn

from ..errors import UnsupportedModel
from ..ops.memory_format import has_memory_format
from ..settings import Compile, CompileMode, LoaderSettings, Precision
from . import storage, tuning
from .compat import is_dynamic
from .offloading import release, set_vae_offload
from .vae_tuning import set_vae, vae_fits


def optimize_model(model: Any, settings: LoaderSettings) -> Any:
    """A MODEL with these settings, of the same network where its weights fit them already.

    Settings on auto are chosen for this machine. Raises UnsupportedSetting when strict,
    UnsupportedModel for other kinds than Stable Diffusion's UNet.
    """
    network: Any = model.model.diffusion_model
    if not isinstance(network, UNetModel):
        raise UnsupportedModel(
            f"SpriteworksOptimizeModel works on Stable Diffusion's UNet, not on "
            f"{type(network).__name__}."
        )
    settings = tuning.resolved(settings, _count(network))
    tuned = model.clone() if _fits(model, settings) else _with_weights(model, settings)
    tuning.tune_model(tuned, settings)
    return tuned


def optimize_vae(vae: Any, settings: LoaderSettings) -> Any:
    """A VAE with these settings, of the same network where its weights fit them already."""
    if vae.latent_channels != 4 or vae.latent_dim != 2:
        raise UnsupportedModel(
            "SpriteworksOptimizeVAE works on Stable Diffusion's VAE, whose latents have 4 "
            f"channels, not {vae.latent_channels}."
        )
    settings = tuning.resolved(settings, _count(vae.first_stage_model))
    tuned = copy.copy(vae)
    # A compiled network is another one, so that the VAE that came in is not compiled.
    if vae_fits(vae, settings) and settings.compile is Compile.OFF:
        tuned.patcher = vae.patcher.clone()
    else:
        release(vae.first_stage_model)
        tuned.first_stage_model = copy.deepcopy(vae.first_stage_model)
        tuned.patcher = _patcher(vae.patcher, tuned.first_stage_model)
    set_vae(tuned, settings)
    _compile_vae(tuned.first_stage_model, settings)
    set_vae_offload(tuned, settings.offload)
    return tuned


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _fits(model: Any, settings: LoaderSettings) -> bool:
    """Whether the network's weights are stored as the settings say."""
    network = model.model.diffusion_model
    return (
        _computes_in(model) is tuning.unet_dtype(settings)
        and storage.is_stored_in_fp8(network) is (settings.precision is Precision.FP8)
        and storage.quantization_of(network) is settings.quantization
        and has_memory_format(network, settings.memory_format)
    )


def _computes_in(model: Any) -> torch.dtype:
    dtype: torch.dtype = model.model.manual_cast_dtype or model.model.get_dtype()
    return dtype


def _with_weights(model: Any, settings: LoaderSettings) -> Any:
    """The MODEL over a copy of its network whose weights are stored as the settings say.

    LoRAs and whatever else was put on the MODEL come along.
    """
    if is_dynamic(model):
        raise UnsupportedModel(
            "This model was loaded with ComfyUI's dynamic memory, which keeps its weights as they "
            "are in the file: load it with a Spriteworks loader for another precision, "
            "quantization or memory_format, or start ComfyUI with --disable-dynamic-vram."
        )
    release(model.model)  # which takes LoRAs out of the weights
    tuned = model.clone()
    tuned.model = copy.deepcopy(model.model)
    # Both belong to the weights that were left behind.
    tuned.backup, tuned.object_patches_backup, tuned.parent = {}, {}, None
    network = tuned.model.diffusion_model
    _cast(tuned.model, tuning.unet_dtype(settings))
    storage.store(network, settings)
    tuned.size = 0  # to be counted again
    return tuned


def _cast(model: Any, dtype: torch.dtype) -> None:
    """Weights of a copied network, and the arithmetic with them, in one number format."""
    network = model.diffusion_model
    storage.widen(network, dtype)
    network.dtype = dtype
    device = tuning.hardware()
    # As for a loader: fp16 is computed in fp32 where there is no fast fp16.
    model.manual_cast_dtype = torch.float32 if device.on_cpu and dtype is torch.float16 else None
    for module in network.modules():
        if hasattr(module, "comfy_cast_weights"):
            module.comfy_cast_weights = model.manual_cast_dtype is not None


def _patcher(old: Any, network: nn.Module) -> Any:
    return comfy.model_patcher.ModelPatcher(
        network, load_device=old.load_device, offload_device=old.offload_device
    )


def _compile_vae(network: Any, settings: LoaderSettings) -> None:
    """Compiles this network's own calls for good: nobody else has it."""
    if settings.compile is Compile.OFF:
        return
    mode = None if settings.compile_mode is CompileMode.DEFAULT else settings.compile_mode.value
    if settings.compile is Compile.WHOLE:
        parts = [network.encoder, network.decoder]
    else:
        parts = [module for module in network.modules() if isinstance(module, ResnetBlock)]
    for part in parts:
        part.compile(mode=mode)
