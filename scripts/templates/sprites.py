"""Workflows from a text: sprites, sets of them, tiles, and a sketch with a text."""

from __future__ import annotations

from .parts import (
    TAIL,
    finish_and_save,
    paint,
    sample,
    save,
    sheet,
    size,
    start,
)
from .recipe import PICTURES, RESULT, Group, Link, Recipe

POTION = f"a red potion{TAIL}"
PALETTE = "dawnbringer-16"
EIGHT = 8
BRICKS = "red brick wall, seamless, pixel art, game texture"


def sprite() -> Recipe:
    """Text to one sprite."""
    recipe = Recipe(
        "sprite",
        "Text to sprite",
        "One sprite from a text: true pixels, no background, at most 16 colours.",
        ("sprite", "text to image", "pixel art", "transparent"),
    )
    ids = start(recipe, POTION)
    latent = size(recipe, ids)
    _, decoded = sample(recipe, ids, [ids["loader"], 0], [latent, 0], beside=[latent])
    finish_and_save(recipe, [decoded, 0])
    recipe.how = (
        "Write what you want into **Positive** and press Run. What is saved has the sprite's true "
        "size, no background and at most 16 colours. Size, steps and CFG follow the model; to fix "
        "one, cut its link and type a number."
    )
    recipe.tries = ("a green slime", "a golden key", "a blue sword")
    return recipe


def pixel_art() -> Recipe:
    """Text to a sprite in the colours of a known palette."""
    recipe = Recipe(
        "pixel_art",
        "Text to sprite in a palette",
        "One sprite from a text, in the colours of a known palette.",
        ("sprite", "text to image", "pixel art", "palette"),
    )
    ids = start(recipe, POTION, 25, 9.0)
    latent = size(recipe, ids)
    _, decoded = sample(recipe, ids, [ids["loader"], 0], [latent, 0], beside=[latent])
    finish_and_save(recipe, [decoded, 0], palette=PALETTE)
    recipe.how = (
        "Like **sprite**, in the colours of a known palette, so that all that you make fits "
        "together. **Palette** takes other names, hex colours, or the text of a palette file; "
        "empty, it finds 16 colours."
    )
    recipe.tries = (
        "a purple potion, in **Palette** pico-8",
        "a green mushroom, in **Palette** game-boy",
        "a red apple, in **Palette** dawnbringer-32",
    )
    return recipe


def of_eight(recipe: Recipe, colors: int) -> tuple[Link, Link]:
    """Text to eight sprites, each with its own seed, in colours that all share."""
    ids = start(recipe, POTION)
    loader = ids["loader"]
    seeds = recipe.add(
        "SpriteworksSeedBatch",
        "Seeds",
        model=[loader, 0],
        width=[loader, 3],
        height=[loader, 4],
        seed=11,
        batch_size=EIGHT,
    )
    sampled, decoded = sample(recipe, ids, [seeds, 0], [seeds, 1], beside=[seeds])
    # its seed is not used, and a new one would only make the sampler run again
    recipe.fixed.add(sampled)
    return finish_and_save(recipe, [decoded, 0], colors=colors, pictures=EIGHT)


def batch() -> Recipe:
    """Text to eight sprites, each with its own seed."""
    recipe = Recipe(
        "batch",
        "Text to eight sprites",
        "Eight sprites from one text, each with its own seed, in 16 colours that all share.",
        ("sprite", "text to image", "pixel art", "batch"),
    )
    of_eight(recipe, 16)
    recipe.how = (
        "Each picture has its own seed: the one in **Seeds**, then one more each. Put such a seed "
        "into **sprite** and you get that very sprite again, in colours of its own: here all share "
        "one **Palette**. The sampler's own seed is not used."
    )
    recipe.tries = ("a blue gem", "a red mushroom", "a silver ring")
    return recipe


def icons() -> Recipe:
    """Text to eight icons that match, and to one sheet of them."""
    recipe = Recipe(
        "icons",
        "Icon set",
        "Eight icons that match, of one palette and one baseline, and one sheet of them.",
        ("icons", "sprite sheet", "pixel art", "text to image"),
    )
    image, mask = of_eight(recipe, 32)
    sheet(recipe, image, mask, pivot="box", animation="icons")
    recipe.how = (
        "Eight pictures of one text, each with its own seed, in at most 32 colours that all share, "
        "on one baseline: as single sprites, and as one sheet for Phaser and Godot. **Save sheet** "
        "knows more engines. For icons of several texts see the batch "
        "`workflows/batches/icons.yaml`."
    )
    recipe.tries = ("a green gem", "a golden coin", "a red shield")
    return recipe


def img2img() -> Recipe:
    """A sketch and a text to a sprite."""
    recipe = Recipe(
        "img2img",
        "Sketch to sprite",
        "A sprite from a rough sketch and a text; shape and colours follow the sketch.",
        ("img2img", "sketch", "sprite", "pixel art"),
    )
    ids = start(recipe, f"a red mushroom{TAIL}")
    loader = ids["loader"]
    sketch = recipe.picture("Sketch", "spriteworks_sketch.png")
    scaled = recipe.add(
        "ImageScale",
        "To the model's size",
        image=[sketch, 0],
        upscale_method="area",
        width=[loader, 3],
        height=[loader, 4],
        crop="center",
    )
    encoded = recipe.add("VAEEncode", "Encode", pixels=[scaled, 0], vae=[loader, 2])
    recipe.regions[0].insert(1, Group([[sketch]], "Sketch", PICTURES))
    beside = [scaled, encoded]
    _, decoded = sample(recipe, ids, [loader, 0], [encoded, 0], beside=beside, denoise=0.7)
    finish_and_save(recipe, [decoded, 0])
    recipe.how = (
        "Drop your sketch on **Sketch**: blobs of colour on white are enough. Say in **Positive** "
        "what it is. *denoise* in **Sampler** says how far the picture may leave the sketch: 0.5 "
        "keeps most of it, 0.9 little."
    )
    recipe.tries = (
        "a blue mushroom, *denoise* 0.85",
        "a red potion, *denoise* 0.8",
        "a red mushroom, *denoise* 0.5",
    )
    return recipe


def seamless_tile() -> Recipe:
    """Text to a tile that goes on over its edges."""
    recipe = Recipe(
        "seamless_tile",
        "Seamless tile",
        "A tile from a text that goes on over its edges without a seam.",
        ("tile", "texture", "seamless", "pixel art", "text to image"),
    )
    ids = start(recipe, BRICKS, negative="blurry, photo, text, watermark, frame, border")
    latent = size(recipe, ids)
    _, decoded = sample(recipe, ids, [ids["loader"], 0], [latent, 0], beside=[latent])
    snapped = recipe.add("SpriteworksSnap", "Snap", image=[decoded, 0])
    coloured = paint(recipe, [snapped, 0], None)
    closed = recipe.add("SpriteworksCloseSeams", "Close seams", image=[coloured, 0], margin=0)
    saved = save(recipe, [closed, 0], None, title="Save tile")
    columns = [[snapped, coloured], [closed, saved]]
    recipe.regions.append([Group(columns, "From picture to tile", RESULT)])
    recipe.how = (
        "Write what the ground or the wall is made of into **Positive** and press Run. **Close "
        "seams** shows the tile twice by twice, before and after: the seam is covered with a part "
        "of the tile itself, in its own colours. What fits already stays as it is. Its *margin* "
        "cuts off the border that some models paint around a tile."
    )
    recipe.tries = (
        "grey stone wall, seamless",
        "brown brick wall, seamless",
        "sand floor, seamless",
    )
    return recipe
