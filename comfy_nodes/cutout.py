"""The node that cuts sprites out of their background."""

from __future__ import annotations

import numpy as np
import torch
from comfy_api.latest import io

from . import showing
from .errors import BadInput
from .ops import pictures
from .ops.color import hex_color
from .ops.cutout import CutoutOptions, Outline, cut_out
from .saving import rgba
from .schemas import Category, schema
from .sets import PER_PICTURE


class Cutout(io.ComfyNode):
    """Cuts the sprite out of its plain background."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return schema(
            node_id="SpriteworksCutout",
            display_name="Cutout and Outline",
            category=Category.SPRITE,
            description="Takes away the plain background of sprites at their true size. Pixels "
            "mixed with it go too, light parts of the sprite stay. A pixel is there or it is not, "
            "unless soft edges are asked for.",
            has_intermediate_output=True,
            shown=("tolerance", "outline"),
            search_aliases=(
                "remove background",
                "background removal",
                "background remover",
                "rembg",
                "transparent",
                "transparency",
                "alpha",
                "cut out",
                "matting",
                "chroma key",
                "green screen",
                "outline",
                "stroke",
            ),
            inputs=[
                io.Image.Input(
                    "image",
                    tooltip="Sprites on a plain background.",
                    extra_dict={**PER_PICTURE, **showing.COMPARISON},
                ),
                io.Float.Input(
                    "tolerance",
                    default=CutoutOptions.tolerance,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="How far a colour may be from the border's and still be background, if "
                    "small steps lead there; a sharp step may be a fifth of it. 0: exactly the "
                    "same; 1: as far as black from white.",
                ),
                io.Float.Input(
                    "smallest_hole",
                    default=CutoutOptions.smallest_hole,
                    min=0.0,
                    max=1.0,
                    step=0.001,
                    tooltip="Background enclosed by the sprite (the hole of a ring) is cut out if "
                    "it covers at least this part of the picture. 1: never. On a saturated colour, "
                    "a key such as green, it goes whatever it covers.",
                ),
                *_refinements(),
            ],
            outputs=[
                io.Image.Output(
                    display_name="IMAGE",
                    tooltip="The pictures, with the sprite's colour where its edge was mixed with "
                    "the background's, and with the outline that was asked for.",
                ),
                io.Mask.Output(display_name="MASK", tooltip="1 where it is transparent."),
            ],
        )

    @classmethod
    def validate_inputs(cls, outline_colour: str | None = None) -> bool:
        """Check the outline's colour. Raises BadInput."""
        if outline_colour is not None:
            _colour(outline_colour)
        return True

    @classmethod
    def execute(
        cls,
        image: torch.Tensor,
        tolerance: float,
        smallest_hole: float,
        keep_light: bool = CutoutOptions.keep_light,
        despill: bool = CutoutOptions.despill,
        smallest_part: float = CutoutOptions.smallest_part,
        soft_edges: bool = CutoutOptions.soft,
        outline: str = CutoutOptions.outline.value,
        outline_colour: str = "",
        mask: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        """The pictures, and 1 where they are transparent. Raises BadInput."""
        given = rgba(pictures.checked(image), mask)
        options = CutoutOptions(
            tolerance=tolerance,
            smallest_hole=smallest_hole,
            keep_light=keep_light,
            despill=despill,
            smallest_part=smallest_part,
            soft=soft_edges,
            outline=Outline(outline),
            outline_colour=_colour(outline_colour),
        )
        sprites = np.stack([cut_out(picture, options) for picture in showing.counted(list(given))])
        alpha = sprites[..., 3:]
        # Where nothing is seen the picture stays as it was, for those who look at it alone.
        seen = np.where(alpha > 0, sprites[..., :3], given[..., :3])
        return io.NodeOutput(
            pictures.from_bytes(seen),
            1.0 - pictures.from_bytes(alpha)[..., 0],
            ui=showing.compared(list(given), list(sprites)),
        )


def _refinements() -> list[io.Input]:
    return [
        io.Boolean.Input(
            "keep_light",
            default=CutoutOptions.keep_light,
            optional=True,
            tooltip="Enclosed areas stay that look like a light part of the sprite: shaded, framed "
            "by other colours than the sprite is, or behind a mere outline, even with a gap of a "
            "pixel in it. Off: size alone decides.",
        ),
        io.Boolean.Input(
            "despill",
            default=CutoutOptions.despill,
            optional=True,
            tooltip="Edge pixels mixed with the background go, or get the sprite's colour.",
        ),
        io.Float.Input(
            "smallest_part",
            default=CutoutOptions.smallest_part,
            min=0.0,
            max=1.0,
            step=0.005,
            optional=True,
            tooltip="Parts that are smaller than this share of the largest are removed as specks.",
        ),
        io.Boolean.Input(
            "soft_edges",
            default=CutoutOptions.soft,
            optional=True,
            tooltip="Mixed edge pixels become half-transparent, with the sprite's colour. Not for "
            "pixel art.",
        ),
        io.Combo.Input(
            "outline",
            options=[one.value for one in Outline],
            default=CutoutOptions.outline.value,
            optional=True,
            tooltip="close: short gaps in the outline are filled. inside: the outermost pixels "
            "become the outline. outside: a pixel around the sprite does.",
        ),
        io.String.Input(
            "outline_colour",
            default="",
            optional=True,
            placeholder="#1a1c2c",
            tooltip="As hex. Empty: the sprite's own dark edge colour.",
        ),
        io.Mask.Input(
            "mask",
            optional=True,
            tooltip="1 where a picture is transparent already. Such a picture keeps its own "
            "background.",
        ),
    ]


def _colour(text: str) -> tuple[int, int, int] | None:
    if not text.strip():
        return None
    colour = hex_color(text.strip())
    if colour is None:
        raise BadInput(f"The outline's colour {text.strip()!r} is no hex colour such as #1a1c2c.")
    return colour
