"""Settings for a MODEL or VAE that some other loader made.

What came in is used by others too, so it stays as it is: settings that stand on the object go onto
a clone, and those that change weights onto a copy of the network.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import comfy.sd
from comfy.ldm.modules.diffusionmodules.model import ResnetBlock
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from torch import nn

from ..errors import UnsupportedModel
from ..ops.dtypes import DTYPES
from ..ops.memory_format import has_memory_format
from ..placing import Dtype, PartPlacement
from ..settings import Compile, LoaderSettings
from . import storage, tuning
from .compat import is_dynamic
from .loaded_weights import set_dtypes
from .offloading import release, set_vae_offload
from .patching import plain_patcher_like
from .reloading import (
    PatcherInit,
    clone_over,
    load_again,
    patcher_init_of,
    set_patcher_init,
    without_dynamic,
)
from .vae_tuning import set_vae, store_network, store_vae, vae_fits


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
    dynamic = is_dynamic(model)
    found = tuning.place_here(settings, _count(network), dynamic=dynamic)
    shares = found.unet.in_dynamic_memory or (not dynamic and _fits(model, found.unet))
    tuned = model.clone() if shares else _with_weights(model, found.unet)
    tuning.tune_model(tuned, found)
    return tuned


def optimize_vae(vae: Any, settings: LoaderSettings) -> Any:
    """A VAE with these settings, of the same network where its weights fit them already."""
    if vae.latent_channels != 4 or vae.latent_dim != 2:
        raise UnsupportedModel(
            "SpriteworksOptimizeVAE works on Stable Diffusion's VAE, whose latents have 4 "
            f"channels, not {vae.latent_channels}."
        )
    dynamic = is_dynamic(vae.patcher)
    count = _count(vae.first_stage_model)
    placement = tuning.place_here(settings, count, dynamic=dynamic, vae_alone=True)
    found = placement.settings
    # A compiled network is another one, so that the VAE that came in is not compiled.
    fits = not dynamic and vae_fits(vae, placement.vae) and found.compile is Compile.OFF
    tuned = copy.copy(vae)
    if placement.vae.in_dynamic_memory or fits:
        tuned.patcher = vae.patcher.clone()
    else:
        _give_own_network(tuned, vae)
        store_vae(tuned, placement.vae)
        _compile_vae(tuned.first_stage_model, found)
        again = partial(_vae_again, placement.vae, found)
        _let_reload(tuned.patcher, again, patcher_init_of(vae.patcher))
    set_vae(tuned, found)
    set_vae_offload(tuned, placement.vae)
    return tuned


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _fits(model: Any, unet: PartPlacement) -> bool:
    """Whether the network's weights are as its placement says."""
    network = model.model.diffusion_model
    quantized = None if unet.quantized is None else DTYPES[unet.quantized]
    return (
        tuning.computed_by(model) is DTYPES[unet.dtype]
        and storage.is_stored_in_fp8(network) is (unet.stored is Dtype.FP8)
        and storage.quantization_of(network) is quantized
        and has_memory_format(network, unet.memory_format)
    )


def _with_weights(model: Any, unet: PartPlacement) -> Any:
    """The MODEL over a network of its own whose weights are stored as its placement says.

    LoRAs and whatever else was put on the MODEL come along.
    """
    if is_dynamic(model):
        tuned = without_dynamic(model, "SpriteworksOptimizeModel")
    else:
        release(model.model)  # which takes LoRAs out of the weights
        tuned = clone_over(model, _copied(model.model))
    _store(tuned, unet)
    _let_reload(tuned, partial(_model_again, unet), patcher_init_of(model))
    return tuned


def _copied(network: Any) -> Any:
    """A copy of a UNet around which ComfyUI's own objects are those of the original.

    A config that is copied answers None to every question from 0.4 on, and so breaks the copying.
    """
    shared = (network.model_config, getattr(network, "current_patcher", None))
    return copy.deepcopy(network, {id(one): one for one in shared if one is not None})


def _store(tuned: Any, unet: PartPlacement) -> None:
    """Weights of a MODEL that nothing else uses, and the arithmetic with them, in one format."""
    model = tuned.model
    network, dtype = model.diffusion_model, DTYPES[unet.dtype]
    storage.widen(network, dtype)
    network.dtype = dtype
    # As for a loader: fp16 is computed in fp32 where there is no fast fp16.
    model.manual_cast_dtype = None if unet.computed is unet.dtype else DTYPES[unet.computed]
    for module in network.modules():
        if hasattr(module, "comfy_cast_weights"):
            module.comfy_cast_weights = False
    set_dtypes(network, computed=model.manual_cast_dtype or dtype, stored=dtype)
    storage.store(network, unet)
    tuned.size = 0  # to be counted again


def _let_reload(patcher: Any, again: Callable[..., Any], init: PatcherInit | None) -> None:
    """Lets ComfyUI load this once more, stored as here, where it could load the original."""
    if init is not None:
        set_patcher_init(patcher, again, init)


def _model_again(unet: PartPlacement, init: PatcherInit, disable_dynamic: bool = False) -> Any:
    """What ComfyUI asks for on another GPU: the model from its file, stored as here."""
    other = load_again(init)
    _store(other, unet)
    return other


def _vae_again(
    placement: PartPlacement,
    settings: LoaderSettings,
    init: PatcherInit,
    disable_dynamic: bool = False,
) -> Any:
    """What ComfyUI asks for on another GPU: the VAE's network from its file, stored as here."""
    other = load_again(init)
    store_network(other.model, placement)
    _compile_vae(other.model, settings)
    other.size = 0  # to be counted again
    return other


def _give_own_network(tuned: Any, vae: Any) -> None:
    if is_dynamic(vae.patcher) and patcher_init_of(vae.patcher) is not None:
        tuned.patcher = without_dynamic(vae.patcher, "SpriteworksOptimizeVAE")
        tuned.first_stage_model = tuned.patcher.model
        return
    release(vae.first_stage_model)
    if is_dynamic(vae.patcher):  # before 0.24 no VAE can be loaded again
        tuned.first_stage_model = comfy.sd.VAE(sd=vae.get_sd()).first_stage_model
    else:
        tuned.first_stage_model = copy.deepcopy(vae.first_stage_model)
    tuned.patcher = plain_patcher_like(vae.patcher, tuned.first_stage_model)


def _compile_vae(network: Any, settings: LoaderSettings) -> None:
    """Compiles this network's own calls for good: nobody else has it."""
    if settings.compile is Compile.OFF:
        return
    mode = settings.torch_compile_mode
    if settings.compile is Compile.WHOLE:
        parts = [network.encoder, network.decoder]
    else:
        parts = [module for module in network.modules() if isinstance(module, ResnetBlock)]
    for part in parts:
        part.compile(mode=mode)
