"""Faster ways to compute a network's fp32 layers on a CPU, by libraries that PyTorch brings.

What PyTorch does by itself leaves much of a CPU unused. Figures are of two cores of an AMD EPYC:

- It multiplies the matrices of linear layers with MKL, which is slow on other makers' processors
  than Intel's: 116 to 131 GFLOP/s, where oneDNN reaches 145 to 210.
- oneDNN's convolutions put their weights in order at each call, which takes longer than the
  arithmetic where the weights are many and the pixels few: 96 GFLOP/s for 1280 channels at 8x8,
  and 190 as one matrix product.
- It convolves directly. NNPACK's 3x3 convolutions are Winograd's, of 6x6 pixels at a time, with a
  fifth of the multiplications: 512 channels at 128x128 in 0.12 s instead of 0.35. PyTorch leaves
  them aside where it has oneDNN, and they are Winograd's for one picture at a time only.

PyTorch has no public function for these; this takes those that its own code calls. Winograd's
method: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, arXiv 1509.09308.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

# Pixels of a batch up to which a convolution is a matrix product: at 1280 channels it is faster
# for 512 (two pictures of 16x16; 155 against 131 GFLOP/s) and slower for 2048.
_FEW = 512
# Pixels of a picture from which on Winograd's method is the faster: at 640 channels as fast as the
# direct one for 32x32, 1.7 times as fast for 48x48, 2.6 times for 64x64.
_MANY = 2048
_WIDE = 128  # channels in and out, below which it gains nothing
# Numbers that may go in and come out at once. NNPACK keeps up to as much memory again for the
# thread, for good: 0.5 GiB for what the VAE of Stable Diffusion does at 512x512.
_LARGEST = 2**27


def has_kernels() -> bool:
    """Whether this PyTorch has one of the libraries."""
    return _has_product() or _has_winograd()


def _has_product() -> bool:
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _has_winograd() -> bool:
    # Asking also prepares NNPACK, which fails otherwise. On Windows there is none.
    return bool(torch.backends.nnpack.is_available())


class CpuKernels(TorchFunctionMode):
    """While it is entered, fp32 linear layers and 3x3 convolutions of this thread take faster ways.

    The results differ in rounding: by 1e-5 of the range for a UNet pass of SD 1.5, and 3e-5 for a
    decode. Others than fp32 tensors on the CPU, and what gradients are wanted of, go PyTorch's way.
    """

    def __init__(self) -> None:
        super().__init__()
        self._ours: dict[Any, Any] = {torch.conv2d: _conv2d}
        if _has_product():
            self._ours[functional.linear] = _linear

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """A function of torch's that was called, and its answer."""
        ours = self._ours.get(func)
        chosen = func if ours is None or not _takes(args) else ours
        return chosen(*args, **(kwargs or {}))


def _takes(args: tuple[Any, ...]) -> bool:
    """Whether input and weight, the first two arguments, are what the libraries take."""
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
    if usual and weight.shape[2:] == (3, 3) and input.ndim == 4 and len(input) > 0:
        if _suits_winograd(input, weight) and _has_winograd():
            return _by_winograd(input, weight, bias)
        if _suits_product(input, weight) and _has_product():
            return _as_product(input, weight, bias)
    return functional.conv2d(input, weight, bias, stride, padding, dilation, groups)


def _suits_winograd(input: torch.Tensor, weight: torch.Tensor) -> bool:
    pixels, channels = input.shape[2] * input.shape[3], weight.shape[:2]
    return pixels >= _MANY and min(channels) >= _WIDE and pixels * sum(channels) <= _LARGEST


def _by_winograd(
    input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """A convolution of 3x3 with an edge of one zero, by NNPACK, picture by picture."""
    ordered = weight.contiguous()  # once for all of them
    pictures = [
        torch._nnpack_spatial_convolution(picture, ordered, bias, [1, 1], [1, 1])
        for picture in input.split(1)
    ]
    return pictures[0] if len(pictures) == 1 else torch.cat(pictures)


def _suits_product(input: torch.Tensor, weight: torch.Tensor) -> bool:
    # In another order its weights would have to be copied for it.
    ordered = weight.is_contiguous(memory_format=torch.channels_last)
    return ordered and input[:, 0].numel() <= _FEW


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
