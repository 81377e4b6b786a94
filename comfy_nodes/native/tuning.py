"""Applies a loader's settings to the one model they were given for, never to the process."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import comfy.ldm.modules.attention as host_attention
import comfy.model_management as management
import comfy.patcher_extension
import torch

from ..settings import Attention, LoaderSettings, Offload, Precision

_DTYPES = {
    Precision.FP32: torch.float32,
    Precision.FP16: torch.float16,
    Precision.BF16: torch.bfloat16,
}
_KEY = "spriteworks"


def unet_dtype(precision: Precision, parameters: int, stored: torch.dtype | None) -> torch.dtype:
    """Number format of the UNet's weights, `stored` being the file's."""
    if precision in _DTYPES:
        return _DTYPES[precision]
    if _on_cpu():
        return torch.float32
    chosen: torch.dtype = management.unet_dtype(model_params=parameters, weight_dtype=stored)
    return chosen


def set_arithmetic(model: Any, precision: Precision) -> None:
    """Makes this model's UNet compute in bf16 when that was asked for.

    On a CPU the host would store bf16 and compute in fp32. Measured on two cores with AVX-512, one
    SD 1.5 pass takes 5.9 s in bf16 and 9.8 s in fp32. fp16 is left to the host: where a device
    has no fast fp16 (every CPU), it is stored so and computed in fp32.
    """
    if precision is Precision.BF16:
        model.model.manual_cast_dtype = None


def text_dtype(precision: Precision) -> torch.dtype | None:
    """Number format of the text encoder; None leaves it to the host, whose choice is fp16."""
    return _DTYPES.get(precision, torch.float32 if _on_cpu() else None)


def vae_dtype(precision: Precision) -> torch.dtype | None:
    """Number format of the VAE; None leaves it to the host.

    fp16 leaves it too: SDXL's VAE overflows in fp16, and the host knows.
    """
    if precision is Precision.AUTO:
        return torch.float32 if _on_cpu() else None
    return None if precision is Precision.FP16 else _DTYPES[precision]


def text_options(settings: LoaderSettings) -> dict[str, Any]:
    """Options for ComfyUI's CLIP: number format and devices."""
    options: dict[str, Any] = {}
    dtype = text_dtype(settings.precision)
    if dtype is not None:
        options["dtype"] = dtype
    if settings.offload is Offload.TEXT_ENCODER:
        options["load_device"] = options["offload_device"] = torch.device("cpu")
    return options


def set_attention(model: Any, attention: Attention) -> None:
    """Makes this model's UNet compute its attention as chosen."""
    if attention is Attention.AUTO and _on_cpu():
        attention = Attention.SDPA  # measured 1.6 times as fast as the host's choice on a CPU
    functions = {
        Attention.SDPA: host_attention.attention_pytorch,
        Attention.SLICED: host_attention.attention_split,
    }
    if attention in functions:
        options = model.model_options.setdefault("transformer_options", {})
        options["optimized_attention_override"] = _override(functions[attention])


def _override(function: Callable[..., Any]) -> Callable[..., Any]:
    """The form in which ComfyUI takes a replacement: its own choice comes first."""

    def attend(_host_choice: Any, *args: Any, **options: Any) -> Any:
        return function(*args, **options)

    return attend


def set_offload(model: Any, clip: Any, vae: Any, offload: Offload) -> None:
    """Sets where this model's parts wait while they are not in use."""
    parts = [model, clip.patcher, vae.patcher]
    if offload is Offload.NONE:
        for part in parts:
            part.offload_device = part.load_device
    if offload is Offload.MODEL:
        for part in parts:
            part.offload_device = torch.device("cpu")
        model.add_wrapper_with_key(
            comfy.patcher_extension.WrappersMP.OUTER_SAMPLE, _KEY, _then_release
        )
        _release_after(clip.cond_stage_model, "encode_token_weights", clip.cond_stage_model)
        _release_after(vae, "decode", vae.first_stage_model)
        _release_after(vae, "encode", vae.first_stage_model)


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


def release(network: Any) -> None:
    """Moves the weights of this network to their offload device, whoever loaded them."""
    for loaded in list(management.current_loaded_models):
        if loaded.model is not None and loaded.model.model is network:
            loaded.model_unload()
            management.current_loaded_models.remove(loaded)


def _on_cpu() -> bool:
    return bool(management.is_device_cpu(management.get_torch_device()))
