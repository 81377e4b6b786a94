"""Make the thumbnails that ComfyUI's template list shows, from pictures that `run` wrote.

    for name in sprite batch pixel_art inpaint icons frames; do
        spriteworks run workflows/$name.json --out shown/$name
    done
    python scripts/build_thumbnails.py shown

writes workflows/NAME.jpg, 512x512. Pixels stay square: pictures are enlarged by whole numbers.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

WORKFLOWS = Path(__file__).resolve().parent.parent / "workflows"
NAMES = ("sprite", "batch", "pixel_art", "inpaint", "icons", "frames")
# of these the sheet is shown
SHEETS = ("icons", "frames")
SIDE, MARGIN = 512, 16
BACKDROP = (44, 48, 60)


def thumbnail(pictures: Sequence[Image.Image]) -> Image.Image:
    """The pictures in a square of rows, as large as they fit."""
    columns = next(count for count in range(1, 100) if count * count >= len(pictures))
    rows = -(-len(pictures) // columns)
    cell = (SIDE - MARGIN * (columns + 1)) // columns
    result = Image.new("RGB", (SIDE, SIDE), BACKDROP)
    top = (SIDE - rows * cell - (rows - 1) * MARGIN) // 2
    for number, picture in enumerate(pictures):
        row, column = divmod(number, columns)
        missing = columns - min(columns, len(pictures) - row * columns)
        enlarged = enlarge(drawn(picture.convert("RGBA")), cell)
        left = MARGIN + column * (cell + MARGIN) + missing * (cell + MARGIN) // 2
        place = (
            left + (cell - enlarged.width) // 2,
            top + row * (cell + MARGIN) + (cell - enlarged.height) // 2,
        )
        result.paste(enlarged, place, enlarged)
    return result


def drawn(picture: Image.Image) -> Image.Image:
    """What there is of a picture, without the transparent margins."""
    return picture.crop(picture.getchannel("A").getbbox())


def enlarge(picture: Image.Image, side: int) -> Image.Image:
    """Enlarge by a whole number, or shrink what is larger, to fit a square."""
    factor = side // max(picture.size)
    if factor < 1:
        picture.thumbnail((side, side))
        return picture
    size = (picture.width * factor, picture.height * factor)
    return picture.resize(size, Image.Resampling.NEAREST)


def main(folder: Path) -> None:
    """Write the thumbnail of every workflow that has pictures in `folder`."""
    for name in NAMES:
        files = sorted((folder / name).glob("*.png"))
        if name == "inpaint":
            files = [WORKFLOWS / "inputs" / "spriteworks_potion.png", *files]
        if name in SHEETS:
            files = [folder / name / f"{name}.png"]
        if not (folder / name).is_dir():
            continue
        pictures = [Image.open(file) for file in files]
        thumbnail(pictures).save(WORKFLOWS / f"{name}.jpg", quality=90, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
