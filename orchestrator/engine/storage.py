"""Weights stored in 8 bits, and widened while their layer computes.

The first and last convolution, the time embedding and the norms keep the format that is computed
in: they are small, and every picture goes through them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from comfy_nodes.settings import LoaderSettings, Precision, Quantization

FP8 = torch.float8_e4m3fn
# Modules of a UNet whose weights stay as they are.
_KEPT = ("conv_in", "conv_out", "time_embedding", "add_embedding")


class Fp8Linear(nn.Linear):
    """A linear layer whose weight is stored in 8 bits."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """As nn.Linear, in the input's format."""
        return nn.functional.linear(input, self.weight.to(input.dtype), self.bias)


class Fp8Conv2d(nn.Conv2d):
    """A convolution whose weight is stored in 8 bits."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """As nn.Conv2d, in the input's format."""
        return self._conv_forward(input, self.weight.to(input.dtype), self.bias)


_FP8_TYPES: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: Fp8Linear,
    nn.Conv2d: Fp8Conv2d,
}
_PLAIN_TYPES = {fp8: plain for plain, fp8 in _FP8_TYPES.items()}


def store(unet: nn.Module, settings: LoaderSettings) -> None:
    """Narrows the weights of this UNet as the (resolved) settings say.

    What is narrow already stays: a UNet of which some weights were replaced can be stored again.
    """
    if settings.precision is Precision.FP8:
        _to_fp8(unet)
    if settings.quantization is not Quantization.OFF:
        _quantize(unet, settings.quantization)


def widen(unet: nn.Module, dtype: torch.dtype) -> None:
    """Undoes `store`, up to what the narrow format lost: plain weights of that type."""
    for module in unet.modules():
        if type(module) in _PLAIN_TYPES:
            module.__class__ = _PLAIN_TYPES[type(module)]
        for name, weight in list(module.named_parameters(recurse=False)):
            if weight.dtype is FP8 or is_quantized(weight):
                plain = nn.Parameter(dequantized(weight).to(dtype), requires_grad=False)
                setattr(module, name, plain)


def dequantized(weight: torch.Tensor) -> torch.Tensor:
    """A weight, however it is stored, as a plain tensor; itself where it is one."""
    if is_quantized(weight):
        plain: torch.Tensor = weight.dequantize()
        return plain
    return weight.detach()


def is_quantized(weight: torch.Tensor) -> bool:
    """Whether a weight is of torchao's: a tensor of a type of its own."""
    return type(weight.data) is not torch.Tensor


def _to_fp8(unet: nn.Module) -> None:
    for module in _narrowed(unet, tuple(_FP8_TYPES)):
        weight = module.get_parameter("weight")
        module.__class__ = _FP8_TYPES[type(module)]
        setattr(module, "weight", nn.Parameter(_rounded(weight), requires_grad=False))  # noqa: B010
    for module in _narrowed(unet, tuple(_PLAIN_TYPES)):
        weight = module.get_parameter("weight")
        if weight.dtype is not FP8:
            setattr(module, "weight", nn.Parameter(_rounded(weight), requires_grad=False))  # noqa: B010


def _rounded(weight: torch.Tensor) -> torch.Tensor:
    # Beyond its largest number, 448, the format has none but NaN.
    limit = torch.finfo(FP8).max
    return weight.detach().clamp(-limit, limit).to(FP8)


def _narrowed(unet: nn.Module, kinds: tuple[type[nn.Module], ...]) -> Iterator[nn.Module]:
    for name, module in unet.named_modules():
        if type(module) in kinds and not name.startswith(_KEPT):
            yield module


def _quantize(unet: nn.Module, quantization: Quantization) -> None:
    """torchao's weight-only formats; activations keep theirs."""
    from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig, quantize_

    configs: dict[Quantization, Any] = {
        Quantization.INT8: Int8WeightOnlyConfig,
        Quantization.FP8: Float8WeightOnlyConfig,
    }

    def fits(module: nn.Module, name: str) -> bool:
        if type(module) is not nn.Linear or name.startswith(_KEPT):
            return False
        return not is_quantized(module.weight)

    quantize_(unet, configs[quantization](), filter_fn=fits)
