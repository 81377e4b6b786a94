"""Palettes as people type or paste them: a name, hex colours, or the text of a palette file.

And ramps: hex colours, or the name of a hue.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ..errors import BadInput
from ..ops.arrays import Bytes
from ..ops.palette import named_ramps, parse_palette
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


def parse_ramp(text: str) -> Bytes:
    """The ramp that hex colours make. Raises BadInput for what is none, and for no text."""
    found = parse_palette(text)
    if found is None:
        raise BadInput("A ramp is missing: write hex colours, or a name such as red.")
    return found


def is_name(ramp: str) -> bool:
    """Whether a text means a ramp by its name, not by hex colours."""
    wanted = ramp.strip().lower()
    # "fade" and "bad" are hex colours as well, and no hues
    is_hex = re.fullmatch(r"[0-9a-f]+", wanted)
    return is_hex is None and re.fullmatch(r"[a-z]+(-[0-9]+)?", wanted) is not None


def ramp_in(text: str, colours: Callable[[], Bytes]) -> Bytes:
    """The ramp that a text means: hex colours, or a name of `ops.palette.named_ramps`.

    `colours` gives uint8 [N, 3], whose ramps are meant, where there is a name. Raises BadInput for
    what is neither, and names the ramps that there are.
    """
    wanted = text.strip().lower()
    if not is_name(wanted):
        return parse_ramp(text)
    known = named_ramps(colours())
    if wanted not in known:
        raise BadInput(
            f"There is no ramp {wanted!r}. Those there are: {', '.join(known)}. Hex colours are a "
            "ramp, too."
        )
    return known[wanted]
