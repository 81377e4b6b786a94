"""Phaser 3 and 4: an atlas, and its animations as `load.animation` reads them.

The keys that the animations name are the sheet's own name, so the atlas is to be loaded under it.
Each frame has its own duration (`AnimationFrame.duration`, which takes the place of the frame
rate), and ping-pong is written out: with `yoyo` Phaser shows the first frame twice a round.
"""

from __future__ import annotations

from typing import Any

from ...ops.frames import Animation
from ...ops.sheet import Sheet
from .files import Files, as_json
from .texturepacker import hashed, multiatlas


def write(sheet: Sheet, name: str) -> Files:
    """NAME.json, or NAME.multiatlas.json for several pages, and NAME.anims.json."""
    atlas = hashed if len(sheet.pages) == 1 else multiatlas
    durations = {frame.name: frame.duration for frame in sheet.frames}
    animations = [_animation(one, name, durations) for one in sheet.animations]
    content = {"anims": animations, "globalTimeScale": 1}
    return {**atlas(sheet, name), f"{name}.anims.json": as_json(content)}


def _animation(animation: Animation, key: str, durations: dict[str, int]) -> dict[str, Any]:
    return {
        "key": animation.name,
        "type": "frame",
        "frames": [
            {"key": key, "frame": frame, "duration": durations[frame]} for frame in animation.played
        ],
        "repeat": -1 if animation.loop else 0,
    }
