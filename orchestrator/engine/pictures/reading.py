"""Picture files to tensors, as ComfyUI's LoadImage and LoadImageMask read them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image, ImageFile, ImageOps, ImageSequence, UnidentifiedImageError

from ...errors import InputError

_T = TypeVar("_T")

# What stands for "nothing transparent"; nodes that use masks resize them.
_NO_MASK_SIDE = 64
# Formats whose further frames are no frames of a film (a camera's second view).
_ONE_FRAME = {"MPO"}


def read_picture(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """IMAGE [B, H, W, 3] and MASK [B, H, W], 1 where transparent; B counts frames.

    Without transparency the mask is zeros [1, 64, 64]. Raises InputError for a file that is no
    picture.
    """
    try:
        image = _tolerant(Image.open, path)
        frames = [_upright(frame) for frame in ImageSequence.Iterator(image)]
        pairs = [(_colours(frame), _transparency(frame)) for frame in frames]
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError) as error:
        raise InputError(f"{path.name} is no picture that can be read: {error}") from error
    pairs = [pair for pair in pairs if pair[0].shape == pairs[0][0].shape]
    if image.format in _ONE_FRAME:
        pairs = pairs[:1]
    return torch.cat([pair[0] for pair in pairs]), torch.cat([pair[1] for pair in pairs])


def read_mask(path: Path, channel: str) -> torch.Tensor:
    """MASK [1, H, W] from "alpha" (turned round), "red", "green" or "blue".

    Raises InputError for a file that is no picture.
    """
    try:
        image = _upright(_tolerant(Image.open, path)).convert("RGBA")
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError) as error:
        raise InputError(f"{path.name} is no picture that can be read: {error}") from error
    values = _unit(image.getchannel(channel[0].upper()))
    return (1.0 - values if channel == "alpha" else values)[None]


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its camera says, in 8 bits a channel."""
    turned = _tolerant(ImageOps.exif_transpose, image) or image
    # 32-bit greys: ComfyUI divides by 255 what mostly are 16 bits.
    return turned.point(lambda value: value * (1 / 255)) if turned.mode == "I" else turned


def _colours(image: Image.Image) -> torch.Tensor:
    return _unit(image.convert("RGB"))[None]


def _transparency(image: Image.Image) -> torch.Tensor:
    if "A" in image.getbands():
        return (1.0 - _unit(image.getchannel("A")))[None]
    if image.mode == "P" and "transparency" in image.info:
        return (1.0 - _unit(image.convert("RGBA").getchannel("A")))[None]
    return torch.zeros(1, _NO_MASK_SIDE, _NO_MASK_SIDE)


def _unit(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image).astype(np.float32) / 255.0)


def _tolerant(read: Callable[..., _T], source: object) -> _T:
    """`read(source)`, once more with damage allowed: Pillow also calls large text chunks damage."""
    try:
        return read(source)
    except (OSError, UnidentifiedImageError, ValueError):
        before = ImageFile.LOAD_TRUNCATED_IMAGES
        ImageFile.LOAD_TRUNCATED_IMAGES = True
        try:
            return read(source)
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = before
