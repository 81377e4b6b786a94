"""Make the README's picture of a walk: a GIF of a row of frames, enlarged by whole numbers.

    spriteworks batch run workflows/batches/hero-walk.yaml --out out/hero-walk
    python scripts/build_walk_gif.py out/hero-walk/export/walk

writes docs/images/walk.gif of the frames in a folder, in the order of their names; of one picture
with --frames N, which is a row of so many.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from comfy_nodes.errors import BadInput  # noqa: E402
from comfy_nodes.formats import gif  # noqa: E402
from comfy_nodes.ops.arrays import Bytes  # noqa: E402
from comfy_nodes.ops.frames import Frame, side_by_side  # noqa: E402
from orchestrator.errors import SpriteworksError  # noqa: E402
from orchestrator.sprites.files import pictures_in, read_picture, write_file  # noqa: E402


def enlarged(picture: Bytes, scale: int) -> Bytes:
    """uint8 [H, W, C] as [H * scale, W * scale, C]: each pixel a square of one colour."""
    return picture.repeat(scale, axis=0).repeat(scale, axis=1)


def made(pictures: list[Bytes], scale: int, fps: float) -> bytes:
    """The GIF, which runs for ever. Raises BadInput where the frames are not of one size."""
    duration = round(1000 / fps)
    frames = [
        Frame.whole(str(number), enlarged(picture, scale), duration=duration)
        for number, picture in enumerate(pictures, 1)
    ]
    return gif.write(frames)


def read(source: Path, count: int) -> list[Bytes]:
    """The frames of a folder, or of one picture that is a row of `count`; [H, W, 4] each."""
    pictures = [_with_alpha(read_picture(file)) for file in pictures_in([source])]
    return pictures if count == 1 else [one for row in pictures for one in side_by_side(row, count)]


def _with_alpha(picture: Bytes) -> Bytes:
    if picture.shape[2] == 4:
        return picture
    return np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)])


def main(arguments: list[str] | None = None) -> None:
    """Write the GIF; ends with one sentence where that cannot be."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("source", type=Path, help="a folder of frames, or a picture")
    parser.add_argument("--frames", type=int, default=1, help="the picture is a row of so many")
    parser.add_argument("--scale", type=int, default=6, help="a whole number; 6")
    parser.add_argument("--fps", type=float, default=8.0, help="frames a second; 8")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "docs" / "images" / "walk.gif")
    given = parser.parse_args(arguments)
    if given.scale < 1 or not 0 < given.fps <= 50:
        parser.error("--scale is 1 or more, --fps more than 0 and at most 50, as browsers show it")
    try:
        content = made(read(given.source, given.frames), given.scale, given.fps)
        write_file(content, given.out)
    except (BadInput, SpriteworksError) as error:
        sys.exit(f"error: {error}")
    print(given.out)


if __name__ == "__main__":
    main()
