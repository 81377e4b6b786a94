"""Nodes that repaint part of a picture and leave every other pixel as it was."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from .errors import BadInput
from .ops import inpaint, pictures
from .ops.color import hex_color
from .ops.inpaint import PixelArtMode
from .ops.palette import LARGEST
from .ops.seam import Match
from .schemas import Category, schema

WHITE = "#ffffff"

StitchType = io.Custom("SPRITEWORKS_STITCH")


class InpaintCrop(io.ComfyNode):
    """Cuts out what is around a mask, at the size the model was made for."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return schema(
            node_id="SpriteworksInpaintCrop",
            display_name="Inpaint Crop",
            category=Category.INPAINT,
            description="Cuts out the masked part with its surroundings at the model's size. "
            "Sample the crop, then put it back with Inpaint Stitch.",
            shown=("width", "height", "context"),
            search_aliases=(
                "inpaint",
                "inpainting",
                "crop and stitch",
                "crop by mask",
                "repaint",
                "masked area",
            ),
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
                    tooltip="Pixels inside the mask's edge over which old and new are mixed. None "
                    "in pixel art.",
                ),
                io.Combo.Input(
                    "pixel_art",
                    options=[one.value for one in PixelArtMode],
                    default=PixelArtMode.AUTO.value,
                    optional=True,
                    tooltip="In pixel art true pixels are repainted as a whole, those wholly "
                    "within the mask, in the picture's own colours. auto: where the picture shows "
                    "a sure grid, or has few colours.",
                ),
                io.String.Input(
                    "background",
                    default=WHITE,
                    optional=True,
                    tooltip="Colour in which the model sees what is transparent.",
                ),
                io.Mask.Input(
                    "alpha",
                    optional=True,
                    tooltip="1 where the picture is transparent: the MASK of Load Image.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="IMAGE", tooltip="The crop, for VAE Encode."),
                io.Mask.Output(display_name="MASK", tooltip="The crop's mask."),
                StitchType.Output(display_name="STITCH", tooltip="The way back, for the stitch."),
            ],
        )

    @classmethod
    def validate_inputs(cls, background: str | None = None) -> bool:
        """Check the background's colour. Raises BadInput."""
        if background is not None:
            _behind(background)
        return True

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
        pixel_art: str = PixelArtMode.AUTO.value,
        background: str = WHITE,
        alpha: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        """The crop, its mask and the way back. Raises BadInput."""
        behind = _behind(background)
        return io.NodeOutput(
            *inpaint.crop(
                pictures.with_alpha(image, alpha),
                mask,
                width,
                height,
                context=context,
                grow=grow,
                feather=feather,
                pixel_art=PixelArtMode(pixel_art),
                background=behind,
            )
        )


def _behind(background: str) -> tuple[int, int, int]:
    found = hex_color(background.strip())
    if found is None:
        raise BadInput(f"The background {background!r} is no colour: write one like {WHITE}.")
    return found


class InpaintStitch(io.ComfyNode):
    """Puts a repainted crop back; outside the mask the picture stays byte for byte."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return schema(
            node_id="SpriteworksInpaintStitch",
            display_name="Inpaint Stitch",
            category=Category.INPAINT,
            description="Puts the repainted crop back. Outside the mask the picture stays as it "
            "was, byte for byte.",
            shown=("keep_outline",),
            search_aliases=("inpaint", "inpainting", "uncrop", "paste back", "blend"),
            inputs=[
                StitchType.Input("stitch", tooltip="From Inpaint Crop."),
                io.Image.Input("image", tooltip="The repainted crop."),
                io.Boolean.Input(
                    "keep_outline",
                    default=True,
                    optional=True,
                    tooltip="In pixel art: repaint only what is inside of the sprite's outline. "
                    "Off: all of the mask, for another shape.",
                ),
                io.Int.Input(
                    "new_colours",
                    default=0,
                    min=0,
                    max=LARGEST,
                    optional=True,
                    tooltip="In pixel art: so many colours that the picture has not, at most.",
                ),
                io.Combo.Input(
                    "match_colours",
                    options=[one.value for one in Match],
                    default=Match.OFF.value,
                    optional=True,
                    tooltip="For other pictures: shift the painted colours to those around the "
                    "mask. mean: all by the same. seam: so that no step is left along the mask.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="IMAGE", tooltip="The whole picture."),
                io.Mask.Output(display_name="MASK", tooltip="1 where it is transparent."),
            ],
        )

    @classmethod
    def execute(
        cls,
        stitch: inpaint.Stitch,
        image: torch.Tensor,
        keep_outline: bool = True,
        new_colours: int = 0,
        match_colours: str = Match.OFF.value,
    ) -> io.NodeOutput:
        """The whole picture, and where it is transparent. Raises BadInput."""
        whole = inpaint.stitch(
            stitch,
            image,
            keep_outline=keep_outline,
            new_colours=new_colours,
            match=Match(match_colours),
        )
        return io.NodeOutput(whole, pictures.transparency(whole))
