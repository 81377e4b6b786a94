"""fp32 products of a network on a CPU by oneDNN's matrix product.

Two things that PyTorch does there are slow on other makers' processors than Intel's. It multiplies
the matrices of linear layers with MKL: on two cores of an AMD EPYC at 116 to 131 GFLOP/s, where
oneDNN reaches 145 to 210. And oneDNN's convolutions put their weights in order at each call, which
takes longer than the arithmetic where the weights are many and the pixels few: 96 instead of
190 GFLOP/s for 1280 channels at 8x8. PyTorch has no public function for either; this takes the one
that torch.compile's own code calls.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

# Pixels of a batch up to which a convolution is a matrix product: at 1280 channels it is faster
# for 512 (two pictures of 16x16; 155 against 131 GFLOP/s) and slower for 2048.
_FEW = 512


def has_product() -> bool:
    """Whether this PyTorch has oneDNN, and its matrix product."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


class OneDnn(TorchFunctionMode):
    """While it is entered, fp32 linear layers and small convolutions of this thread go to oneDNN.

    The results differ in rounding: by 5e-7 of the range for a UNet pass of SD 1.5. Others than
    fp32 tensors on the CPU, and what gradients are wanted of, go PyTorch's way.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """A function of torch's that was called, and its answer."""
        ours = _OURS.get(func)
        chosen = func if ours is None or not _takes(args) else ours
        return chosen(*args, **(kwargs or {}))


def _takes(args: tuple[Any, ...]) -> bool:
    """Whether input and weight, the first two arguments, are what oneDNN's product takes."""
    return not torch.is_grad_enabled() and all(
        isinstance(one, torch.Tensor)
        and one.dtype is torch.float32
        and one.device.type == "cpu"
        and one.layout is torch.strided
        and one.ndim >= 2
        for one in args[:2]
    )


def _linear(
    input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """[..., K], [N, K] and [N] to [..., N]."""
    answer: torch.Tensor = torch.ops.mkldnn._linear_pointwise(input, weight, bias, "none", [], "")
    return answer


def _conv2d(
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> torch.Tensor:
    """[B, C, H, W] and [N, C, h, w] to [B, N, H, W]; see torch.conv2d."""
    # In the form in which nn.Conv2d asks for it.
    usual = (stride, padding, dilation, groups) == ((1, 1), (1, 1), (1, 1), 1)
    pixels = input[:, 0].numel()
    # In another order its weights would have to be copied for it.
    ordered = weight.is_contiguous(memory_format=torch.channels_last)
    if usual and pixels <= _FEW and ordered and weight.shape[2:] == (3, 3):
        return _as_product(input, weight, bias)
    return functional.conv2d(input, weight, bias, stride, padding, dilation, groups)


def _as_product(
    input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """A convolution of 3x3 with an edge of one zero, as one matrix product.

    Each pixel's row is the 3x3 pixels around it, channels last.
    """
    batch, channels, height, width = input.shape
    padded = functional.pad(input.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    across, down, right, deep = padded.stride()
    around = padded.as_strided(
        (batch, height, width, 3, 3, channels), (across, down, right, down, right, deep)
    )
    rows = around.reshape(-1, 9 * channels)
    answer = _linear(rows, weight.permute(0, 2, 3, 1).reshape(-1, 9 * channels), bias)
    return answer.view(batch, height, width, -1).permute(0, 3, 1, 2)


_OURS: dict[Any, Any] = {functional.linear: _linear, torch.conv2d: _conv2d}
