"""What nodes import as `comfy_api.latest.ui`: what an output node shows, and saving pictures."""

from __future__ import annotations

import json
import os
import random
import string
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, PngImagePlugin

from ...errors import OutputError
from .context import context
from .node import ComfyNode, UIOutput
from .types import FolderType

if TYPE_CHECKING:
    import torch


class SavedResult(dict[str, str]):
    """A file on the server, as clients ask `/view` for it."""

    def __init__(self, filename: str, subfolder: str, type: FolderType) -> None:
        super().__init__(filename=filename, subfolder=subfolder, type=type.value)

    @property
    def filename(self) -> str:
        return self["filename"]

    @property
    def subfolder(self) -> str:
        return self["subfolder"]

    @property
    def type(self) -> FolderType:
        return FolderType(self["type"])


class SavedImages(UIOutput):
    """Pictures that were saved."""

    def __init__(self, results: Sequence[SavedResult], is_animated: bool = False) -> None:
        self.results = list(results)
        self.is_animated = is_animated

    def as_dict(self) -> dict[str, Any]:
        shown: dict[str, Any] = {"images": self.results}
        if self.is_animated:
            shown["animated"] = (True,)
        return shown


class ImageSaveHelper:
    """Saves pictures the way ComfyUI's SaveImage does: numbered PNGs that carry their graph."""

    @staticmethod
    def save_images(
        images: torch.Tensor,
        filename_prefix: str,
        folder_type: FolderType,
        cls: type[ComfyNode] | None,
        compress_level: int = 4,
    ) -> list[SavedResult]:
        """Save IMAGE [B, H, W, C] as `prefix_00001_.png` and so on; raises OutputError."""
        height, width = images[0].shape[:2]
        folders = context().folders
        folder, name, number = folders.next_image(filename_prefix, folder_type.value, width, height)
        subfolder = folders.subfolder(folder, folder_type.value)
        chunks = _png_chunks(cls)
        saved = []
        for index, image in enumerate(images):
            context().check_interrupted()
            plain = name.replace("%batch_num%", str(index))
            file = folder / f"{plain}_{number + index:05}_.png"
            save_png(to_pil(image), file, chunks, compress_level)
            saved.append(SavedResult(file.name, subfolder, folder_type))
        return saved

    @staticmethod
    def get_save_images_ui(
        images: torch.Tensor,
        filename_prefix: str,
        cls: type[ComfyNode] | None,
        compress_level: int = 4,
    ) -> SavedImages:
        """Save to the output folder, and show what was saved."""
        return SavedImages(
            ImageSaveHelper.save_images(
                images, filename_prefix, FolderType.output, cls, compress_level
            )
        )


class PreviewImage(UIOutput):
    """Pictures to look at, saved in the temp folder."""

    def __init__(
        self,
        image: torch.Tensor,
        animated: bool = False,
        cls: type[ComfyNode] | None = None,
        **kwargs: Any,
    ) -> None:
        unique = "".join(random.choices(string.ascii_lowercase, k=5))
        prefix = f"ComfyUI_temp_{unique}"
        self.values = ImageSaveHelper.save_images(image, prefix, FolderType.temp, cls, 1)
        self.animated = animated

    def as_dict(self) -> dict[str, Any]:
        return {"images": self.values, "animated": (self.animated,)}


class PreviewMask(PreviewImage):
    """Masks to look at, as grey pictures."""

    def __init__(
        self,
        mask: torch.Tensor,
        animated: bool = False,
        cls: type[ComfyNode] | None = None,
        **kwargs: Any,
    ) -> None:
        grey = mask.reshape(-1, *mask.shape[-2:], 1).expand(-1, -1, -1, 3)
        super().__init__(grey, animated, cls, **kwargs)


class PreviewText(UIOutput):
    """A text to read."""

    def __init__(self, value: str, **kwargs: Any) -> None:
        self.value = value

    def as_dict(self) -> dict[str, Any]:
        return {"text": (self.value,)}


def to_pil(image: torch.Tensor) -> Image.Image:
    """Turn [H, W, C] in 0..1 into a picture; cuts off like ComfyUI, it does not round."""
    values = np.clip(255.0 * image.cpu().numpy(), 0, 255).astype(np.uint8)
    return Image.fromarray(values)


def save_png(
    image: Image.Image,
    path: Path,
    chunks: PngImagePlugin.PngInfo | None = None,
    compress_level: int = 4,
) -> None:
    """Write a PNG whole or not at all; raises OutputError, for example on a full disk."""
    unfinished = path.with_name(f".{path.name}.part")
    try:
        image.save(unfinished, format="PNG", pnginfo=chunks, compress_level=compress_level)
        os.replace(unfinished, path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise OutputError(f"the picture {path.name} cannot be written: {error}") from error


def _png_chunks(cls: type[ComfyNode] | None) -> PngImagePlugin.PngInfo | None:
    # The canvas restores the workflow from these two.
    if cls is None:
        return None
    chunks = PngImagePlugin.PngInfo()
    if cls.hidden.prompt is not None:
        chunks.add_text("prompt", json.dumps(cls.hidden.prompt))
    for name, value in (cls.hidden.extra_pnginfo or {}).items():
        chunks.add_text(name, json.dumps(value))
    return chunks


__all__ = [
    "ImageSaveHelper",
    "PreviewImage",
    "PreviewMask",
    "PreviewText",
    "SavedImages",
    "SavedResult",
]
