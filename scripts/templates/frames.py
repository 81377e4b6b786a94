"""Workflows from frames to sheets."""

from __future__ import annotations

from .parts import FRAMES, MODEL_SIZE, finish, sample, sheet, start
from .recipe import NOTE, PICTURES, RESULT, Group, Recipe

WALK = f"knight, walk cycle, side view, {FRAMES} frames, pixel art, plain white background"
NEGATIVE = "blurry, photo, text, watermark, frame, cropped"
AFTER = (
    "They get one grid, one palette and one ground, and come out as a sheet for Phaser and Godot."
)


def frames() -> Recipe:
    """Frames of an animation to one sheet: no model, one grid, one palette, one ground."""
    recipe = Recipe(
        "frames",
        "Frames to sheet",
        "One sheet of the frames of an animation, on one grid, one ground and in 16 colours.",
        ("animation", "sprite sheet", "frames", "pixel art"),
    )
    loaded = recipe.picture("Frames", "spriteworks_walk.png")
    image, mask, (snapped, cut, coloured) = finish(recipe, [loaded, 0], shared=True, sequence=True)
    recipe.regions = [
        [Group([[NOTE]]), Group([[loaded]], "Frames", PICTURES)],
        [Group([[snapped, cut], [coloured]], "From frames to sprites", RESULT)],
    ]
    sheet(recipe, image, mask, pivot="ground", animation="walk")
    recipe.how = (
        "Drop an animation (APNG, GIF or WebP) on **Frames**, or link the frames that your own "
        "graph makes to **Snap**, as one batch. They get one grid, one palette and one ground, and "
        "come out as a sheet for Phaser and Godot. No model is needed."
    )
    recipe.tries = (
        "*pivot* centre in **Align frames**, for what flies",
        "*formats* aseprite, unity in **Save sheet**",
        "*colors* 8 in **Palette**",
    )
    return recipe


def walk_cycle() -> Recipe:
    """Text to the frames of a walk, and to a sheet of them."""
    recipe = Recipe(
        "walk_cycle",
        "Walk cycle to sheet",
        "The frames of a walk from a text, put on one ground and saved as a sheet for game "
        "engines.",
        ("animation", "walk cycle", "sprite sheet", "text to image"),
    )
    width, height = MODEL_SIZE
    ids = start(recipe, WALK, negative=NEGATIVE)
    latent = recipe.add(
        "EmptyLatentImage",
        f"Size of {FRAMES} frames",
        width=FRAMES * width,
        height=height,
        batch_size=1,
    )
    _, decoded = sample(recipe, ids, [ids["loader"], 0], [latent, 0], beside=[latent])
    sliced = recipe.add(
        "SpriteworksSliceSheet", "Frames", image=[decoded, 0], columns=FRAMES, rows=1
    )
    recipe.how = (
        f"The model paints {FRAMES} frames beside each other in one picture; **Frames** cuts them "
        f"apart. {AFTER} The size is {FRAMES} times the width that the model was made for."
    )
    recipe.tries = (
        f"skeleton, walk cycle, front view, {FRAMES} frames",
        f"green slime, walk cycle, side view, {FRAMES} frames",
        f"wizard in a blue robe, walk cycle, side view, {FRAMES} frames",
    )
    image, mask, (snapped, cut, coloured) = finish(recipe, [sliced, 0], shared=True, sequence=True)
    columns = [[sliced, snapped], [cut, coloured]]
    recipe.regions.append([Group(columns, "From frames to sprites", RESULT)])
    sheet(recipe, image, mask, pivot="ground", animation="walk")
    return recipe
