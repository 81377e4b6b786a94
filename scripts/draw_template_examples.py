"""Draw the pictures that templates open with, but for those of inpaint and frames.

    python scripts/draw_template_examples.py

writes into workflows/inputs:

- spriteworks_hero.png, a hero of 20x24 on a transparent background, for palette_swap
- spriteworks_found.jpg, the same hero as one finds it: enlarged to a pitch that is no whole number,
  blurred, saved as JPEG; for snap
- spriteworks_sketch.png, blobs of colour, for img2img
- spriteworks_potion_painted.png, the picture of inpaint as ComfyUI's mask editor saves it, with the
  bottle painted over; for inpaint_by_hand
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image, ImageDraw

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from scripts import draw_inpaint_example  # noqa: E402

FOLDER = REPOSITORY / "workflows" / "inputs"

COLOURS = {
    "#": "#2b1d3a",
    "h": "#7a4e34",
    "H": "#b07c4a",
    "s": "#f2c49a",
    "S": "#c98d62",
    "e": "#2b1d3a",
    "r": "#921634",
    "R": "#ce2636",
    "o": "#f06060",
    "g": "#6b7485",
    "G": "#b8c4d4",
    "b": "#5a3a2a",
    "y": "#f2c84b",
}
HERO = """
......######........
.....#hhhhhh#.......
....#hHHHHHhh#......
....#HHHHHHHh#......
....#HsHHHsHh#......
....#ssssssSh#......
....#sessesS#....##.
....#ssssssS#...#G#.
.....#sSSsS#...#GG#.
....##rrrr##..#GG#..
...#RRoooRRr##GG#...
..#RRooRRRRr#GG#....
..#Rr#oRRRr##g#.....
..#Rr#RRRRr#g#......
..#ss#RRRRr#sS#.....
..#sS#yyyyy##S#.....
...##gbbbbbg##......
....#RRRRRRr#.......
....#RRrRRRr#.......
....#bb##bbb#.......
....#bb#.#bb#.......
....#bb#.#bb#.......
...#bbb#.#bbb#......
...#####.#####......
"""
# px a side of a fake pixel, and of the plain margin around the hero, in true pixels
PITCH, MARGIN, BACKGROUND = 13.4, 4, "#8fb7d6"
SKETCH = 256


def hero() -> Image.Image:
    """The hero in true pixels, RGBA."""
    rows = HERO.split()
    image = Image.new("RGBA", (len(rows[0]), len(rows)), (0, 0, 0, 0))
    for y, row in enumerate(rows):
        for x, letter in enumerate(row):
            if letter in COLOURS:
                image.putpixel((x, y), (*hex_of(COLOURS[letter]), 255))
    return image


def hex_of(text: str) -> tuple[int, int, int]:
    """A colour written as #rrggbb."""
    red, green, blue = bytes.fromhex(text[1:])
    return red, green, blue


def found() -> Image.Image:
    """The hero as one finds it."""
    drawn = hero()
    width, height = drawn.width + 2 * MARGIN, drawn.height + 2 * MARGIN
    image = Image.new("RGB", (width, height), BACKGROUND)
    image.paste(drawn, (MARGIN, MARGIN), drawn)
    # Enlarged by whole numbers first, so that only the edges of the pixels are blurred.
    large = image.resize((width * 40, height * 40), Image.Resampling.NEAREST)
    size = round(width * PITCH), round(height * PITCH)
    return large.resize(size, Image.Resampling.BILINEAR)


def sketch() -> Image.Image:
    """A mushroom in four blobs of colour."""
    image = Image.new("RGB", (SKETCH, SKETCH), "white")
    draw = ImageDraw.Draw(image)
    draw.ellipse((84, 120, 172, 232), fill="#e8d8b8")
    draw.ellipse((34, 30, 222, 168), fill="#c02838")
    draw.ellipse((74, 62, 110, 98), fill="#f4e8d8")
    draw.ellipse((140, 84, 176, 118), fill="#f4e8d8")
    return image


def painted() -> Image.Image:
    """The picture of inpaint; what is painted over is transparent, and its colours stay."""
    image = draw_inpaint_example.scene().convert("RGBA")
    image.putalpha(draw_inpaint_example.mask().getchannel("R").point(lambda value: 255 - value))
    return image


def main() -> None:
    """Write them all."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    hero().save(FOLDER / "spriteworks_hero.png", optimize=True)
    found().save(FOLDER / "spriteworks_found.jpg", quality=82, optimize=True)
    sketch().save(FOLDER / "spriteworks_sketch.png", optimize=True)
    painted().save(FOLDER / "spriteworks_potion_painted.png", optimize=True)


if __name__ == "__main__":
    main()
