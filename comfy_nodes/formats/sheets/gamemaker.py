"""GameMaker: a strip for each animation, whose name says how many frames it has.

manual.gamemaker.io, "Importing images": a file that ends in _stripN is cut into N frames of one
width when it is imported. It holds neither durations nor an origin; those are told in the docs.
"""

from __future__ import annotations

from ...ops.sheet import Sheet, all_animations, in_grid, on_one_canvas
from .files import Files, png


def write(sheet: Sheet, name: str) -> Files:
    """NAME_ANIMATION_stripN.png for each animation, and for each frame that is in none."""
    whole = {frame.name: frame for frame in on_one_canvas(sheet.frames)}
    made = {}
    for one in all_animations(sheet):
        strip = in_grid([whole[frame] for frame in one.frames], columns=len(one.frames))
        made[f"{name}_{one.name}_strip{len(one.frames)}.png"] = png(strip.pages[0])
    return made
