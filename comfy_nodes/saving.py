"""Writes sprites and sheets to the output folder, whole or not at all."""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from . import folders
from .errors import BadInput, SaveFailed
from .formats.sheets import write
from .formats.sheets.files import page_names
from .ops.arrays import Bytes
from .ops.pictures import checked, to_bytes
from .ops.sheet import Sheet


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


def save_sheet(
    sheet: Sheet, prefix: str, formats: Sequence[str], texts: Mapping[str, object]
) -> dict[str, list[dict[str, str]]]:
    """Saves a sheet in these formats in a new folder; returns what to tell of it in the history.

    That is under "images" filename, subfolder and type of each page, as of any picture, and under
    "sheet_files" the same of the other files, with "name" for "filename": hosts and clients take
    whatever has a "filename" for something to show.

    The folder is the prefix with a number, its files are called by the prefix. There is all of it,
    or none. `texts` are as in `save_sprites`, in the pages.
    Raises BadInput for what cannot be written so, SaveFailed when a file cannot be written.
    """
    host = folders.current()
    height, width = sheet.pages[0].shape[:2]
    target = host.save_target(prefix, width, height)
    name = target.filename.replace("%batch_num%", "0")
    # the pages are always there, for the host to show
    files = write(sheet, name, ["png", *formats])
    pages = page_names(sheet, name)
    if host.save_metadata():
        for page in pages:
            files[page] = _with_texts(files[page], texts)
    folder = target.folder / f"{name}_{target.counter:05}_"
    _write_all(folder, files)
    subfolder = "/".join(filter(None, (target.subfolder, folder.name)))
    where = {"subfolder": subfolder, "type": "output"}
    return {
        "images": [{"filename": page, **where} for page in pages],
        "sheet_files": [{"name": name, **where} for name in files if name not in pages],
    }


def _with_texts(page: bytes, texts: Mapping[str, object]) -> bytes:
    content = io.BytesIO()
    with Image.open(io.BytesIO(page)) as picture:
        picture.save(content, "PNG", pnginfo=_metadata(texts), compress_level=9)
    return content.getvalue()


def _write_all(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes a folder beside its place and moves it there whole."""
    try:
        part = Path(tempfile.mkdtemp(suffix=".part", prefix=".sheet-", dir=folder.parent))
    except OSError as error:
        raise _failed(folder, error) from error
    try:
        for name, content in files.items():
            (part / name).write_bytes(content)
        part.chmod(0o755)  # mkdtemp's folders are private
        part.rename(folder)
    except OSError as error:
        raise _failed(folder, error) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


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
        f"{path.name} could not be written to {path.parent} "
        f"({error.strerror or error}): make room or choose another output folder, then run again."
    )
