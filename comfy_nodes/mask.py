"""The node that makes a mask by a rule."""

from __future__ import annotations

import numpy as np
import torch
from comfy_api.latest import io

from .checking import check_values
from .errors import BadInput
from .ops import masks, pictures
from .ops.masks import LARGEST_GROWTH, Rule
from .schemas import Category, schema
from .sets import PER_PICTURE

# Where no mask is linked; one that is, is None before the run.
_NONE = object()


class SpriteMask(io.ComfyNode):
    """Marks part of a picture by a rule that fits a whole folder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return schema(
            node_id="SpriteworksMask",
            display_name="Sprite Mask",
            category=Category.INPAINT,
            description="Makes a mask by a rule: from the transparency, from a colour, or from a "
            "given mask; grown, shrunk and inverted. So one rule serves a whole folder.",
            shown=("rule", "colour", "tolerance", "grow"),
            search_aliases=(
                "mask from color",
                "mask by color",
                "color to mask",
                "alpha to mask",
                "grow mask",
                "invert mask",
                "magic wand",
                "select color",
            ),
            inputs=[
                io.Image.Input("image", tooltip="The pictures.", extra_dict=PER_PICTURE),
                io.Combo.Input(
                    "rule",
                    options=[one.value for one in Rule],
                    default=Rule.MASK.value,
                    tooltip="mask: what the given mask marks. opaque, transparent: what is there, "
                    "or is not. colour: what has about that colour. commonest: what has about the "
                    "colour that most of the picture has.",
                ),
                io.String.Input(
                    "colour", default="#ffffff", tooltip="The colour of the rule colour, as hex."
                ),
                io.Float.Input(
                    "tolerance",
                    default=0.1,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="How far a colour may be from it. 0: exactly the same; 1: as far as "
                    "black from white.",
                ),
                io.Boolean.Input(
                    "invert", default=False, tooltip="Mark what the rule does not, before growing."
                ),
                io.Int.Input(
                    "grow",
                    default=0,
                    min=-LARGEST_GROWTH,
                    max=LARGEST_GROWTH,
                    tooltip="Pixels by which the mask is widened, or shrunk where below 0.",
                ),
                io.Boolean.Input(
                    "true_pixels",
                    default=False,
                    tooltip="Mark whole true pixels of the picture's own grid, those of which at "
                    "least half are marked, and grow by true pixels.",
                ),
                io.Mask.Input(
                    "mask", optional=True, tooltip="What the rule mask marks, from half on."
                ),
                io.Mask.Input(
                    "alpha",
                    optional=True,
                    tooltip="1 where the picture is transparent: the MASK of Load Image.",
                ),
            ],
            outputs=[io.Mask.Output(display_name="MASK", tooltip="1 where it is marked.")],
        )

    @classmethod
    def validate_inputs(
        cls, rule: str | None = None, colour: str | None = None, mask: object = _NONE
    ) -> bool:
        """Check that the rule has what it needs. Raises BadInput."""
        check_values(cls, {"rule": rule})
        if rule is not None:
            masks.check_rule(Rule(rule), colour, has_mask=mask is not _NONE)
        return True

    @classmethod
    def execute(
        cls,
        image: torch.Tensor,
        rule: str,
        colour: str,
        tolerance: float,
        invert: bool,
        grow: int,
        true_pixels: bool,
        mask: torch.Tensor | None = None,
        alpha: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        """MASK [B, H, W] of 0 and 1. Raises BadInput."""
        chosen = Rule(rule)
        batch = pictures.to_bytes(pictures.with_alpha(image, alpha))
        given = _given(mask, batch.shape[:3]) if chosen is Rule.MASK else None
        made = [
            masks.sprite_mask(
                picture,
                chosen,
                given=None if given is None else given[index],
                colour=colour,
                tolerance=tolerance,
                grow=grow,
                invert=invert,
                true_pixels=true_pixels,
            )
            for index, picture in enumerate(batch)
        ]
        return io.NodeOutput(torch.from_numpy(np.stack(made)).float())


def _given(mask: torch.Tensor | None, shape: tuple[int, ...]) -> masks.Flags | None:
    """The given mask as flags [B, H, W]; one may serve all."""
    if mask is None:
        return None
    mask = mask[None] if mask.ndim == 2 else mask
    count, height, width = shape
    if mask.shape[-2:] != (height, width) or mask.shape[0] not in (1, count):
        raise BadInput(
            f"The mask has the shape {list(mask.shape)} and the pictures {list(shape)}: they must "
            "be of one size, with one mask for all or one for each."
        )
    flags: masks.Flags = (mask.detach().cpu().float() >= 0.5).expand(count, -1, -1).numpy()
    return flags
