"""Weights in 8 bits: cut off and rounded, or with a scale of their own for each row."""

from __future__ import annotations

import torch


def largest(dtype: torch.dtype) -> float:
    """The largest number of an 8-bit format; int8 leaves -128 out, so that it is symmetric."""
    return 127.0 if dtype is torch.int8 else float(torch.finfo(dtype).max)


def narrowed(weight: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The nearest numbers of a narrower format; what is too large becomes its largest.

    Without that, fp8 would make NaN of what is beyond 448.
    """
    limit = largest(dtype)
    clipped = weight.clamp(-limit, limit)
    return (clipped.round() if dtype is torch.int8 else clipped).to(dtype)


def scaled(weight: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """A weight [rows, columns] in a narrow format, and the float32 scales [rows, 1] to multiply by.

    Each row's largest number becomes the format's largest.
    """
    wide = weight.float()
    scale = wide.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / largest(dtype)
    return narrowed(wide / scale, dtype), scale
