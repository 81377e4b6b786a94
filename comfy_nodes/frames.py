"""The node that aligns the frames of animations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from comfy_api.latest import io

from . import showing
from .checking import check_values
from .errors import BadInput
from .ops import pictures
from .ops.alignment import Alignment, Pivot, align
from .ops.frames import Frame
from .saving import rgba
from .schemas import Category, schema

# px; ComfyUI's own nodes take pictures up to this.
LARGEST_SIZE = 16384


class AlignFrames(io.ComfyNode):
    """Moves frames so that the sprite stands at one place in all of them."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return schema(
            node_id="SpriteworksAlignFrames",
            display_name="Align Frames",
            category=Category.FRAMES,
            description="Moves the frames of an animation by whole pixels so that the sprite "
            "stands at one place of one canvas in all of them. A longer arm, a sword or a stride "
            "moves nothing.",
            is_input_list=True,
            has_intermediate_output=True,
            shown=("pivot",),
            search_aliases=(
                "animation frames",
                "stabilize",
                "stabilise",
                "jitter",
                "pivot",
                "anchor",
                "walk cycle",
                "onion skin",
            ),
            inputs=[
                io.Image.Input(
                    "image",
                    tooltip="The frames, cut out: a batch is an animation, and so is a list of "
                    "single pictures.",
                    extra_dict=showing.ANIMATION,
                ),
                io.Combo.Input(
                    "pivot",
                    options=[one.value for one in Pivot],
                    default=Pivot.GROUND.value,
                    tooltip="What stays at its place. ground: what the sprite stands on. centre: "
                    "its middle, for what flies. box: the middle of its own box's lower edge, for "
                    "icons.",
                ),
                io.Boolean.Input(
                    "keep_height",
                    default=False,
                    tooltip="Leave each frame at its height, as in a jump; what jitters sideways "
                    "goes.",
                ),
                io.Boolean.Input(
                    "one_scale",
                    default=False,
                    tooltip="End the run where a frame is more than a tenth higher or lower than "
                    "most: pixel art is not resampled.",
                ),
                io.Int.Input(
                    "margin",
                    default=0,
                    min=0,
                    max=1024,
                    tooltip="Pixels that stay empty around all frames.",
                ),
                io.Int.Input(
                    "width",
                    default=0,
                    min=0,
                    max=LARGEST_SIZE,
                    tooltip="Width of the canvas, with the pivot in its middle. 0: the smallest "
                    "that holds all frames.",
                ),
                io.Int.Input(
                    "height",
                    default=0,
                    min=0,
                    max=LARGEST_SIZE,
                    tooltip="Height of the canvas; give both, or neither.",
                ),
                io.Mask.Input("mask", optional=True, tooltip="1 where a frame is transparent."),
            ],
            outputs=[
                io.Image.Output(display_name="IMAGE", tooltip="All frames, on one canvas."),
                io.Mask.Output(display_name="MASK", tooltip="1 where they are transparent."),
                io.Int.Output(
                    display_name="pivot_x", tooltip="Where the pivot is, from the left, in px."
                ),
                io.Int.Output(
                    display_name="pivot_y", tooltip="Where the pivot is, from the top, in px."
                ),
                io.String.Output(
                    display_name="report",
                    tooltip="Canvas, pivot, and how far each frame was off; as JSON.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(
        cls, width: Sequence[int | None] = (None,), height: Sequence[int | None] = (None,)
    ) -> bool:
        """Check the canvas. Raises BadInput."""
        across, down = width[0], height[0]
        check_values(cls, {"width": across, "height": down})
        if across is not None and down is not None:
            _check_canvas(across, down)
        return True

    @classmethod
    def execute(
        cls,
        image: list[torch.Tensor],
        pivot: list[str],
        keep_height: list[bool],
        one_scale: list[bool],
        margin: list[int],
        width: list[int],
        height: list[int],
        mask: Sequence[torch.Tensor | None] = (None,),
    ) -> io.NodeOutput:
        """IMAGE and MASK of all frames, the pivot in px, and JSON. Raises BadInput."""
        _check_canvas(width[0], height[0])
        aligned = align(
            _animations(image, mask),
            pivot=Pivot(pivot[0]),
            keep_height=keep_height[0],
            one_scale=one_scale[0],
            margin=margin[0],
            canvas=(width[0], height[0]) if width[0] else None,
        )
        every = [frame.picture for frames in aligned.animations for frame in frames]
        whole = pictures.from_bytes(np.stack(every))
        x, y = aligned.pivot
        return io.NodeOutput(
            whole[..., :3],
            pictures.transparency(whole),
            x,
            y,
            json.dumps(_told(aligned)),
            ui=_shown(aligned),
        )


def _check_canvas(width: int, height: int) -> None:
    if bool(width) != bool(height):
        raise BadInput("Give width and height of the canvas, or neither.")


def _animations(
    image: Sequence[torch.Tensor], mask: Sequence[torch.Tensor | None]
) -> list[list[Frame]]:
    """A batch is an animation; where there are only single pictures, they are one."""
    sets = []
    for index, batch in enumerate(image):
        alpha = mask[min(index, len(mask) - 1)]
        whole = rgba(pictures.checked(batch), alpha)
        sets.append(
            [Frame.whole(f"{index}-{number}", picture) for number, picture in enumerate(whole)]
        )
    if all(len(frames) == 1 for frames in sets):
        return [[frames[0] for frames in sets]]
    return sets


def _shown(aligned: Alignment) -> dict[str, Any] | None:
    frames = [frame for frames in aligned.animations for frame in frames]
    names = {
        str(number): [frame.name for frame in one]
        for number, one in enumerate(aligned.animations, 1)
    }
    return showing.played(frames, names)


def _told(aligned: Alignment) -> dict[str, object]:
    return {
        "canvas": list(aligned.canvas),
        "pivot": list(aligned.pivot),
        "frames": [
            {
                "moved": list(aligned.moved[frame.name]),
                "reduced": aligned.reduced.get(frame.name, 1),
            }
            for frames in aligned.animations
            for frame in frames
        ],
    }
