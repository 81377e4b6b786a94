"""Nodes that find the grid of fake pixels."""

from __future__ import annotations

import json

import numpy as np
import torch
from comfy_api.latest import io

from . import sets, showing
from .checking import check_values
from .errors import BadInput
from .ops import grid, pictures
from .ops.arrays import Bytes
from .ops.true_pixels import LARGEST_SCALE, Colour, Snapped, snap_sequence
from .saving import rgba
from .schemas import Category, schema
from .sets import PER_PICTURE

# px; ComfyUI's own nodes take pictures up to this.
LARGEST_SIZE = 16384


class Snap(io.ComfyNode):
    """Finds the grid of fake pixels and gives the true ones."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return schema(
            node_id="SpriteworksSnap",
            display_name="Snap to Grid",
            category=Category.SPRITE,
            description="Finds the grid of fake pixels, also where it is fractional, drifting or "
            "blurred, and gives the true pixels: 32x32, not 428x428. What is at its true size "
            "already stays as it is.",
            has_intermediate_output=True,
            shown=("width", "height"),
            search_aliases=(
                "pixel perfect",
                "pixel art",
                "pixelate",
                "pixel grid",
                "grid",
                "downscale",
                "true pixels",
                "fake pixels",
                "unfake",
                "nearest neighbor",
            ),
            inputs=[
                io.Image.Input(
                    "image",
                    tooltip="The pictures.",
                    extra_dict={**PER_PICTURE, **showing.COMPARISON},
                ),
                io.Int.Input(
                    "width",
                    default=0,
                    min=0,
                    max=LARGEST_SIZE,
                    tooltip="The true width, where it is known. 0: find it.",
                ),
                io.Int.Input(
                    "height",
                    default=0,
                    min=0,
                    max=LARGEST_SIZE,
                    tooltip="The true height, where it is known. 0: it follows.",
                ),
                io.Float.Input(
                    "pitch",
                    default=0.0,
                    min=0.0,
                    max=1024.0,
                    step=0.01,
                    tooltip="Side of a fake pixel, where it is known. 0: find it.",
                ),
                io.Combo.Input(
                    "colour",
                    options=[one.value for one in Colour],
                    default=Colour.MEDIAN.value,
                    tooltip="A pixel's colour, from the middle of its cell. median: the middle "
                    "one. mode: the most common one. k-centroid: the mean of the larger of two "
                    "clusters.",
                ),
                io.Int.Input(
                    "scale",
                    default=1,
                    min=1,
                    max=LARGEST_SCALE,
                    tooltip="Enlarge each true pixel so many times; for looking.",
                ),
                sets.whole_set(
                    "sequence",
                    "The pictures are frames of one animation: one pitch, phase and size for all "
                    "of them.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="1 where a picture is transparent; it is snapped, too.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="IMAGE",
                    tooltip="The true pixels, each picture in its own size; a sequence as one.",
                    is_output_list=True,
                ),
                io.Mask.Output(
                    display_name="MASK",
                    tooltip="1 where they are transparent.",
                    is_output_list=True,
                ),
                io.String.Output(
                    display_name="report",
                    tooltip="What was found in each: pitch, offset, size, confidence; as JSON.",
                    is_output_list=True,
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, width: int | None = None, height: int | None = None) -> bool:
        """Check the size. Raises BadInput."""
        check_values(cls, {"width": width, "height": height})
        if width is not None and height is not None:
            _check_size(width, height)
        return True

    @classmethod
    def execute(
        cls,
        image: torch.Tensor,
        width: int,
        height: int,
        pitch: float,
        colour: str,
        scale: int,
        sequence: bool,
        mask: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        """Lists of IMAGE, MASK and JSON, one a picture or one a sequence. Raises BadInput."""
        _check_size(width, height)
        image = pictures.checked(image)
        given = pictures.to_bytes(image) if mask is None else rgba(image, mask)
        batches = [list(given)] if sequence else [[one] for one in given]
        found = [
            snap_sequence(
                batch,
                size=(width, height or None) if width else None,
                pitch=pitch or None,
                colour=Colour(colour),
                scale=scale,
            )
            for batch in showing.counted(batches)
        ]
        snapped = [pictures.from_bytes(np.stack([one.picture for one in each])) for each in found]
        told = [_told(one) for each in found for one in each]
        after = [one.picture for each in found for one in each]
        return io.NodeOutput(
            [each[..., : image.shape[-1]] for each in snapped],
            [pictures.transparency(each) for each in snapped],
            [json.dumps([_told(one) for one in each]) for each in found],
            ui=showing.compared(list(given), after, told),
        )


def _check_size(width: int, height: int) -> None:
    if height and not width:
        raise BadInput("Give the true width, too, or neither: the height follows from it.")


def _told(found: Snapped) -> dict[str, object]:
    return {
        "pitch": found.pitch,
        "offset": found.offset,
        "width": found.width,
        "height": found.height,
        "confidence": found.confidence,
        "sure": found.sure,
        "colours": found.colours,
        "alpha_binary": found.alpha_binary,
    }


class Pixelize(io.ComfyNode):
    """Snaps a picture to its pixel grid."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return schema(
            node_id="SpriteworksPixelize",
            display_name="Pixelize",
            category=Category.SPRITE,
            description="Finds the grid of fake pixels and gives every cell one colour. The size "
            "of the picture stays; doing it twice changes nothing more. Snap to Grid "
            "finds more grids, and gives the true pixels.",
            is_deprecated=True,
            shown=("pixel_size",),
            inputs=[
                io.Image.Input(
                    "image", tooltip="The pictures; each has its own grid.", extra_dict=PER_PICTURE
                ),
                io.Int.Input(
                    "pixel_size",
                    default=0,
                    min=0,
                    max=grid.LARGEST,
                    tooltip="Side of a pixel cell in pixels. 0: find it; a picture without a grid "
                    f"is then made {grid.FALLBACK_PIXELS} cells across its short side.",
                ),
                io.Combo.Input(
                    "method",
                    options=[one.value for one in grid.Method],
                    default=grid.Method.MODE.value,
                    tooltip="A cell's colour. mode: the most common one. median: the middle one. "
                    "center: that of the pixel in the middle.",
                ),
            ],
            outputs=[io.Image.Output(display_name="IMAGE", tooltip="The pictures on their grid.")],
        )

    @classmethod
    def execute(cls, image: torch.Tensor, pixel_size: int, method: str) -> io.NodeOutput:
        """The pictures with one colour a cell. Raises BadInput."""

        def work(picture: Bytes) -> Bytes:
            found = (
                grid.with_offsets(picture, pixel_size) if pixel_size else grid.find_grid(picture)
            )
            return grid.snap(picture, found, grid.Method(method))

        return io.NodeOutput(pictures.each(image, work))
