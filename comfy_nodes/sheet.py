"""The nodes that put frames on a sheet and save it as game engines read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from comfy_api.latest import io

from . import showing
from .checking import check_values
from .errors import BadInput
from .formats.sheets import FORMATS, check_known
from .ops import pictures
from .ops.duplicates import Nearness
from .ops.frames import Animation, Direction, Frame
from .ops.packing import LARGEST
from .ops.sheet import Sheet, in_grid, packed
from .saving import rgba, save_sheet
from .schemas import Category, schema

SHEET = io.Custom("SPRITEWORKS_SHEET")


class SpriteSheet(io.ComfyNode):
    """Puts the frames of an animation on a sheet, with those that are there."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return schema(
            node_id="SpriteworksSpriteSheet",
            display_name="Sprite Sheet",
            category=Category.SHEET,
            description="Puts pictures on a sheet that finds its own size: trimmed, equal ones "
            "once; or on a grid. One node for each animation, joined by their sheets.",
            is_input_list=True,
            shown=("animation", "fps", "columns"),
            search_aliases=(
                "sprite sheet",
                "spritesheet",
                "texture atlas",
                "atlas",
                "texture packer",
                "animation",
                "pack sprites",
                "tileset",
                "sprite strip",
                "combine frames",
            ),
            inputs=[
                io.Image.Input("image", tooltip="The frames, in order, as a batch or a list."),
                io.String.Input(
                    "animation",
                    default="walk",
                    tooltip="Its name; the frames are called by it and a number. Empty: the "
                    "pictures are no animation, as icons.",
                ),
                io.Float.Input(
                    "fps", default=10.0, min=0.1, max=1000.0, step=0.1, tooltip="Frames a second."
                ),
                io.Combo.Input(
                    "direction",
                    options=[one.value for one in Direction],
                    default=Direction.FORWARD.value,
                    tooltip="How it is played; pingpong: there and back.",
                ),
                io.Boolean.Input("loop", default=True, tooltip="Whether it begins again."),
                io.Int.Input(
                    "columns",
                    default=0,
                    min=0,
                    max=1024,
                    tooltip="Cells in a row of a grid of equal cells. 0: packed.",
                ),
                io.Int.Input(
                    "padding", default=2, min=0, max=256, tooltip="Pixels between two frames."
                ),
                io.Int.Input(
                    "extrude",
                    default=1,
                    min=0,
                    max=16,
                    tooltip="Pixels by which the edge of each frame is repeated around it, so that "
                    "an engine that blends pixels meets no other colour.",
                ),
                io.Boolean.Input(
                    "power_of_two", default=False, tooltip="Sides of 64, 128, 256, ... pixels."
                ),
                io.Int.Input(
                    "max_size",
                    default=4096,
                    min=1,
                    max=LARGEST,
                    tooltip="Longest side of a page; what does not fit goes on another.",
                ),
                io.Int.Input(
                    "pivot_x",
                    default=-1,
                    min=-1,
                    max=LARGEST,
                    optional=True,
                    tooltip="The ground point from the left, as Align Frames gives it. -1: the "
                    "middle.",
                ),
                io.Int.Input(
                    "pivot_y",
                    default=-1,
                    min=-1,
                    max=LARGEST,
                    optional=True,
                    tooltip="The ground point from the top. -1: the lower edge.",
                ),
                io.Mask.Input("mask", optional=True, tooltip="1 where a frame is transparent."),
                SHEET.Input("sheet", optional=True, tooltip="The animations before this one."),
                io.Boolean.Input(
                    "rotate",
                    default=False,
                    optional=True,
                    tooltip="Frames may be turned by 90 degrees, where they take less room so. "
                    "Save Sheet refuses formats whose engine cannot turn them back.",
                ),
                io.Float.Input(
                    "near",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    optional=True,
                    tooltip="Frames with no pixel that differs by more share one picture: a "
                    "distance in OKLab, or in alpha of 1. 0: equal frames only.",
                ),
            ],
            outputs=[
                SHEET.Output(display_name="sheet", tooltip="All frames, for Save Sheet."),
                io.Image.Output(
                    display_name="IMAGE", tooltip="The pages of the sheet.", is_output_list=True
                ),
                io.Mask.Output(
                    display_name="MASK",
                    tooltip="1 where they are transparent.",
                    is_output_list=True,
                ),
            ],
        )

    @classmethod
    def validate_inputs(
        cls,
        columns: Sequence[int | None] = (0,),
        rotate: Sequence[bool | None] = (False,),
        near: Sequence[float | None] = (0.0,),
    ) -> bool:
        """Check that what is wanted of the layout goes together. Raises BadInput."""
        check_values(cls, {"columns": columns[0], "near": near[0]})
        _check_layout(columns[0], rotate[0], near[0])
        return True

    @classmethod
    def execute(
        cls,
        image: list[torch.Tensor],
        animation: list[str],
        fps: list[float],
        direction: list[str],
        loop: list[bool],
        columns: list[int],
        padding: list[int],
        extrude: list[int],
        power_of_two: list[bool],
        max_size: list[int],
        pivot_x: Sequence[int] = (-1,),
        pivot_y: Sequence[int] = (-1,),
        mask: Sequence[torch.Tensor | None] = (None,),
        sheet: Sequence[Sheet | None] = (None,),
        rotate: Sequence[bool] = (False,),
        near: Sequence[float] = (0.0,),
    ) -> io.NodeOutput:
        """The sheet, and its pages as lists of IMAGE and MASK. Raises BadInput."""
        _check_layout(columns[0], rotate[0], near[0])
        before = sheet[0]
        frames = [*(before.frames if before else ())]
        animations = [*(before.animations if before else ())]
        name = animation[0].strip()
        own = _frames(image, mask, name, len(frames), round(1000 / fps[0]))
        own = [_standing(frame, pivot_x[0], pivot_y[0]) for frame in own]
        if name:
            names = tuple(frame.name for frame in own)
            animations.append(Animation(name, names, Direction(direction[0]), loop[0]))
        frames += own
        if columns[0]:
            made = in_grid(
                frames,
                animations,
                columns=columns[0],
                padding=padding[0],
                extrude=extrude[0],
            )
        else:
            made = packed(
                frames,
                animations,
                padding=padding[0],
                extrude=extrude[0],
                largest=max_size[0],
                power_of_two=power_of_two[0],
                rotate=rotate[0],
                near=Nearness(distance=near[0]) if near[0] else None,
            )
        pages = [pictures.from_bytes(page[None]) for page in made.pages]
        masks = [pictures.transparency(page) for page in pages]
        return io.NodeOutput(made, [page[..., :3] for page in pages], masks)


def _check_layout(columns: int | None, rotate: bool | None, near: float | None) -> None:
    """None is not known yet."""
    if columns and (rotate or near):
        raise BadInput(
            "A grid has a cell for each frame, as it is: set columns to 0, or rotate to off and "
            "near to 0."
        )


def _frames(
    image: Sequence[torch.Tensor],
    mask: Sequence[torch.Tensor | None],
    name: str,
    known: int,
    duration: int,
) -> list[Frame]:
    """All pictures as frames, numbered from 1; those of no animation go on from `known`."""
    every = []
    for index, batch in enumerate(image):
        every += list(rgba(pictures.checked(batch), mask[min(index, len(mask) - 1)]))
    first, stem = (1, name) if name else (known + 1, "sprite")
    return [
        Frame.whole(f"{stem}_{number}", picture, duration=max(1, duration))
        for number, picture in enumerate(every, first)
    ]


def _standing(frame: Frame, x: int, y: int) -> Frame:
    width, height = frame.source
    pivot = float(width // 2 if x < 0 else x), float(height if y < 0 else y)
    return Frame.whole(frame.name, frame.picture, pivot, frame.duration)


class SaveSheet(io.ComfyNode):
    """Saves a sheet in a folder of its own, as game engines read it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return schema(
            node_id="SpriteworksSaveSheet",
            display_name="Save Sheet",
            category=Category.SHEET,
            description="Saves a sheet with the files that game engines and drawing programs read, "
            "in a folder of its own in the output folder.",
            shown=("filename_prefix", "formats"),
            search_aliases=(
                "save sprite sheet",
                "export sprite sheet",
                "save atlas",
                "export animation",
                "godot",
                "unity",
                "phaser",
                "aseprite",
                "gif",
            ),
            inputs=[
                SHEET.Input(
                    "sheet", tooltip="As Sprite Sheet gives it.", extra_dict=showing.ANIMATION
                ),
                io.String.Input(
                    "filename_prefix",
                    default="hero",
                    tooltip="What the files are called, and their folder with a number; a / makes "
                    "a subfolder.",
                ),
                io.String.Input(
                    "formats",
                    default="phaser, godot",
                    tooltip=f"Who reads it, one or several: {', '.join(FORMATS)}.",
                ),
            ],
            outputs=[],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, formats: str | None = None) -> bool:
        """Check the names of the formats. Raises BadInput."""
        if formats is not None:
            _named(formats)
        return True

    @classmethod
    def execute(cls, sheet: Sheet, filename_prefix: str, formats: str) -> io.NodeOutput:
        """Writes the files and tells the host where they are. Raises BadInput or SaveFailed."""
        wanted = _named(formats)
        texts: dict[str, object] = {}
        if cls.hidden.prompt is not None:
            texts["prompt"] = cls.hidden.prompt
        texts.update(cls.hidden.extra_pnginfo or {})
        saved: dict[str, Any] = dict(save_sheet(sheet, filename_prefix, wanted, texts))
        if (played := showing.sheet_told(sheet)) is not None:
            saved[showing.KEY] = [played]
        return io.NodeOutput(ui=saved)


def _named(formats: str) -> list[str]:
    """The formats in a list. Raises BadInput where there is none, and for one that is not known."""
    wanted = [name.strip().lower() for name in formats.split(",") if name.strip()]
    if not wanted:
        raise BadInput(f"No format is named; there are {', '.join(FORMATS)}.")
    check_known(wanted)
    return wanted
