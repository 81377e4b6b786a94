"""The optimisation settings as inputs of a node, and back from a node's values.

The four that every loader had from the first are required and stand first, so that canvas files
saved before the others came keep their order of fields. The others are optional: a graph may leave
out any of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from pydantic import ValidationError

from .errors import BadInput
from .settings import (
    Attention,
    Compile,
    CompileMode,
    LoaderSettings,
    MemoryFormat,
    Offload,
    Precision,
    Quantization,
    Toggle,
    VaePrecision,
    VaeTiling,
)

TOOLTIPS: Mapping[str, str] = {
    "precision": "Number format of the model. auto: fp16 on an accelerator; on a CPU bf16 for "
    "large models where the CPU computes in it, else fp32. fp16 and bf16 halve the memory and "
    "change the picture slightly; fp8 stores the weights in a quarter and changes it more.",
    "attention": "How attention is computed. sdpa: PyTorch's own, usually fastest. flash, "
    "xformers, sliced: the same picture up to rounding; sliced needs little memory and is slow on "
    "a card. sage changes the picture.",
    "vae_tiling": "Decode in overlapping tiles: less memory, slightly different large pictures. "
    "auto: only when memory runs out or is known to be short.",
    "offload": "Where weights wait. none: on the device. text_encoder: that one lives in system "
    "memory. model: every part returns to system memory after use. sequential: the model's layers "
    "come one by one, slowest and smallest. auto: the host decides.",
    "vae_precision": "Number format of the VAE. auto: bf16 where the device computes in it, "
    "else fp32. fp16 makes XL pictures black.",
    "vae_tile": "Side of a tile in pixels, for tiled decoding.",
    "vae_overlap": "How far tiles overlap in pixels: at most a quarter of a tile.",
    "vae_slicing": "Pictures of a batch one by one through the VAE: less memory, same picture.",
    "memory_format": "Order of the convolutions' weights. channels_last suits tensor cores; same "
    "picture up to rounding.",
    "compile": "torch.compile: slow first run, faster ones after it. blocks: the repeated blocks; "
    "whole: everything in one piece, again for each new size.",
    "compile_mode": "default, reduce-overhead (CUDA graphs) or max-autotune (tries kernels).",
    "quantization": "8-bit weights of the linear layers, with a scale for each row: less memory, "
    "slower, changes the picture.",
    "cudnn_benchmark": "cuDNN tries its kernels on each new size. Set while this model runs.",
    "fp16_accumulation": "Sums of fp16 products kept in fp16: faster on GeForce cards, changes the "
    "picture. Set while this model runs.",
    "tf32": "fp32 products with 10 bits: faster for precision fp32, changes the picture slightly. "
    "Set while this model runs.",
    "cpu_kernels": "fp32 layers on a CPU by oneDNN's matrix products and NNPACK's Winograd "
    "convolutions: faster on other processors than Intel's; same picture up to rounding. Set while "
    "this model runs.",
    "step_cache": "LOSSY. Skips the model in steps where its input changed by less than this: 0 is "
    "off, 0.1 is careful, 0.3 is fast.",
    "strict": "Refuse what the device cannot do instead of taking the next best with a line in the "
    "log.",
}

_COMBOS: Mapping[str, type[Enum]] = {
    "precision": Precision,
    "attention": Attention,
    "vae_tiling": VaeTiling,
    "offload": Offload,
    "vae_precision": VaePrecision,
    "vae_slicing": Toggle,
    "memory_format": MemoryFormat,
    "compile": Compile,
    "compile_mode": CompileMode,
    "quantization": Quantization,
    "cudnn_benchmark": Toggle,
    "fp16_accumulation": Toggle,
    "tf32": Toggle,
    "cpu_kernels": Toggle,
}
_FIRST = ("precision", "attention", "vae_tiling", "offload")
OF_MODEL = (
    "precision",
    "attention",
    "offload",
    "memory_format",
    "compile",
    "compile_mode",
    "quantization",
    "cudnn_benchmark",
    "fp16_accumulation",
    "tf32",
    "step_cache",
    "strict",
    "cpu_kernels",
)
OF_VAE = (
    "vae_precision",
    "vae_tiling",
    "vae_tile",
    "vae_overlap",
    "vae_slicing",
    "offload",
    "memory_format",
    "compile",
    "compile_mode",
    "strict",
    "cpu_kernels",
)


def settings_inputs() -> list[Any]:
    """Inputs of a loader, one for each field of LoaderSettings and called like it."""
    rest = [name for name in LoaderSettings.model_fields if name not in _FIRST]
    return [_input(name) for name in _FIRST] + [_advanced(name) for name in rest]


def inputs_of(names: tuple[str, ...]) -> list[Any]:
    """Inputs of a node that takes some of the settings only; all optional.

    Of offloading they have what concerns the one part of a model that such a node gets.
    """
    elsewhere = {Offload.TEXT_ENCODER}
    if "precision" not in names:
        elsewhere.add(Offload.SEQUENTIAL)  # the UNet's layers
    choices = {"offload": [one.value for one in Offload if one not in elsewhere]}
    return [_input(name, optional=True, options=choices.get(name)) for name in names]


def settings_of(values: Mapping[str, Any]) -> LoaderSettings:
    """The settings among a node's values; those not given have their defaults.

    Raises BadInput, naming the setting, for an unknown one and for a value that it cannot have.
    """
    try:
        return LoaderSettings.model_validate(dict(values))
    except ValidationError as error:
        raise BadInput(" ".join(_sentence(one) for one in error.errors())) from error


def _sentence(error: Any) -> str:
    if not error["loc"]:  # two settings that contradict each other; the message names both
        return f"{error['ctx']['error']}."
    name = error["loc"][0]
    if error["type"] == "extra_forbidden":
        return f"There is no setting {name!r}."
    return f"Setting {name} cannot be {error['input']!r}: {error['msg'].lower()}."


def _input(name: str, *, optional: bool = False, options: list[str] | None = None) -> Any:
    return _widget(name, optional, options or _COMBOS.get(name))


def _advanced(name: str) -> Any:
    made = _input(name, optional=True)
    # Newer hosts take this as an argument; 0.3.64 passes it on to the canvas only this way.
    made.extra_dict["advanced"] = True
    return made


def _widget(name: str, optional: bool, options: Any) -> Any:
    from comfy_api.latest import io  # only a host has it; settings_of works without one

    default = LoaderSettings.model_fields[name].default
    common = {"optional": optional, "tooltip": TOOLTIPS[name]}
    if options is not None:
        # 0.3.64 takes words only: with an Enum its /object_info fails, and no editor opens.
        words = [getattr(one, "value", one) for one in options]
        plain = getattr(default, "value", default)
        return io.Combo.Input(name, options=words, default=plain, **common)
    if name == "vae_tile":
        return io.Int.Input(name, default=default, min=128, max=4096, step=64, **common)
    if name == "vae_overlap":
        return io.Int.Input(name, default=default, min=0, max=1024, step=8, **common)
    if name == "step_cache":
        return io.Float.Input(
            name, default=default, min=0.0, max=1.0, step=0.01, round=0.001, **common
        )
    return io.Boolean.Input(name, default=default, **common)
