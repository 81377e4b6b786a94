"""Make the icon and the banner that the Comfy registry shows, from pictures that are here.

    python scripts/build_registry_images.py

writes docs/images/icon.png (400x400, the largest that the registry takes) and banner.png (21:9).
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

REPOSITORY = Path(__file__).resolve().parent.parent
IMAGES = REPOSITORY / "docs" / "images"
POTION = REPOSITORY / "workflows" / "inputs" / "potions" / "violet.png"
GROUND = (34, 32, 52)
ICON, BANNER = (400, 400), (1260, 540)
# of the sprite, so that the pixels stay square
SCALE = 12


def main() -> None:
    with Image.open(POTION) as potion:
        sprite = potion.resize(
            (potion.width * SCALE, potion.height * SCALE), Image.Resampling.NEAREST
        )
    on_ground(sprite, ICON).save(IMAGES / "icon.png", optimize=True)
    with Image.open(IMAGES / "starter-model.png") as gallery:
        on_ground(gallery, BANNER).save(IMAGES / "banner.png", optimize=True)


def on_ground(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """An RGBA picture in the middle of a ground of `size` (width, height)."""
    made = Image.new("RGB", size, GROUND)
    place = (size[0] - picture.width) // 2, (size[1] - picture.height) // 2
    made.paste(picture, place, picture.convert("RGBA"))
    return made


if __name__ == "__main__":
    main()
