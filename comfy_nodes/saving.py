"""Writes sprites to the output folder, whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from . import folders
from .errors import BadInput, SaveFailed
from .ops.pictures import Bytes, checked, to_bytes


def save_sprites(
    image: torch.Tensor,
    mask: torch.Tensor | None,
    prefix: str,
    texts: Mapping[str, object],
) -> list[dict[str, str]]:
    """Saves each picture as an RGBA PNG; returns filename, subfolder and type of each.

    `mask` is 1 where a picture is transparent; one mask may serve all. `texts` become text chunks
    of JSON, unless the host was told to save none.
    Raises BadInput for a mask that does not fit, SaveFailed when a file cannot be written.
    """
    image = checked(image)
    host = folders.current()
    pictures = rgba(image, mask)
    target = host.save_target(prefix, image.shape[2], image.shape[1])
    metadata = _metadata(texts) if host.save_metadata() else None
    results = []
    for index, picture in enumerate(pictures):
        stem = target.filename.replace("%batch_num%", str(index))
        name = f"{stem}_{target.counter + index:05}_.png"
        _write(target.folder / name, picture, metadata)
        results.append({"filename": name, "subfolder": target.subfolder, "type": "output"})
    return results


def rgba(image: torch.Tensor, mask: torch.Tensor | None) -> Bytes:
    """uint8 [B, H, W, 4] of an IMAGE; its own alpha, if it has one, is cut further by the mask."""
    picture = to_bytes(image)
    opaque = np.full((*picture.shape[:3], 1), 255, dtype=np.uint8)
    alpha = picture[..., 3:] if picture.shape[-1] == 4 else opaque
    if mask is not None:
        mask = mask[None] if mask.ndim == 2 else mask
        if mask.shape[-2:] != image.shape[1:3] or mask.shape[0] not in (1, image.shape[0]):
            raise BadInput(
                f"The mask has the shape {list(mask.shape)} and the pictures "
                f"{list(image.shape[:3])}: they must be of one size, with one mask for all or "
                "one for each."
            )
        alpha = np.minimum(alpha, 255 - to_bytes(mask)[..., None])
    return np.concatenate([picture[..., :3], alpha], axis=-1)


def _metadata(texts: Mapping[str, object]) -> PngInfo:
    info = PngInfo()
    for key, value in texts.items():
        info.add_text(key, json.dumps(value))
    return info


def _write(path: Path, picture: Bytes, metadata: PngInfo | None) -> None:
    """Writes beside the target and moves it there, so that no half file ever has its name."""
    try:
        handle, name = tempfile.mkstemp(suffix=".part", prefix=".sprite-", dir=path.parent)
    except OSError as error:
        raise _failed(path, error) from error
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            # Level 4, as ComfyUI's own: 9 takes several times as long for a few per cent.
            Image.fromarray(picture).save(file, "PNG", pnginfo=metadata, compress_level=4)
        part.chmod(0o644)  # mkstemp's files are private; a saved picture is not
        part.replace(path)
    except OSError as error:
        raise _failed(path, error) from error
    finally:
        part.unlink(missing_ok=True)


def _failed(path: Path, error: OSError) -> SaveFailed:
    return SaveFailed(
        f"The sprite {path.name} could not be written to {path.parent} "
        f"({error.strerror or error}): make room or choose another output folder, then run again."
    )
