"""How the weights of one UNet are stored: in 8 bits, with scales or without; order in memory.

The first and last convolution, the embeddings of time and size and the norms keep the format that
is computed in: they are small, and every picture goes through them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any
from weakref import ref

import torch
from torch import nn

from ..ops.dtypes import DTYPES
from ..ops.memory_format import set_memory_format
from ..ops.narrowing import narrowed, scaled
from ..placing import Dtype, PartPlacement

FP8 = DTYPES[Dtype.FP8]
# Modules of ComfyUI's UNet whose weights stay as they are.
_KEPT = ("input_blocks.0.", "out.", "time_embed.", "label_emb.")


def store(network: nn.Module, unet: PartPlacement) -> None:
    """Narrows the weights of this UNet and orders them as its placement says."""
    if unet.stored is Dtype.FP8:
        _to_fp8(network)
    if unet.quantized is not None:
        _quantize(network, DTYPES[unet.quantized])
    set_memory_format(network, unet.memory_format)


def is_stored_in_fp8(network: nn.Module) -> bool:
    """Whether some weights are 8-bit floats without scales."""
    return quantization_of(network) is None and any(
        parameter.dtype is FP8 for parameter in network.parameters()
    )


def quantization_of(network: nn.Module) -> torch.dtype | None:
    """The 8-bit format with scales in which the weights of linear layers are; None: in none."""
    quantized = (one for one in network.modules() if isinstance(one, _Quantized))
    return next((one.weight.dtype for one in quantized), None)


def widen(network: nn.Module, dtype: torch.dtype) -> None:
    """Undoes `store`, up to what the narrow format lost: all weights in that format."""
    for module in list(network.modules()):
        if isinstance(module, _Quantized):
            wide = module.convert_weight(module.weight)
            module.__class__ = type(module).__mro__[2]
            module.weight = nn.Parameter(wide, requires_grad=False)
            del module.scale
    network.to(dtype)


def _to_fp8(network: nn.Module) -> None:
    """ComfyUI's layers widen a weight to their input's format where they are told to cast it."""
    for module in _chosen(network, (nn.Linear, nn.Conv2d)):
        weight = narrowed(module.get_parameter("weight").detach(), FP8)  # beyond it there is NaN
        setattr(module, "weight", nn.Parameter(weight, requires_grad=False))  # noqa: B010
        module.comfy_cast_weights = True


def _chosen(network: nn.Module, kinds: tuple[type[nn.Module], ...]) -> Iterator[Any]:
    for name, module in network.named_modules():
        if isinstance(module, kinds) and not f"{name}.".startswith(_KEPT):
            yield module


class _Quantized:
    """A linear layer of ComfyUI's whose weight has 8 bits and a scale for each row.

    torchao stores weights in the same way, but its tensors cannot be moved or copied in inference
    mode, in which ComfyUI runs its nodes. `convert_weight` and `set_weight` are ComfyUI's names
    for what a LoRA needs to change such a weight.
    """

    weight: Any
    bias: Any
    scale: torch.Tensor  # [rows, 1]
    # Of the weight that a LoRA was put into, while it is there.
    patched: ref[torch.Tensor] | None = None
    patched_scale: torch.Tensor
    weight_function: list[Any]

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """As a linear layer, in the input's format and on its device."""
        weight = self.weight.to(input.device)
        for function in self.weight_function:  # LoRAs of a model that is only partly loaded
            weight = function(weight)
        is_patched = self.patched is not None and self.patched() is self.weight
        scale = self.patched_scale if is_patched else self.scale
        wide = weight.to(input.dtype) * scale.to(input.device, input.dtype)
        bias = None if self.bias is None else self.bias.to(input.device, input.dtype)
        return nn.functional.linear(input, wide, bias)

    def convert_weight(self, weight: torch.Tensor, inplace: bool = False, **_: Any) -> torch.Tensor:
        """The wide weight [rows, columns] of a stored one."""
        return weight.float() * self.scale.to(weight.device)

    def set_weight(
        self,
        weight: torch.Tensor,
        inplace_update: bool = False,
        seed: Any = None,
        return_weight: bool = False,
        **_: Any,
    ) -> torch.Tensor | None:
        """Stores a wide weight, which ComfyUI later replaces by the one that was there before.

        In place, and for one pass only, the scales stay and larger numbers are cut off.
        """
        if return_weight or inplace_update:
            narrow = narrowed(weight / self.scale.to(weight.device), self.weight.dtype)
            if return_weight:
                return narrow
            self.weight.data.copy_(narrow)
            return None
        narrow, self.patched_scale = scaled(weight, self.weight.dtype)
        self.weight = nn.Parameter(narrow, requires_grad=False)
        self.patched = ref(self.weight)
        return None


def _quantize(network: nn.Module, dtype: torch.dtype) -> None:
    for module in _chosen(network, (nn.Linear,)):
        narrow, scale = scaled(module.get_parameter("weight").detach().float(), dtype)
        module.weight = nn.Parameter(narrow, requires_grad=False)
        # Not saved: what is stored as a weight is what LoRAs and merges know of.
        module.register_buffer("scale", scale, persistent=False)
        host: Any = type(module)
        module.__class__ = _quantized_class(host)


@cache
def _quantized_class(host: Any) -> Any:
    return type(f"Quantized{host.__name__}", (_Quantized, host), {})
