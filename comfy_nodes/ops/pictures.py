"""Pictures as the nodes exchange them, and as bytes.

IMAGE is float32 [B, H, W, C] in 0..1 with C 3 or 4, MASK is float32 [B, H, W] in 0..1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import BadInput

Bytes = NDArray[np.uint8]


def to_bytes(image: torch.Tensor) -> Bytes:
    """uint8 of the same shape; rounds to nearest, so k / 255 gives k back for every k."""
    scaled = image.detach().cpu().float().clamp(0.0, 1.0) * 255.0
    array: Bytes = scaled.round().to(torch.uint8).numpy()
    return array


def from_bytes(array: NDArray[Any]) -> torch.Tensor:
    """float32 in 0..1 of the same shape."""
    return torch.from_numpy(array.astype(np.float32) / 255.0)


def check_image(image: torch.Tensor) -> None:
    """Raises BadInput unless `image` is an IMAGE with at least one pixel."""
    if image.ndim != 4 or image.shape[-1] not in (3, 4) or 0 in image.shape:
        raise BadInput(
            f"Expected a picture batch of shape [B, H, W, 3 or 4], got {list(image.shape)}."
        )


def each(image: torch.Tensor, work: Callable[[Bytes], Bytes]) -> torch.Tensor:
    """Applies `work` (uint8 [H, W, C] -> the same shape) to every picture of an IMAGE."""
    check_image(image)
    return from_bytes(np.stack([work(picture) for picture in to_bytes(image)]))
