"""The node that makes pictures into tiles."""

from __future__ import annotations

import numpy as np
import torch
from comfy_api.latest import io

from . import showing
from .errors import BadInput
from .ops import pictures
from .ops.arrays import Bytes
from .ops.tiles import close_seams
from .saving import rgba
from .schemas import Category, schema
from .sets import PER_PICTURE

# px
LARGEST_MARGIN = 1024


class CloseSeams(io.ComfyNode):
    """Makes pictures go on over their edges."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return schema(
            node_id="SpriteworksCloseSeams",
            display_name="Close Seams",
            category=Category.SPRITE,
            description="Makes a picture a tile that goes on over its edges. A seam is covered "
            "with a part of the picture itself, so there is no new colour and no blur. What fits "
            "already stays as it is.",
            has_intermediate_output=True,
            shown=("margin",),
            search_aliases=("seamless", "tile", "tileable", "texture", "tileset", "repeat"),
            inputs=[
                io.Image.Input(
                    "image",
                    tooltip="The pictures, in true pixels: behind Snap to Grid.",
                    extra_dict={**PER_PICTURE, **showing.COMPARISON},
                ),
                io.Int.Input(
                    "margin",
                    default=0,
                    min=0,
                    max=LARGEST_MARGIN,
                    tooltip="Pixels to cut off each side before, where the model paints the tile "
                    "as a thing with a border.",
                ),
                io.Mask.Input("mask", optional=True, tooltip="1 where a picture is transparent."),
            ],
            outputs=[
                io.Image.Output(display_name="IMAGE", tooltip="The tiles."),
                io.Mask.Output(display_name="MASK", tooltip="1 where they are transparent."),
            ],
        )

    @classmethod
    def execute(
        cls, image: torch.Tensor, margin: int, mask: torch.Tensor | None = None
    ) -> io.NodeOutput:
        """The tiles, and where they are transparent; shown twice by twice. Raises BadInput."""
        image = pictures.checked(image)
        every = pictures.to_bytes(image) if mask is None else rgba(image, mask)
        height, width = image.shape[1:3]
        if 2 * margin >= min(height, width):
            raise BadInput(
                f"A margin of {margin} px leaves nothing of a picture of {width}x{height}: set a "
                "smaller one."
            )
        given = list(every[:, margin : height - margin, margin : width - margin])
        closed = [close_seams(one).picture for one in showing.counted(given)]
        whole = pictures.from_bytes(np.stack(closed))
        return io.NodeOutput(
            whole[..., : image.shape[-1]],
            pictures.transparency(whole),
            ui=showing.compared([_laid(one) for one in given], [_laid(one) for one in closed]),
        )


def _laid(tile: Bytes) -> Bytes:
    """A tile beside and below itself, so that its seams can be seen."""
    return np.tile(tile, (2, 2, 1))
