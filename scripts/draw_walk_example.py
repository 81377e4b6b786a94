"""Draw the frames that workflows/frames.json and workflows/batches/frames.yaml make a sheet of.

    python scripts/draw_walk_example.py

writes workflows/inputs/walk: eight frames of a walking robot as a generator gives them, in fake
pixels of 4x4 on a plain background, and in each frame at another place. And the same frames in one
animated PNG, workflows/inputs/spriteworks_walk.png.
"""

from __future__ import annotations

import math
from pathlib import Path

from PIL import Image, ImageDraw

INPUTS = Path(__file__).resolve().parent.parent / "workflows" / "inputs"
FOLDER, ANIMATION = INPUTS / "walk", INPUTS / "spriteworks_walk.png"
FRAMES, SIZE, SCALE = 8, (32, 38), 4
DURATION = 100  # of a frame, in ms
BACKGROUND = (122, 190, 232)
DARK, STEEL, LIGHT = (38, 34, 54), (120, 132, 152), (190, 204, 214)
RED, EYE, FAR = (206, 62, 58), (252, 222, 104), (92, 74, 92)
# how far each frame is beside its place, in true pixels
BESIDE = ((0, 0), (2, -1), (-1, 1), (1, 0), (-2, -1), (0, 1), (2, 0), (-1, -1))
# of the hips, and where the ground is
HIP, GROUND = (15, 25), 33


def frame(index: int) -> Image.Image:
    """One step of the walk, in true pixels."""
    image = Image.new("RGB", SIZE, BACKGROUND)
    draw = ImageDraw.Draw(image)
    (across, down), turn = BESIDE[index], index / FRAMES
    x, y = HIP[0] + across, HIP[1] + down
    bob = 1 if index % 4 in (1, 2) else 0
    ground = GROUND + down
    limb(draw, (x + 1, y - 8 - bob), arm(x + 1, y - bob, turn), FAR)
    limb(draw, (x + 1, y - bob), foot(x + 1, ground, turn + 0.5), FAR, sole=True)
    draw.rectangle((x - 4, y - 10 - bob, x + 4, y - bob), fill=STEEL, outline=DARK)
    draw.line((x - 3, y - 9 - bob, x + 3, y - 9 - bob), fill=LIGHT)
    draw.rectangle((x - 1, y - 6 - bob, x + 1, y - 4 - bob), fill=RED)
    draw.rectangle((x - 5, y - 19 - bob, x + 5, y - 11 - bob), fill=LIGHT, outline=DARK)
    draw.rectangle((x, y - 17 - bob, x + 4, y - 14 - bob), fill=DARK)
    draw.point(((x + 1, y - 16 - bob), (x + 3, y - 16 - bob)), fill=EYE)
    draw.point((x - 2, y - 20 - bob), fill=DARK)
    draw.rectangle((x - 3, y - 22 - bob, x - 1, y - 21 - bob), fill=RED)
    limb(draw, (x - 1, y - bob), foot(x - 1, ground, turn), STEEL, sole=True)
    limb(draw, (x - 1, y - 8 - bob), arm(x - 1, y - bob, turn + 0.5), LIGHT)
    return image


def foot(x: int, ground: int, turn: float) -> tuple[int, int]:
    """Where a foot is: half of the round on the ground, half in the air."""
    lifted = max(0.0, math.sin(2 * math.pi * turn))
    return x + round(4 * math.cos(2 * math.pi * turn)), ground - round(3 * lifted)


def arm(x: int, y: int, turn: float) -> tuple[int, int]:
    """Where a hand is."""
    return x + round(4 * math.cos(2 * math.pi * turn)), y - 1


def limb(
    draw: ImageDraw.ImageDraw,
    start: tuple[int, int],
    end: tuple[int, int],
    tone: tuple[int, int, int],
    sole: bool = False,
) -> None:
    """A line with an outline, and a foot at its end."""
    (left, top), length = start, max(abs(end[0] - start[0]), end[1] - start[1], 1)
    steps = [step / length for step in range(length + 1)]
    line = [
        (left + round(part * (end[0] - left)), top + round(part * (end[1] - top))) for part in steps
    ]
    for x, y in line:
        draw.rectangle((x - 2, y - 1, x + 1, y), fill=DARK)
    for x, y in line[:-1]:
        draw.rectangle((x - 1, y - 1, x, y), fill=tone)
    if sole:
        draw.rectangle((end[0] - 2, end[1] - 1, end[0] + 3, end[1]), fill=DARK)
    else:
        draw.rectangle((end[0] - 1, end[1] - 1, end[0] + 1, end[1] + 1), fill=RED, outline=DARK)


def main() -> None:
    """Write them all."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    size = SIZE[0] * SCALE, SIZE[1] * SCALE
    every = [frame(index).resize(size, Image.Resampling.NEAREST) for index in range(FRAMES)]
    for index, one in enumerate(every):
        one.save(FOLDER / f"walk_{index + 1}.png", optimize=True)
    first, *others = every
    first.save(ANIMATION, save_all=True, append_images=others, duration=DURATION, loop=0)


if __name__ == "__main__":
    main()
