"""Nodes that paint pictures with few colours, and change them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import torch
from comfy_api.latest import io

from . import sets, showing
from .errors import BadInput
from .formats.typed import is_name, palette_in, parse_ramp, ramp_in
from .formats.well_known import WELL_KNOWN
from .ops import palette as _palette
from .ops import pictures
from .ops.arrays import Bytes
from .ops.palette import Dither
from .saving import rgba
from .schemas import Category, schema
from .sets import PER_PICTURE

Value = TypeVar("Value")

PATTERNS = [one.value for one in Dither if one is not Dither.NONE]


class Palette(io.ComfyNode):
    """Paints pictures with few colours."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return schema(
            node_id="SpriteworksPalette",
            display_name="Palette",
            category=Category.SPRITE,
            description="Repaints each picture with a given palette, or with the few colours that "
            "fit it best, or fit all pictures. Doing it twice changes nothing more.",
            is_input_list=True,
            has_intermediate_output=True,
            shown=("colors", "palette", "dither"),
            search_aliases=(
                "dither",
                "dithering",
                "indexed colors",
                "reduce colors",
                "limit colors",
                "quantize colors",
                "color palette",
                "lospec",
                "pico-8",
                "game boy",
                "posterize",
            ),
            inputs=[
                io.Image.Input(
                    "image",
                    tooltip="The pictures; each gets colours of its own, unless they are shared.",
                    extra_dict={**PER_PICTURE, **showing.COMPARISON, "swatches": _swatches()},
                ),
                io.Int.Input(
                    "colors",
                    default=16,
                    min=2,
                    max=_palette.LARGEST,
                    tooltip="At most so many colours, when no palette is given.",
                ),
                io.String.Input(
                    "palette",
                    default="",
                    multiline=True,
                    placeholder="#1a1c2c #5d275d #b13e53 ... or pico-8",
                    tooltip="Hex colours, one after another; or a name such as pico-8; or the text "
                    "of a .hex, .gpl or JASC .pal file. Empty: find them in the picture.",
                ),
                io.Boolean.Input(
                    "dither",
                    default=False,
                    tooltip="Set colours that are between two of the palette as a pattern of both.",
                ),
                io.Combo.Input(
                    "pattern",
                    options=PATTERNS,
                    default=Dither.BAYER_4.value,
                    optional=True,
                    tooltip="The pattern, where dither is on: a regular one, 2, 4 or 8 pixels "
                    "wide, or each error handed on to the neighbours (floyd-steinberg).",
                ),
                sets.whole_set(
                    "shared",
                    "Find one palette for all pictures of the run, also of different sizes.",
                    optional=True,
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="1 where a picture is transparent: what is hidden has no say in the "
                    "palette, and becomes black.",
                ),
                io.Image.Input(
                    "from_image",
                    optional=True,
                    tooltip="A picture whose colours are the palette.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="IMAGE",
                    tooltip="The repainted pictures, each batch as it came.",
                    is_output_list=True,
                )
            ],
        )

    @classmethod
    def validate_inputs(
        cls, palette: Sequence[str | None] = (None,), from_image: Sequence[None] = ()
    ) -> bool:
        """Check the palette; `from_image` has something where one is linked. Raises BadInput."""
        typed = palette[0]
        if typed is not None:
            _check_one_palette(typed, has_picture=bool(from_image))
            palette_in(typed)
        return True

    @classmethod
    def execute(
        cls,
        image: list[torch.Tensor],
        colors: list[int],
        palette: list[str],
        dither: list[bool],
        pattern: Sequence[str] = (Dither.BAYER_4.value,),
        shared: Sequence[bool] = (False,),
        mask: Sequence[torch.Tensor | None] = (None,),
        from_image: Sequence[torch.Tensor | None] = (None,),
    ) -> io.NodeOutput:
        """A list of IMAGE, one for each that came. Raises BadInput."""
        batches = [
            _with_alpha(pictures.checked(one), _at(mask, index)) for index, one in enumerate(image)
        ]
        given = [one for batch in batches for one in batch]
        together: Bytes | None = None
        if shared[0] and from_image[0] is None and palette_in(palette[0]) is None:
            together = _found(given, colors[0])
        painted: list[torch.Tensor] = []
        repainted: list[Bytes] = []
        waiting = showing.counted(given)
        for index, batch in enumerate(batches):
            fixed = together
            if fixed is None:
                fixed = _fixed(_at(palette, index), _at(from_image, index))
            chosen = Dither(_at(pattern, index)) if _at(dither, index) else Dither.NONE
            work = [
                _palette.paint(
                    one,
                    _found([one], _at(colors, index)) if fixed is None else fixed,
                    dither=chosen,
                )
                for one in islice(waiting, len(batch))
            ]
            repainted += work
            painted.append(pictures.from_bytes(np.stack(work)[..., : image[index].shape[-1]]))
        return io.NodeOutput(painted, ui=showing.compared(given, repainted))


def _swatches() -> dict[str, Any]:
    """Which input is a palette, and the palettes that may be named, for the canvas to show.

    It stands at a picture's input because texts take no such thing in older versions of ComfyUI.
    """
    presets = {
        name: ["#{:02x}{:02x}{:02x}".format(*colour) for colour in one.palette.colours]
        for name, one in WELL_KNOWN.items()
    }
    return {"input": "palette", "presets": presets}


def _at(values: Sequence[Value], index: int) -> Value:
    """The value for one item of a list; of a shorter list the last, as hosts do it."""
    return values[min(index, len(values) - 1)]


def _with_alpha(image: torch.Tensor, mask: torch.Tensor | None) -> Bytes:
    """The pictures as bytes: [B, H, W, 4] where some of them may be transparent, else as they are.

    Raises BadInput for a mask that does not fit.
    """
    return pictures.to_bytes(image) if mask is None else rgba(image, mask)


def _fixed(text: str, picture: torch.Tensor | None) -> Bytes | None:
    """The palette that was given, if one was. Raises BadInput."""
    if picture is None:
        typed = palette_in(text)
        return None if typed is None else typed.array()
    _check_one_palette(text, has_picture=True)
    colors = _palette.visible_colors(pictures.to_bytes(pictures.checked(picture)))
    if not 1 <= len(colors) <= _palette.LARGEST:
        raise BadInput(
            f"The picture of the palette has {len(colors)} colours; it must have 1 to "
            f"{_palette.LARGEST}."
        )
    return colors


def _check_one_palette(text: str, *, has_picture: bool) -> None:
    if has_picture and text.strip():
        raise BadInput("Give the palette as a text or as a picture, not both.")


def _found(batch: Sequence[Bytes], count: int) -> Bytes:
    """A palette for all pictures together; black where nothing of them can be seen."""
    if not any(_palette.visible(one).any() for one in batch):
        return np.zeros((1, 3), dtype=np.uint8)
    return _palette.shared_palette(batch, count)


class SwapRamp(io.ComfyNode):
    """Re-colours pictures by swapping ramps."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return schema(
            node_id="SpriteworksSwapRamp",
            display_name="Swap Ramp",
            category=Category.SPRITE,
            description="Re-colours pictures of few colours: a red coat becomes a blue one. Each "
            "colour of a ramp becomes that of another, dark to dark and light to light.",
            shown=("old", "new"),
            search_aliases=(
                "palette swap",
                "color swap",
                "recolor",
                "recolour",
                "replace color",
                "team colors",
                "color ramp",
            ),
            inputs=[
                io.Image.Input(
                    "image", tooltip="The pictures, of few colours.", extra_dict=PER_PICTURE
                ),
                io.String.Input(
                    "old",
                    default="red",
                    tooltip="The ramp to replace: hex colours, or a name (grey, red, brown, "
                    "orange, yellow, green, cyan, blue, purple, pink; the next of a name is "
                    "red-2).",
                ),
                io.String.Input(
                    "new",
                    default="blue",
                    tooltip="The ramp that takes its place, of any length: hex colours, or a name.",
                ),
                io.Boolean.Input(
                    "both_ways",
                    default=False,
                    tooltip="The two ramps change places.",
                ),
                io.String.Input(
                    "palette",
                    default="",
                    multiline=True,
                    placeholder="pico-8, or #1a1c2c #5d275d ...",
                    tooltip="Whose ramps the names mean: hex colours, a palette's name, or the "
                    "text of a palette file. Empty: those of each picture.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="1 where a picture is transparent; that stays as it is.",
                ),
            ],
            outputs=[io.Image.Output(display_name="IMAGE", tooltip="The re-coloured pictures.")],
        )

    @classmethod
    def validate_inputs(
        cls, old: str | None = None, new: str | None = None, palette: str | None = None
    ) -> bool:
        """Check the ramps, by the palette where one is given. Raises BadInput."""
        given = palette_in(palette or "")
        for ramp in (old, new):
            if given is not None and ramp is not None:
                ramp_in(ramp, given.array)
            elif ramp is not None and not is_name(ramp):
                parse_ramp(ramp)
        return True

    @classmethod
    def execute(
        cls,
        image: torch.Tensor,
        old: str,
        new: str,
        both_ways: bool,
        palette: str,
        mask: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        """The pictures with one ramp in the place of another. Raises BadInput."""
        image = pictures.checked(image)
        given = palette_in(palette)

        def work(picture: Bytes) -> Bytes:
            def colors() -> Bytes:
                if given is not None:
                    return given.array()
                found = _palette.visible_colors([picture])
                if len(found) > _palette.LARGEST:
                    raise BadInput(
                        f"A picture of {len(found)} colours has no ramps with names: put Palette "
                        "before, give a palette, or write the ramps as hex colours."
                    )
                return found

            source, target = ramp_in(old, colors), ramp_in(new, colors)
            pairs = [(source, _palette.ramp_onto(source, target))]
            if both_ways:
                pairs.append((target, _palette.ramp_onto(target, source)))
            before, after = (np.concatenate(part) for part in zip(*pairs, strict=True))
            return _palette.recolor(picture, before, after)

        changed = np.stack([work(picture) for picture in _with_alpha(image, mask)])
        return io.NodeOutput(pictures.from_bytes(changed[..., : image.shape[-1]]))
