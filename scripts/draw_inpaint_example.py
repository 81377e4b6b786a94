"""Draw the picture and the mask of the inpaint workflow.

    python scripts/draw_inpaint_example.py

writes workflows/inputs/spriteworks_potion.png (96x96, a red potion and two gems on white) and
spriteworks_potion_mask.png (red where the potion is to be repainted).
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw

FOLDER = Path(__file__).resolve().parent.parent / "workflows" / "inputs"

# The scene is drawn on a grid of 48x48 and doubled, so that it has true pixels of 2x2.
GRID, SCALE = 48, 2

WHITE, OUTLINE = (255, 255, 255), (43, 29, 58)
GLASS, SHINE, CORK = (214, 232, 240), (255, 255, 255), (176, 124, 74)
LIQUID, LIQUID_DARK, LIQUID_LIGHT = (206, 38, 54), (146, 22, 52), (240, 96, 96)
GEMS = ((5, 36, (64, 156, 214), (150, 212, 244)), (36, 34, (84, 176, 92), (168, 226, 150)))

BODY = (14, 16, 34, 38)
NECK = (21, 9, 27, 19)


def scene() -> Image.Image:
    """The picture before it is repainted."""
    image = Image.new("RGB", (GRID, GRID), WHITE)
    draw = ImageDraw.Draw(image)
    draw.ellipse(BODY, fill=GLASS, outline=OUTLINE)
    draw.chord((15, 17, 33, 37), 0, 180, fill=LIQUID)
    draw.chord((16, 22, 32, 36), 20, 160, fill=LIQUID_DARK)
    draw.rectangle((16, 26, 32, 27), fill=LIQUID_LIGHT)
    draw.rectangle(NECK, fill=GLASS, outline=OUTLINE)
    draw.rectangle((22, 17, 26, 20), fill=GLASS)
    draw.rectangle((20, 6, 28, 9), fill=CORK, outline=OUTLINE)
    draw.line((18, 20, 18, 24), fill=SHINE)
    draw.point([(20, 31), (26, 30), (24, 33)], fill=LIQUID_LIGHT)
    for x, y, colour, light in GEMS:
        draw.polygon(((x, y + 4), (x + 3, y), (x + 7, y + 4), (x + 3, y + 9)), fill=colour)
        draw.line((x + 1, y + 4, x + 3, y + 1), fill=light)
        draw.polygon(((x, y + 4), (x + 3, y), (x + 7, y + 4), (x + 3, y + 9)), outline=OUTLINE)
    return image.resize((GRID * SCALE, GRID * SCALE), Image.Resampling.NEAREST)


def mask() -> Image.Image:
    """Red over the bottle, black elsewhere."""
    image = Image.new("RGB", (GRID, GRID), (0, 0, 0))
    draw = ImageDraw.Draw(image)
    left, top, right, bottom = BODY
    draw.ellipse((left - 1, top - 1, right + 1, bottom + 1), fill=(255, 0, 0))
    draw.rectangle((19, 5, 29, 20), fill=(255, 0, 0))
    return image.resize((GRID * SCALE, GRID * SCALE), Image.Resampling.NEAREST)


def main() -> None:
    """Write both."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    scene().save(FOLDER / "spriteworks_potion.png", optimize=True)
    mask().save(FOLDER / "spriteworks_potion_mask.png", optimize=True)


if __name__ == "__main__":
    main()
