"""Where the parts of one model wait while they are not in use."""

from __future__ import annotations

import weakref
from typing import Any

import comfy.model_management as management
import comfy.patcher_extension
import torch

from ..placing import PartPlacement, Where

_KEY = "spriteworks_offload"
_CPU = torch.device("cpu")


def set_model_offload(model: Any, unet: PartPlacement) -> None:
    """For the UNet of one MODEL."""
    kind = comfy.patcher_extension.WrappersMP.OUTER_SAMPLE
    model.remove_wrappers_with_key(kind, _KEY)
    _set_home(model, unet)
    _set_sequential(model, unet.by_layer)
    if unet.released:
        model.add_wrapper_with_key(kind, _KEY, _then_release)


def set_clip_offload(clip: Any, text: PartPlacement) -> None:
    """For the text encoder. That it lives on the CPU is said where it is made."""
    _set_home(clip.patcher, text)
    if text.released:
        _release_after(clip.cond_stage_model, "encode_token_weights", clip.cond_stage_model)


def set_vae_offload(vae: Any, placement: PartPlacement) -> None:
    """For the VAE."""
    _set_home(vae.patcher, placement)
    if placement.released:
        _release_after(vae, "decode", vae.first_stage_model)
        _release_after(vae, "encode", vae.first_stage_model)


def release(network: Any) -> None:
    """Moves the weights of this network to their offload device, whoever loaded them."""
    for loaded in list(management.current_loaded_models):
        if loaded.model is not None and loaded.model.model is network:
            loaded.model_unload()
            management.current_loaded_models.remove(loaded)


def _set_home(patcher: Any, part: PartPlacement) -> None:
    if part.home is not None:
        patcher.offload_device = _CPU if part.home is Where.CPU else patcher.load_device


def _set_sequential(model: Any, by_layer: bool) -> None:
    """Makes ComfyUI load none of this UNet's layers: each fetches its weights when it computes.

    ComfyUI does so itself, for as many layers as do not fit; here it is told that none does.
    """
    is_set = issubclass(type(model), _Sequential)
    if by_layer and not is_set:
        host = type(model)
        model.__class__ = type(f"Sequential{host.__name__}", (_Sequential, host), {})
    elif is_set and not by_layer:
        model.__class__ = type(model).__mro__[2]


class _Sequential:
    """What a MODEL that is offloaded sequentially does otherwise. Clones keep it."""

    def partially_load(self, device_to: Any, extra_memory: Any = 0, **options: Any) -> Any:
        """Loads nothing, however much room there is."""
        # 0 would mean "no limit" to ComfyUI.
        return super().partially_load(device_to, 0.1, **options)  # type: ignore[misc]


def _then_release(executor: Any, *args: Any, **options: Any) -> Any:
    """Around sampling: gives the UNet's memory back afterwards, also after an error."""
    try:
        return executor(*args, **options)
    finally:
        release(executor.class_obj.model_patcher.model)


def _release_after(owner: Any, method: str, network: Any) -> None:
    """Makes a method of this one object give the network's memory back when it is done.

    Holds both weakly: the object will hold what is made here, and a circle would keep gigabytes
    alive until the garbage collector comes by.
    """
    work = getattr(type(owner), method)
    me, weights = weakref.ref(owner), weakref.ref(network)

    def then_release(*args: Any, **options: Any) -> Any:
        try:
            return work(me(), *args, **options)
        finally:
            release(weights())

    setattr(owner, method, then_release)
