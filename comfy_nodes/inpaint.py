"""Nodes that repaint part of a picture and leave every other pixel as it was."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from .loaders import CATEGORY
from .ops import inpaint

StitchType = io.Custom("SPRITEWORKS_STITCH")


class InpaintCrop(io.ComfyNode):
    """Cuts out what is around a mask, at the size the model was made for."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="SpriteworksInpaintCrop",
            display_name="Inpaint Crop (Spriteworks)",
            category=CATEGORY,
            description="Cuts out the masked part with its surroundings at the model's size. "
            "Sample the crop, then put it back with Inpaint Stitch.",
            inputs=[
                io.Image.Input("image", tooltip="The picture to change."),
                io.Mask.Input("mask", tooltip="What is to be repainted; as large as the picture."),
                io.Int.Input(
                    "width",
                    default=512,
                    min=16,
                    max=16384,
                    step=8,
                    tooltip="Width of the crop: the model's.",
                ),
                io.Int.Input(
                    "height",
                    default=512,
                    min=16,
                    max=16384,
                    step=8,
                    tooltip="Height of the crop: the model's.",
                ),
                io.Float.Input(
                    "context",
                    default=1.5,
                    min=1.0,
                    max=8.0,
                    step=0.1,
                    tooltip="How much is seen around the mask: 1 only the mask, 2 twice its size.",
                ),
                io.Int.Input(
                    "grow",
                    default=4,
                    min=0,
                    max=256,
                    tooltip="Pixels by which the sampled area is wider than the mask. What goes "
                    "back stays within the mask.",
                ),
                io.Int.Input(
                    "feather",
                    default=2,
                    min=0,
                    max=256,
                    tooltip="Pixels inside the mask's edge over which old and new are mixed.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="IMAGE", tooltip="The crop, for VAE Encode."),
                io.Mask.Output(display_name="MASK", tooltip="The crop's mask."),
                StitchType.Output(display_name="STITCH", tooltip="The way back, for the stitch."),
            ],
        )

    @classmethod
    def execute(
        cls,
        image: torch.Tensor,
        mask: torch.Tensor,
        width: int,
        height: int,
        context: float,
        grow: int,
        feather: int,
    ) -> io.NodeOutput:
        """The crop, its mask and the way back. Raises BadInput."""
        return io.NodeOutput(
            *inpaint.crop(image, mask, width, height, context=context, grow=grow, feather=feather)
        )


class InpaintStitch(io.ComfyNode):
    """Puts a repainted crop back; outside the mask the picture stays byte for byte."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="SpriteworksInpaintStitch",
            display_name="Inpaint Stitch (Spriteworks)",
            category=CATEGORY,
            description="Puts the repainted crop back. Outside the mask the picture stays as it "
            "was, byte for byte.",
            inputs=[
                StitchType.Input("stitch", tooltip="From Inpaint Crop."),
                io.Image.Input("image", tooltip="The repainted crop."),
            ],
            outputs=[io.Image.Output(display_name="IMAGE", tooltip="The whole picture.")],
        )

    @classmethod
    def execute(cls, stitch: inpaint.Stitch, image: torch.Tensor) -> io.NodeOutput:
        """The whole picture. Raises BadInput."""
        return io.NodeOutput(inpaint.stitch(stitch, image))
