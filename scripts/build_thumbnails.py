"""Make the pictures that ComfyUI's list of templates shows, from real runs on the embedded engine.

    python scripts/build_thumbnails.py [NAME ...]

runs each workflow as it is shipped, or those that are named, and writes workflows/NAME.jpg,
512x512. Pixels stay square: pictures are enlarged by whole numbers. Where a workflow changes a
picture, that is shown, too.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

import orchestrator  # noqa: E402

WORKFLOWS = REPOSITORY / "workflows"
INPUTS = WORKFLOWS / "inputs"
# Of these the sheet is shown, and not the single pictures.
SHEETS = ("icons", "frames", "walk_cycle")
# Of these the picture that goes in is shown before what comes out.
BEFORE = {
    "inpaint": "spriteworks_potion.png",
    "inpaint_by_hand": "spriteworks_potion_painted.png",
    "img2img": "spriteworks_sketch.png",
    "snap": "spriteworks_found.jpg",
    "palette_swap": "spriteworks_hero.png",
}
TILES = ("seamless_tile",)
SIDE, MARGIN = 512, 16
BACKDROP, ARROW = (44, 48, 60), (150, 158, 176)
CHECKS = ((96, 96, 104), (120, 120, 128))


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
        enlarged = enlarge(drawn(picture), cell)
        left = MARGIN + column * (cell + MARGIN) + missing * (cell + MARGIN) // 2
        place = (
            left + (cell - enlarged.width) // 2,
            top + row * (cell + MARGIN) + (cell - enlarged.height) // 2,
        )
        result.paste(enlarged, place, enlarged)
    return result


def changed(before: Image.Image, after: Sequence[Image.Image]) -> Image.Image:
    """The picture that goes in, an arrow, and below each other what comes out."""
    result = Image.new("RGB", (SIDE, SIDE), BACKDROP)
    wide = (SIDE - 5 * MARGIN) // 2
    high = (SIDE - MARGIN * (len(after) + 1)) // len(after)
    places = [(MARGIN, 0, SIDE, before)]
    places += [
        (SIDE - MARGIN - wide, MARGIN + index * (high + MARGIN), high, one)
        for index, one in enumerate(after)
    ]
    for left, top, room, picture in places:
        shown = enlarge(picture, min(wide, room))
        if picture is before and picture.getchannel("A").getextrema()[0] == 0:
            shown = Image.alpha_composite(checkered(shown.size), shown)
        at = left + (wide - shown.width) // 2, top + (room - shown.height) // 2
        result.paste(shown, at, shown)
    middle, draw = SIDE // 2, ImageDraw.Draw(result)
    reach = MARGIN * 3 // 4
    tip = (middle + reach, middle)
    draw.polygon([(middle - reach, middle - reach), tip, (middle - reach, middle + reach)], ARROW)
    return result


def tiled(tile: Image.Image) -> Image.Image:
    """The tile beside and below itself, over the whole square."""
    large = enlarge(tile, SIDE // 2)
    result = Image.new("RGB", (SIDE, SIDE), BACKDROP)
    for top in range(0, SIDE, large.height):
        for left in range(0, SIDE, large.width):
            result.paste(large, (left, top), large)
    return result


def checkered(size: tuple[int, int]) -> Image.Image:
    """What stands behind transparent parts."""
    result = Image.new("RGBA", size, CHECKS[0])
    draw = ImageDraw.Draw(result)
    for top in range(0, size[1], 8):
        for left in range(top % 16, size[0], 16):
            draw.rectangle((left, top, left + 7, top + 7), fill=CHECKS[1])
    return result


def drawn(picture: Image.Image) -> Image.Image:
    """What there is of a picture, without the transparent margins."""
    return picture.crop(picture.getchannel("A").getbbox())


def enlarge(picture: Image.Image, side: int) -> Image.Image:
    """Enlarge by a whole number, or shrink what is larger, to fit a square."""
    factor = side // max(picture.size)
    if factor < 1:
        smaller = picture.copy()
        smaller.thumbnail((side, side), Image.Resampling.BOX)
        return smaller
    size = (picture.width * factor, picture.height * factor)
    return picture.resize(size, Image.Resampling.NEAREST)


def shown(name: str, made: Sequence[Path]) -> Image.Image:
    """The thumbnail of a workflow, from the files that it made."""
    files = [path for path in made if path.suffix == ".png"]
    if name in SHEETS:
        files = [path for path in files if path.stem == name]
    pictures = [Image.open(path).convert("RGBA") for path in files]
    if name in TILES:
        return tiled(pictures[0])
    if name in BEFORE:
        return changed(Image.open(INPUTS / BEFORE[name]).convert("RGBA"), pictures)
    return thumbnail(pictures)


def main() -> None:
    """Run the workflows, and write the thumbnails."""
    every = sorted(path.stem for path in WORKFLOWS.glob("*.json"))
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name", nargs="*", help=f"any of {', '.join(every)}; all, if none")
    names = parser.parse_args().name or every
    with orchestrator.start_engine() as server, tempfile.TemporaryDirectory() as folder:
        for name in names:
            run = server.run(name, out=Path(folder) / name, timeout=600)
            picture = shown(name, [one.path for one in run.pictures if one.path])
            picture.save(WORKFLOWS / f"{name}.jpg", quality=92, subsampling=0, optimize=True)


if __name__ == "__main__":
    main()
