"""Weights stored in a narrower format than their layer computes in.

The first and last convolution, the time embedding and the norms keep the format that is computed
in: they are small, and every picture goes through them.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from comfy_nodes.ops.narrowing import narrowed, scaled

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


class QuantizedLinear(nn.Linear):
    """A linear layer whose weight is stored in 8 bits with a scale for each row."""

    scale: torch.Tensor

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """As nn.Linear, in the input's format."""
        return nn.functional.linear(input, self.wide(input.dtype), self.bias)

    def wide(self, dtype: torch.dtype) -> torch.Tensor:
        """The weight [rows, columns]; multiplied in float32, in which the scales are."""
        return (self.weight.float() * self.scale).to(dtype)


_NARROW_TYPES: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: NarrowLinear,
    nn.Conv2d: NarrowConv2d,
}
_PLAIN_TYPES: dict[type[nn.Module], type[nn.Module]] = {
    NarrowLinear: nn.Linear,
    NarrowConv2d: nn.Conv2d,
    QuantizedLinear: nn.Linear,
}


def narrow(network: nn.Module, dtype: torch.dtype) -> None:
    """Stores the weights of the linear layers and convolutions as `dtype`.

    What is narrow already stays: a network of which some weights were replaced can be stored
    again.
    """
    for module in _chosen(network, (*_NARROW_TYPES, *_NARROW_TYPES.values())):
        module.__class__ = _NARROW_TYPES.get(type(module), type(module))
        weight = module.get_parameter("weight")
        if weight.dtype is not dtype:
            stored = nn.Parameter(narrowed(weight.detach(), dtype), requires_grad=False)
            module.register_parameter("weight", stored)


def quantize(unet: nn.Module, dtype: torch.dtype) -> None:
    """8 bits with a scale for each row, for the linear layers' weights. As `narrow`, also again."""
    for module in _chosen(unet, (nn.Linear, QuantizedLinear)):
        weight = module.get_parameter("weight").detach()
        if weight.dtype is not dtype:
            stored, scale = scaled(weight, dtype)
            module.__class__ = QuantizedLinear
            module.register_parameter("weight", nn.Parameter(stored, requires_grad=False))
            module.register_buffer("scale", scale, persistent=False)


def widen(network: nn.Module, dtype: torch.dtype) -> None:
    """Plain weights of that type, whatever `narrow` and `quantize` did; what they lost is lost."""
    for module in network.modules():
        if isinstance(module, QuantizedLinear):
            plain = nn.Parameter(module.wide(torch.float32), requires_grad=False)
            module.register_parameter("weight", plain)
            del module.scale
        module.__class__ = _PLAIN_TYPES.get(type(module), type(module))
        for parameter in module.parameters(recurse=False):
            parameter.data = parameter.data.to(dtype)


def wide_weight(network: nn.Module, name: str) -> torch.Tensor:
    """A weight of the network, named as in its state dict, however it is stored."""
    owner = network.get_submodule(name.rpartition(".")[0])
    if isinstance(owner, QuantizedLinear) and name.endswith(".weight"):
        return owner.wide(torch.float32)
    return network.get_parameter(name).detach()


def _chosen(network: nn.Module, kinds: tuple[type[nn.Module], ...]) -> Iterator[nn.Module]:
    for name, module in network.named_modules():
        if type(module) in kinds and not name.startswith(_KEPT):
            yield module
