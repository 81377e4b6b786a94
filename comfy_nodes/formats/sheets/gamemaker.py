"""GameMaker: a strip for each animation, whose name says how many frames it has.

manual.gamemaker.io, "Importing images": a file that ends in _stripN is cut into N frames of one
width when it is imported. It holds neither durations nor an origin; those are told in the docs.
"""

from __future__ import annotations

from ...ops.frames import Animation
from ...ops.sheet import Sheet, in_grid, on_one_canvas
from .files import Files, png


def write(sheet: Sheet, name: str) -> Files:
    """NAME_ANIMATION_stripN.png for each animation; NAME_stripN.png where there is none."""
    whole = {frame.name: frame for frame in on_one_canvas(sheet.frames)}
    everything = Animation(name, tuple(whole))
    made = {}
    for one in sheet.animations or (everything,):
        frames = [whole[frame] for frame in one.frames]
        title = name if one is everything else f"{name}_{one.name}"
        strip = in_grid(frames, columns=len(frames))
        made[f"{title}_strip{len(frames)}.png"] = png(strip.pages[0])
    return made
