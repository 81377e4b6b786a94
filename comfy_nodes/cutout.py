"""The node that cuts sprites out of their background."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from .loaders import CATEGORY
from .ops import alpha, pictures
from .sets import PER_PICTURE


class Cutout(io.ComfyNode):
    """Cuts the sprite out of its plain background."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="SpriteworksCutout",
            display_name="Cutout (Spriteworks)",
            category=CATEGORY,
            description="Takes away the plain background. A pixel is there or it is not: no "
            "half-transparent edges. White highlights inside the sprite stay.",
            inputs=[
                io.Image.Input(
                    "image", tooltip="Sprites on a plain background.", extra_dict=PER_PICTURE
                ),
                io.Float.Input(
                    "tolerance",
                    default=0.15,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="How far a colour may be from the border's and still be background. "
                    "0: exactly the same; 1: as far as black from white.",
                ),
                io.Float.Input(
                    "smallest_hole",
                    default=0.01,
                    min=0.0,
                    max=1.0,
                    step=0.005,
                    tooltip="Background enclosed by the sprite (the hole of a ring) is cut out if "
                    "it covers at least this part of the picture. 1: never.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="IMAGE", tooltip="The pictures as they were."),
                io.Mask.Output(display_name="MASK", tooltip="1 where it is transparent."),
            ],
        )

    @classmethod
    def execute(cls, image: torch.Tensor, tolerance: float, smallest_hole: float) -> io.NodeOutput:
        """The pictures, and 1 where they are transparent. Raises BadInput."""
        image = pictures.checked(image)
        sprites = [
            alpha.cut_out(picture, tolerance, smallest_hole) for picture in pictures.to_bytes(image)
        ]
        mask = torch.stack([torch.from_numpy(~sprite).float() for sprite in sprites])
        return io.NodeOutput(image[..., :3], mask)
