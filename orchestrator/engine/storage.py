"""Weights stored in a narrower format than their layer computes in.

The first and last convolution, the time embedding and the norms keep the format that is computed
in: they are small, and every picture goes through them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from comfy_nodes.settings import Quantization

FP8 = torch.float8_e4m3fn
# Modules of a UNet whose weights stay as they are.
_KEPT = ("conv_in", "conv_out", "time_embedding", "add_embedding")


class NarrowLinear(nn.Linear):
    """A linear layer whose weight is stored in a narrower format."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """As nn.Linear, in the input's format."""
        return nn.functional.linear(input, self.weight.to(input.dtype), self.bias)


class NarrowConv2d(nn.Conv2d):
    """A convolution whose weight is stored in a narrower format."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """As nn.Conv2d, in the input's format."""
        return self._conv_forward(input, self.weight.to(input.dtype), self.bias)


_NARROW_TYPES: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: NarrowLinear,
    nn.Conv2d: NarrowConv2d,
}
_PLAIN_TYPES = {narrow: plain for plain, narrow in _NARROW_TYPES.items()}


def narrow(network: nn.Module, dtype: torch.dtype) -> None:
    """Stores the weights of the linear layers and convolutions as `dtype`.

    What is narrow already stays: a network of which some weights were replaced can be stored
    again.
    """
    for module in _chosen(network, (*_NARROW_TYPES, *_PLAIN_TYPES)):
        module.__class__ = _NARROW_TYPES.get(type(module), type(module))
        weight = module.get_parameter("weight")
        if weight.dtype is not dtype:
            stored = nn.Parameter(_rounded(weight.detach(), dtype), requires_grad=False)
            module.register_parameter("weight", stored)


def quantize(unet: nn.Module, quantization: Quantization) -> None:
    """torchao's weight-only formats; activations keep theirs. As for `narrow`, also again."""
    from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig, quantize_

    configs: dict[Quantization, Any] = {
        Quantization.INT8: Int8WeightOnlyConfig,
        Quantization.FP8: Float8WeightOnlyConfig,
    }
    chosen = {
        id(module)
        for module in _chosen(unet, (nn.Linear,))
        if not is_quantized(module.get_parameter("weight"))
    }
    quantize_(unet, configs[quantization](), filter_fn=lambda module, _name: id(module) in chosen)


def widen(network: nn.Module, dtype: torch.dtype) -> None:
    """Plain weights of that type, whatever `narrow` and `quantize` did; what they lost is lost."""
    for module in network.modules():
        if type(module) in _PLAIN_TYPES:
            module.__class__ = _PLAIN_TYPES[type(module)]
        for name, weight in list(module.named_parameters(recurse=False)):
            if is_quantized(weight):
                plain = nn.Parameter(dequantized(weight).to(dtype), requires_grad=False)
                module.register_parameter(name, plain)
            else:
                weight.data = weight.data.to(dtype)


def dequantized(weight: torch.Tensor) -> torch.Tensor:
    """A weight, however it is stored, as a plain tensor; itself where it is one."""
    if is_quantized(weight):
        plain: torch.Tensor = weight.dequantize()
        return plain
    return weight.detach()


def is_quantized(weight: torch.Tensor) -> bool:
    """Whether a weight is of torchao's: a tensor of a type of its own."""
    return type(weight.data) is not torch.Tensor


def _rounded(weight: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    # Beyond its largest number, 448, fp8 has none but NaN.
    limit = torch.finfo(dtype).max
    return weight.clamp(-limit, limit).to(dtype)


def _chosen(network: nn.Module, kinds: tuple[type[nn.Module], ...]) -> Iterator[nn.Module]:
    for name, module in network.named_modules():
        if type(module) in kinds and not name.startswith(_KEPT):
            yield module
