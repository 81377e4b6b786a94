"""Picture files to tensors, as ComfyUI 0.33's LoadImage and LoadImageMask read them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image, ImageFile, ImageOps, ImageSequence

from ...errors import InputError
from ..stopping import read_stoppably
from .decoding import Frame, decode
from .formats import NAMES, UNREADABLE, PictureFormat, format_of

_T = TypeVar("_T")

# What stands for "nothing transparent"; nodes that use masks resize them.
_NO_MASK_SIDE = 64
# Pillow's own limit against files that unpack to more than a machine has: 179 million pixels.
_MOST_PIXELS = 2 * 89_478_485


def read_picture(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """IMAGE [B, H, W, 3] and MASK [B, H, W], 1 where transparent; B counts frames.

    A format without transparency gives a mask of zeros [B, 64, 64]. Raises InputError for a file
    that is no picture, or one too large.
    """
    frames = _frames(path)
    frames = [each for each in frames if each.colours.shape == frames[0].colours.shape]
    image = torch.from_numpy(np.stack([each.colours for each in frames]))
    clear = [each.opacity for each in frames if each.opacity is not None]
    if len(clear) < len(frames):
        return image, torch.zeros(len(frames), _NO_MASK_SIDE, _NO_MASK_SIDE)
    return image, 1.0 - torch.from_numpy(np.stack(clear))


def read_mask(path: Path, channel: str) -> torch.Tensor:
    """MASK [B, H, W] from "alpha" (as read_picture gives it), "red", "green" or "blue".

    Raises InputError as read_picture does.
    """
    image, mask = read_picture(path)
    if channel == "alpha":
        return mask
    return image[..., ["red", "green", "blue"].index(channel)].clone()


def _frames(path: Path) -> list[Frame]:
    try:
        content = read_stoppably(path.read_bytes)
    except OSError as error:
        raise InputError(f"{path.name} cannot be read: {error}") from error
    kind = format_of(content)
    if kind is None:
        raise InputError(f"{path.name} is no picture that can be read: it is no {NAMES}")
    try:
        # FFmpeg knows no WebP films, and gives up where Pillow still finds some of the picture.
        return decode(content, kind, _MOST_PIXELS) or _by_pillow(content, kind)
    except InputError as error:
        raise InputError(f"{path.name} cannot be read: {error}") from error
    except UNREADABLE as error:
        raise InputError(f"{path.name} is no picture that can be read: {error}") from error


def _by_pillow(content: bytes, kind: PictureFormat) -> list[Frame]:
    with _tolerant(lambda: Image.open(io.BytesIO(content), formats=(kind.pillow,))) as image:
        if image.width * image.height * getattr(image, "n_frames", 1) > _MOST_PIXELS:
            raise InputError(f"its frames have more than {_MOST_PIXELS} pixels together")
        return [_converted(frame) for frame in ImageSequence.Iterator(image)]


def _converted(frame: Image.Image) -> Frame:
    upright = _tolerant(lambda: ImageOps.exif_transpose(frame)) or frame
    opacity = _unit(upright.getchannel("A")) if "A" in upright.getbands() else None
    return Frame(_unit(upright.convert("RGB")), opacity)


def _unit(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(np.float32) / np.float32(255.0)


def _tolerant(read: Callable[[], _T]) -> _T:
    """`read()`, once more with damage allowed: Pillow also calls large text chunks damage."""
    try:
        return read()
    except (OSError, ValueError):
        before = ImageFile.LOAD_TRUNCATED_IMAGES
        ImageFile.LOAD_TRUNCATED_IMAGES = True
        try:
            return read()
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = before
