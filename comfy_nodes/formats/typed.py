"""Palettes as people type or paste them: a name, hex colours, or the text of a palette file."""

from __future__ import annotations

from ..errors import BadInput
from ..ops.palette import parse_palette
from . import palettes, well_known
from .palettes import Palette

_FILES = ("GIMP Palette", "JASC-PAL")


def palette_in(text: str) -> Palette | None:
    """The palette that a text means; None when it is empty.

    "pico-8", or "#1a1c2c, #5d275d", with or without "#", of at most 256 colours, or all that stands
    in a .hex, .gpl or JASC .pal file. Raises BadInput for what is none of these.
    """
    typed = text.strip().removeprefix("\ufeff")
    if not typed:
        return None
    if typed.startswith(_FILES):
        return palettes.read(typed.encode("utf-8", errors="replace"))
    if well_known.is_known(typed):
        return well_known.by_name(typed)
    try:
        colours = parse_palette(typed)
    except BadInput as error:
        if "#" in typed or len(typed.split()) > 1:
            raise
        known = ", ".join(well_known.WELL_KNOWN)
        raise BadInput(
            f"{typed!r} is no palette: write hex colours like #1a2b3c, one after another, or one "
            f"of the names {known}."
        ) from error
    if colours is None:  # a text of nothing but commas
        return None
    return Palette("", tuple((red, green, blue) for red, green, blue in colours.tolist()))
