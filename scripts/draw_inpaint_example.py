"""Draw the picture and the mask of the inpaint workflow, and a folder of pictures for it.

    python scripts/draw_inpaint_example.py

writes workflows/inputs/potions (three potions of 32x32 on a transparent background),
workflows/inputs/spriteworks_potion.png (96x96, a red potion and two gems on white) and
spriteworks_potion_mask.png (red over the bottle's glass, which is to be repainted).
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw

FOLDER = Path(__file__).resolve().parent.parent / "workflows" / "inputs"

# The scene is drawn on a grid of 48x48 and doubled, so that it has true pixels of 2x2.
GRID, SCALE = 48, 2

WHITE, OUTLINE = (255, 255, 255), (43, 29, 58)
GLASS, CORK, CORK_DARK = (214, 232, 240), (176, 124, 74), (122, 78, 52)
# dark, middle, light
Tones = tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]]
RED: Tones = ((146, 22, 52), (206, 38, 54), (240, 96, 96))
POTIONS: dict[str, Tones] = {
    "red": RED,
    "amber": ((170, 88, 28), (226, 142, 44), (248, 200, 104)),
    "violet": ((82, 40, 122), (130, 72, 178), (184, 132, 222)),
}
# where a potion is cut out of the scene, 32x32
CUT = (8, 7, 40, 39)
# left, top, and the colours: dark, middle, light
GEMS = (
    (4, 35, (34, 92, 160), (64, 156, 214), (150, 212, 244)),
    (37, 35, (38, 112, 74), (84, 176, 92), (168, 226, 150)),
)

BODY = (14, 18, 33, 37)
NECK = (20, 11, 27, 19)
# the row at which the liquid begins
LEVEL = 25
CORKED = (19, 8, 28, 11)


def scene() -> Image.Image:
    """The picture before it is repainted."""
    image = Image.new("RGB", (GRID, GRID), WHITE)
    potion = bottle(RED)
    image.paste(potion, (0, 0), potion)
    draw = ImageDraw.Draw(image)
    for x, y, dark, middle, light in GEMS:
        gem = ((x, y + 4), (x + 3, y), (x + 6, y + 4), (x + 3, y + 8))
        draw.polygon(gem, fill=middle)
        draw.polygon(((x + 3, y + 1), (x + 5, y + 4), (x + 3, y + 7)), fill=dark)
        draw.line((x + 1, y + 4, x + 3, y + 1), fill=light)
        draw.polygon(gem, outline=OUTLINE)
    return image.resize((GRID * SCALE, GRID * SCALE), Image.Resampling.NEAREST)


def bottle(tones: Tones) -> Image.Image:
    """A potion whose liquid has those tones, in its place of the scene; the rest transparent."""
    image = Image.new("RGBA", (GRID, GRID), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    draw.rectangle(NECK, fill=GLASS, outline=OUTLINE)
    draw.ellipse(BODY, fill=GLASS, outline=OUTLINE)
    draw.rectangle((21, 17, 26, 20), fill=GLASS)
    image.paste(liquid(tones), (0, 0), inside())
    draw.rectangle(CORKED, fill=CORK, outline=OUTLINE)
    draw.line((20, 10, 27, 10), fill=CORK_DARK)
    draw.line((17, 22, 17, 24), fill=WHITE)
    draw.point((18, 21), fill=WHITE)
    return image


def liquid(tones: Tones) -> Image.Image:
    """The liquid, as if the bottle were a box."""
    dark, middle, light = tones
    image = Image.new("RGB", (GRID, GRID), middle)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, GRID, LEVEL - 1), fill=GLASS)
    draw.rectangle((0, LEVEL, GRID, LEVEL + 1), fill=light)
    draw.rectangle((0, 33, GRID, GRID), fill=dark)
    draw.point([(20, 30), (26, 29), (23, 32), (28, 32)], fill=light)
    return image


def inside() -> Image.Image:
    """255 within the outline of the bottle's body, else 0."""
    image = Image.new("L", (GRID, GRID), 0)
    draw = ImageDraw.Draw(image)
    draw.ellipse(BODY, fill=255, outline=0)
    draw.rectangle((0, 0, GRID, 20), fill=0)
    return image


def mask() -> Image.Image:
    """Red over the glass and what is in it, black elsewhere."""
    image = Image.new("RGB", (GRID, GRID), (0, 0, 0))
    left, top, right, bottom = BODY
    draw = ImageDraw.Draw(image)
    draw.ellipse((left - 1, top - 1, right + 1, bottom + 1), fill=(255, 0, 0))
    left, top, right, bottom = NECK
    draw.rectangle((left - 1, top + 1, right + 1, bottom), fill=(255, 0, 0))
    return image.resize((GRID * SCALE, GRID * SCALE), Image.Resampling.NEAREST)


def main() -> None:
    """Write them all."""
    (FOLDER / "potions").mkdir(parents=True, exist_ok=True)
    for name, tones in POTIONS.items():
        bottle(tones).crop(CUT).save(FOLDER / "potions" / f"{name}.png", optimize=True)
    scene().save(FOLDER / "spriteworks_potion.png", optimize=True)
    mask().save(FOLDER / "spriteworks_potion_mask.png", optimize=True)


if __name__ == "__main__":
    main()
