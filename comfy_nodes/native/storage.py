"""How the weights of one UNet are stored: 8 bits, torchao's formats, order in memory.

The first and last convolution, the embeddings of time and size and the norms keep the format that
is computed in: they are small, and every picture goes through them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from ..settings import LoaderSettings, MemoryFormat, Precision, Quantization

FP8 = torch.float8_e4m3fn
# Modules of ComfyUI's UNet whose weights stay as they are.
_KEPT = ("input_blocks.0.", "out.", "time_embed.", "label_emb.")
_FORMATS = {
    MemoryFormat.CONTIGUOUS: torch.contiguous_format,
    MemoryFormat.CHANNELS_LAST: torch.channels_last,
}


def store(network: nn.Module, settings: LoaderSettings) -> None:
    """Narrows the weights of this UNet and orders them as the (resolved) settings say."""
    if settings.precision is Precision.FP8:
        _to_fp8(network)
    if settings.quantization is not Quantization.OFF:
        _quantize(network, settings.quantization)
    set_memory_format(network, settings.memory_format)


def set_memory_format(network: nn.Module, wanted: MemoryFormat) -> None:
    """The order of the convolutions' weights. `auto` leaves it."""
    if wanted is MemoryFormat.AUTO:
        return
    order = _FORMATS[wanted]
    for parameter in network.parameters():
        if parameter.ndim == 4 and not parameter.is_contiguous(memory_format=order):
            parameter.data = parameter.data.contiguous(memory_format=order)


def has_memory_format(network: nn.Module, wanted: MemoryFormat) -> bool:
    """Whether set_memory_format would change nothing."""
    if wanted is MemoryFormat.AUTO:
        return True
    return all(
        parameter.is_contiguous(memory_format=_FORMATS[wanted])
        for parameter in network.parameters()
        if parameter.ndim == 4
    )


def is_stored_in_fp8(network: nn.Module) -> bool:
    """Whether some weights are 8-bit floats."""
    return any(parameter.dtype is FP8 for parameter in network.parameters())


def is_quantized(network: nn.Module) -> bool:
    """Whether some weights are torchao's: tensors of a type of its own."""
    return any(type(parameter.data) is not torch.Tensor for parameter in network.parameters())


def _to_fp8(network: nn.Module) -> None:
    """ComfyUI's layers widen a weight to their input's format where they are told to cast it."""
    limit = torch.finfo(FP8).max  # beyond it the format has NaN only
    for module in _narrowed(network, (nn.Linear, nn.Conv2d)):
        weight = module.get_parameter("weight").detach().clamp(-limit, limit).to(FP8)
        setattr(module, "weight", nn.Parameter(weight, requires_grad=False))  # noqa: B010
        module.comfy_cast_weights = True


def _narrowed(network: nn.Module, kinds: tuple[type[nn.Module], ...]) -> Iterator[Any]:
    for name, module in network.named_modules():
        if isinstance(module, kinds) and not f"{name}.".startswith(_KEPT):
            yield module


def _quantize(network: nn.Module, quantization: Quantization) -> None:
    """torchao's weight-only formats; activations keep theirs."""
    from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig, quantize_

    configs: dict[Quantization, Any] = {
        Quantization.INT8: Int8WeightOnlyConfig,
        Quantization.FP8: Float8WeightOnlyConfig,
    }
    chosen = set(map(id, _narrowed(network, (nn.Linear,))))
    quantize_(
        network, configs[quantization](), filter_fn=lambda module, _name: id(module) in chosen
    )
