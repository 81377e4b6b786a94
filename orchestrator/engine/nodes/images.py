"""Core nodes that read, make, resize and save pictures."""

from __future__ import annotations

import hashlib
import random
import string
import time
from pathlib import Path
from typing import Any

import torch

from ...errors import InputError
from .. import room
from ..host import CoreNode, context, io, ui
from ..pictures.reading import read_mask, read_picture
from ..pictures.resizing import CROPS, IMAGE_METHODS, resize, to_pil
from ..stopping import read_stoppably
from .latents import MAX_SIDE


class _FromInput(CoreNode):
    """Reads a file of the input folder (or of another one: `name [output]`)."""

    @classmethod
    def validate_inputs(cls, image: str) -> bool | str:  # type: ignore[override]
        """Any file that there is will do, also one in a subfolder, which the list leaves out."""
        try:
            context().folders.input_file(image)
        except InputError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(  # type: ignore[override]
        cls, image: str, **others: Any
    ) -> str:
        """Of the file's bytes: the same name may be another picture next time."""
        return _sha256(context().folders.input_file(image))


class LoadImage(_FromInput):
    """A picture and its transparency."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="LoadImage",
            display_name="Load Image",
            category="image",
            essentials_category="Basics",
            inputs=[
                io.Combo.Input(
                    "image", options=context().folders.input_images(), upload=io.UploadType.image
                )
            ],
            outputs=[io.Image.Output(), io.Mask.Output()],
        )

    @classmethod
    def execute(cls, image: str) -> io.NodeOutput:
        """IMAGE, and MASK with 1 where the picture is transparent."""
        return io.NodeOutput(*read_picture(context().folders.input_file(image)))


class LoadImageMask(_FromInput):
    """One channel of a picture as a mask."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="LoadImageMask",
            display_name="Load Image (as Mask)",
            category="image",
            essentials_category="Image Tools",
            inputs=[
                io.Combo.Input(
                    "image", options=context().folders.input_images(), upload=io.UploadType.image
                ),
                io.Combo.Input("channel", options=["alpha", "red", "green", "blue"]),
            ],
            outputs=[io.Mask.Output()],
        )

    @classmethod
    def execute(cls, image: str, channel: str) -> io.NodeOutput:
        """MASK; the alpha channel is turned round, so that 1 is transparent."""
        return io.NodeOutput(read_mask(context().folders.input_file(image), channel))


class ImageScale(CoreNode):
    """Pictures of another size."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ImageScale",
            display_name="Upscale Image",
            category="image/upscaling",
            essentials_category="Image Tools",
            inputs=[
                io.Image.Input("image"),
                io.Combo.Input("upscale_method", options=IMAGE_METHODS),
                io.Int.Input("width", default=512, min=0, max=MAX_SIDE, step=1),
                io.Int.Input("height", default=512, min=0, max=MAX_SIDE, step=1),
                io.Combo.Input("crop", options=CROPS),
            ],
            outputs=[io.Image.Output()],
        )

    @classmethod
    def execute(
        cls, image: torch.Tensor, upscale_method: str, width: int, height: int, crop: str
    ) -> io.NodeOutput:
        """IMAGE; a side of 0 follows the other one, 0 and 0 keep the size."""
        if width == 0 and height == 0:
            return io.NodeOutput(image)
        tall, wide = image.shape[1:3]
        if width == 0:
            width = max(1, round(wide * height / tall))
        elif height == 0:
            height = max(1, round(tall * width / wide))
        return io.NodeOutput(_resized(image, width, height, upscale_method, crop))


class ImageScaleBy(CoreNode):
    """Pictures enlarged by a factor."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ImageScaleBy",
            display_name="Upscale Image By",
            category="image/upscaling",
            essentials_category="Image Tools",
            inputs=[
                io.Image.Input("image"),
                io.Combo.Input("upscale_method", options=IMAGE_METHODS),
                io.Float.Input("scale_by", default=1.0, min=0.01, max=8.0, step=0.01),
            ],
            outputs=[io.Image.Output()],
        )

    @classmethod
    def execute(cls, image: torch.Tensor, upscale_method: str, scale_by: float) -> io.NodeOutput:
        """IMAGE."""
        tall, wide = image.shape[1:3]
        width, height = round(wide * scale_by), round(tall * scale_by)
        return io.NodeOutput(_resized(image, width, height, upscale_method, "disabled"))


class EmptyImage(CoreNode):
    """Pictures of one colour."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        # The canvas shows a colour picker; the API's own list of displays leaves that one out.
        picker = {"display": "color"}
        return io.Schema(
            node_id="EmptyImage",
            display_name="Empty Image",
            category="image",
            inputs=[
                io.Int.Input("width", default=512, min=1, max=MAX_SIDE, step=1),
                io.Int.Input("height", default=512, min=1, max=MAX_SIDE, step=1),
                io.Int.Input("batch_size", default=1, min=1, max=4096),
                io.Int.Input("color", default=0, min=0, max=0xFFFFFF, step=1, extra_dict=picker),
            ],
            outputs=[io.Image.Output()],
        )

    @classmethod
    def execute(cls, width: int, height: int, batch_size: int = 1, color: int = 0) -> io.NodeOutput:
        """IMAGE filled with 0xRRGGBB."""
        need = room.of_tensors(batch_size, height, width, 3)
        room.check(f"{batch_size:,} pictures of {width} x {height}", need)
        channels = [(color >> shift & 0xFF) / 0xFF for shift in (16, 8, 0)]
        filled = torch.tensor(channels).expand(batch_size, height, width, 3)
        return io.NodeOutput(filled.clone())


class SaveImage(CoreNode):
    """Pictures in the output folder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="SaveImage",
            display_name="Save Image",
            category="image",
            description="Saves pictures in the output folder.",
            essentials_category="Basics",
            inputs=[
                io.Image.Input("images", tooltip="What to save."),
                io.String.Input(
                    "filename_prefix",
                    default="ComfyUI",
                    tooltip="What the files' names begin with; may hold %date:yyyy-MM-dd% and "
                    "values of nodes like %Empty Latent Image.width%.",
                ),
            ],
            outputs=[io.Image.Output(display_name="images")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, images: torch.Tensor, filename_prefix: str = "ComfyUI") -> io.NodeOutput:
        """Writes numbered PNGs that carry the graph; gives the pictures on."""
        shown = ui.ImageSaveHelper.get_save_images_ui(images, filename_prefix, cls=cls)
        return io.NodeOutput(images, ui=shown)


class PreviewImage(CoreNode):
    """Pictures to look at."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="PreviewImage",
            display_name="Preview Image",
            category="image",
            description="Saves pictures in the temp folder, to look at.",
            essentials_category="Basics",
            inputs=[io.Image.Input("images")],
            outputs=[io.Image.Output(display_name="images")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, images: torch.Tensor) -> io.NodeOutput:
        """Writes numbered PNGs under a name of their own; gives the pictures on."""
        unique = "".join(random.choices(string.ascii_lowercase, k=5))
        saved = ui.ImageSaveHelper.save_images(
            images, f"ComfyUI_temp_{unique}", io.FolderType.temp, cls, compress_level=1
        )
        return io.NodeOutput(images, ui=ui.SavedImages(saved))


class SaveImageWebsocket(CoreNode):
    """Pictures straight to the client, as PNG previews."""

    RELATIVE_PYTHON_MODULE = "custom_nodes.websocket_image_save"

    @classmethod
    def GET_SCHEMA(cls) -> io.Schema:
        """As ComfyUI's, which writes no file and so does not ask for the graph."""
        schema = super().GET_SCHEMA()
        schema.hidden.clear()
        return schema

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="SaveImageWebsocket",
            display_name="Save Image (Websocket)",
            category="image",
            inputs=[io.Image.Input("images")],
            is_output_node=True,
        )

    @classmethod
    def fingerprint_inputs(cls, **inputs: Any) -> float:
        """Always another: a client that asks again wants the pictures again."""
        return time.time()

    @classmethod
    def execute(cls, images: torch.Tensor) -> io.NodeOutput:
        """Sends one frame a picture."""
        for step, image in enumerate(images):
            context().progress(step, len(images), to_pil(image), format="png")
        return io.NodeOutput()


def _resized(image: torch.Tensor, width: int, height: int, method: str, crop: str) -> torch.Tensor:
    return resize(image.movedim(-1, 1), width, height, method, crop).movedim(1, -1)


def _sha256(path: Path) -> str:
    return hashlib.sha256(read_stoppably(path.read_bytes)).hexdigest()


IMAGE_NODES = [
    LoadImage,
    LoadImageMask,
    ImageScale,
    ImageScaleBy,
    EmptyImage,
    SaveImage,
    PreviewImage,
    SaveImageWebsocket,
]
