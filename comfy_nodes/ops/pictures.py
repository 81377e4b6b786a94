"""Pictures as the nodes exchange them, and as bytes.

IMAGE is float32 [B, H, W, C] in 0..1 with C 3 or 4, MASK is float32 [B, H, W] in 0..1. ComfyUI
hands on float16 where it was started with --fp16-intermediates; 8 bits a channel come through that
unchanged, and the nodes give float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import BadInput
from .arrays import Bytes


def to_bytes(image: torch.Tensor) -> Bytes:
    """uint8 of the same shape; rounds to nearest, so k / 255 gives k back for every k."""
    scaled = image.detach().cpu().float().clamp(0.0, 1.0) * 255.0
    array: Bytes = scaled.round().to(torch.uint8).numpy()
    return array


def from_bytes(array: NDArray[Any]) -> torch.Tensor:
    """float32 in 0..1 of the same shape."""
    return torch.from_numpy(array.astype(np.float32) / 255.0)


def checked(image: torch.Tensor) -> torch.Tensor:
    """The IMAGE in float32. Raises BadInput unless it is one, with at least one pixel, of numbers.

    A picture that is not a number in places (NaN) would be saved as a black one.
    """
    if image.ndim != 4 or image.shape[-1] not in (3, 4) or 0 in image.shape:
        raise BadInput(
            f"Expected a picture batch of shape [B, H, W, 3 or 4], got {list(image.shape)}."
        )
    if not bool(torch.isfinite(image).all()):
        raise BadInput(
            "The picture holds values that are not numbers (NaN), which would show as black: the "
            "model or its VAE left the range of its number format. Set vae_precision, then "
            "precision, to bf16 or fp32."
        )
    return image.float()


def each(image: torch.Tensor, work: Callable[[Bytes], Bytes]) -> torch.Tensor:
    """Applies `work` (uint8 [H, W, C] -> the same shape) to every picture of an IMAGE."""
    return from_bytes(np.stack([work(picture) for picture in to_bytes(checked(image))]))


def transparency(image: torch.Tensor) -> torch.Tensor:
    """MASK of an IMAGE: 1 where it is transparent."""
    return 1.0 - image[..., 3] if image.shape[-1] == 4 else torch.zeros(image.shape[:3])


def with_alpha(image: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """The IMAGE with alpha, of a mask that is 1 where it is transparent; without one as it is.

    Its own alpha, if it has one, is cut further. A mask of another size that marks nothing is what
    Load Image gives for a picture without transparency, and none, too.
    Raises BadInput for any other mask that does not fit.
    """
    image = checked(image)
    if mask is None or (mask.shape[-2:] != image.shape[1:3] and not bool(mask.any())):
        return image
    mask = mask[None] if mask.ndim == 2 else mask
    if mask.shape[-2:] != image.shape[1:3] or mask.shape[0] not in (1, image.shape[0]):
        raise BadInput(
            f"The alpha has the shape {list(mask.shape)} and the pictures "
            f"{list(image.shape[:3])}: they must be of one size, with one for all or one for each."
        )
    if not bool(mask.any()):
        return image
    alpha = (1.0 - mask.to(image).clamp(0.0, 1.0)).expand(image.shape[0], -1, -1)[..., None]
    if image.shape[-1] == 4:
        alpha = torch.minimum(alpha, image[..., 3:])
    return torch.cat([image[..., :3], alpha], dim=-1)
