"""Resizing as ComfyUI's nodes do it, on float32 tensors [B, C, H, W].

The methods and their roundings are ComfyUI 0.33.0's: torch's interpolate for most, Pillow on
8 bits for lanczos, and spherical interpolation for bislerp.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

from .. import room
from ..stopping import check_interrupted

IMAGE_METHODS = ["nearest-exact", "bilinear", "area", "bicubic", "lanczos"]
LATENT_METHODS = ["nearest-exact", "bilinear", "area", "bicubic", "bislerp"]
CROPS = ["disabled", "center"]
# Pixels after which somebody may want to stop: bicubic makes about 30 million in a second.
_PIXELS_AT_ONCE = 16 * 1024 * 1024
# The result, and what one pass over a part of it holds beside.
_RESIZING_COPIES = 1.1


def resize(
    samples: torch.Tensor, width: int, height: int, method: str, crop: str = "disabled"
) -> torch.Tensor:
    """`samples` [B, C, H, W] as [B, C, height, width]; `center` crops to the new aspect first.

    Raises OutOfMemory, and InterruptedByUser between pictures.
    """
    _check_room(samples, width, height)
    if crop == "center":
        samples = _center_crop(samples, width / height)
    at_once = max(1, _PIXELS_AT_ONCE // (width * height))
    if len(samples) <= at_once:
        return _resized(samples, width, height, method)
    result = samples.new_empty(*samples.shape[:2], height, width)
    for part, some in zip(result.split(at_once), samples.split(at_once), strict=True):
        check_interrupted()
        part.copy_(_resized(some, width, height, method))
    return result


def _check_room(samples: torch.Tensor, width: int, height: int) -> None:
    batch, channels = samples.shape[:2]
    need = room.of_tensors(batch, channels, height, width, copies=_RESIZING_COPIES)
    room.check(f"{batch:,} x {channels} layers of {width} x {height}", need)


def _resized(samples: torch.Tensor, width: int, height: int, method: str) -> torch.Tensor:
    if method == "bislerp":
        return _bislerp(samples, width, height)
    if method == "lanczos":
        return _lanczos(samples, width, height)
    return interpolate(samples, size=(height, width), mode=method)


def to_pil(image: torch.Tensor) -> Image.Image:
    """One picture [H, W, C] in 0..1 as Pillow's, cut down to 8 bits as ComfyUI cuts."""
    return Image.fromarray(np.clip(255.0 * image.cpu().numpy(), 0, 255).astype(np.uint8))


def repeat_to(tensor: torch.Tensor, batch: int) -> torch.Tensor:
    """The first `batch` entries, going round again where there are fewer."""
    count = -(-batch // tensor.shape[0])
    repeated = tensor if count == 1 else tensor.repeat(count, *[1] * (tensor.ndim - 1))
    return repeated[:batch]


def spread_to(tensor: torch.Tensor, batch: int) -> torch.Tensor:
    """`batch` entries picked evenly: neighbours are doubled or left out in order."""
    have = tensor.shape[0]
    if have == batch:
        return tensor
    if batch <= 1:
        return tensor[:batch]
    if batch < have:
        stride = (have - 1) / (batch - 1)
        chosen = [min(round(i * stride), have - 1) for i in range(batch)]
    else:
        stride = have / batch
        chosen = [min(int((i + 0.5) * stride), have - 1) for i in range(batch)]
    return tensor[chosen]


def _center_crop(samples: torch.Tensor, aspect: float) -> torch.Tensor:
    height, width = samples.shape[-2:]
    old = width / height
    x = round((width - width * (aspect / old)) / 2) if old > aspect else 0
    y = round((height - height * (old / aspect)) / 2) if old < aspect else 0
    return samples[..., y : height - y, x : width - x]


def _lanczos(samples: torch.Tensor, width: int, height: int) -> torch.Tensor:
    resized = [
        np.asarray(
            to_pil(image.movedim(0, -1)).resize((width, height), Image.Resampling.LANCZOS)
        ).astype(np.float32)
        / 255.0
        for image in samples
    ]
    return torch.from_numpy(np.stack(resized)).movedim(-1, 1).to(samples)


def _bislerp(samples: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """Along the width, then the height: directions by slerp, lengths by lerp."""
    across = _slerp_axis(samples.float().movedim(1, -1), width, dim=2)
    both = _slerp_axis(across, height, dim=1)
    return both.movedim(-1, 1).to(samples.dtype)


def _slerp_axis(vectors: torch.Tensor, length: int, dim: int) -> torch.Tensor:
    """Resample [B, H, W, C] along `dim` to `length` entries."""
    old = vectors.shape[dim]
    places = torch.arange(old, dtype=torch.float32).reshape(1, 1, 1, -1)
    beyond = places + 1
    beyond[..., -1] -= 1
    at = interpolate(places, size=(1, length), mode="bilinear").flatten()
    after = interpolate(beyond, size=(1, length), mode="bilinear").flatten()
    shape = [1, 1, 1, 1]
    shape[dim] = length
    ratio = (at - at.floor()).reshape(shape).to(vectors.device)
    first = vectors.index_select(dim, at.long().to(vectors.device))
    second = vectors.index_select(dim, after.long().to(vectors.device))
    return _slerp(first, second, ratio)


def _slerp(a: torch.Tensor, b: torch.Tensor, ratio: torch.Tensor) -> torch.Tensor:
    """Between vectors in the last dimension; (nearly) equal ones give a, opposite ones lerp."""
    length_a, length_b = a.norm(dim=-1, keepdim=True), b.norm(dim=-1, keepdim=True)
    unit_a = torch.where(length_a == 0, 0.0, a / length_a)
    unit_b = torch.where(length_b == 0, 0.0, b / length_b)
    cosine = (unit_a * unit_b).sum(-1, keepdim=True)
    angle = torch.acos(cosine)
    sine = torch.sin(angle)
    turned = (torch.sin((1.0 - ratio) * angle) / sine) * unit_a
    turned = turned + (torch.sin(ratio * angle) / sine) * unit_b
    turned = turned * (length_a * (1.0 - ratio) + length_b * ratio)
    turned = torch.where(cosine > 1 - 1e-5, a, turned)
    return torch.where(cosine < 1e-5 - 1, a * (1.0 - ratio) + b * ratio, turned)
