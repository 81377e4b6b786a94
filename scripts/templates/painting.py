"""Workflows that change pictures: inpainting, snapping a found one, and other colours."""

from __future__ import annotations

from .parts import TAIL, finish_and_save, paint, sample, save, start
from .recipe import NOTE, PICTURES, RESULT, Group, Link, Recipe

BLUE_POTION = f"a blue potion{TAIL}"
# So that what is painted follows the shape that is there, which the outline keeps.
DENOISE = 0.5


def inpaint() -> Recipe:
    """Repaint what a mask's file or a rule marks, and leave the rest as it is."""
    recipe = Recipe(
        "inpaint",
        "Inpaint by a mask file or a rule",
        "A picture of which the masked part is repainted; all else stays, byte for byte.",
        ("inpaint", "mask", "pixel art"),
    )
    ids = start(recipe, BLUE_POTION, 30)
    picture = recipe.picture("Picture", "spriteworks_potion.png")
    recipe.pictures += ("spriteworks_potion_mask.png",)
    mask = recipe.add("LoadImageMask", "Mask", image="spriteworks_potion_mask.png", channel="red")
    rule = recipe.add(
        "SpriteworksMask",
        "Mask rule",
        image=[picture, 0],
        rule="mask",
        mask=[mask, 0],
        alpha=[picture, 1],
    )
    pictures = Group([[picture, mask]], "Picture and mask", PICTURES)
    repaint(recipe, ids, picture, [rule, 0], [picture, 1], before=[rule], pictures=pictures)
    recipe.how = (
        "Drop a picture on **Picture** and a mask (red = repaint) on **Mask**, or choose another "
        "*rule* in **Mask rule**. Outside the mask nothing changes, not by one bit; pixel art "
        "keeps its grid, its colours and its outline. To paint the mask yourself open the template "
        "**inpaint_by_hand**.\n\nFor another shape switch *keep_outline* in **Stitch** off and "
        "raise *denoise* in **Sampler** to 1."
    )
    recipe.tries = (
        "a green potion, *new_colours* 4 in **Stitch**",
        "a purple potion, *new_colours* 4 in **Stitch**",
        "*rule* colour with *colour* #ce2636: all that is red",
    )
    return recipe


def inpaint_by_hand() -> Recipe:
    """Repaint what is painted over in ComfyUI's mask editor."""
    recipe = Recipe(
        "inpaint_by_hand",
        "Inpaint what you paint over",
        "Paint over a part of a picture in ComfyUI's mask editor, and that part is repainted.",
        ("inpaint", "mask editor", "pixel art"),
    )
    ids = start(recipe, BLUE_POTION, 30)
    picture = recipe.picture("Picture", "spriteworks_potion_painted.png")
    pictures = Group([[picture]], "Picture", PICTURES)
    repaint(recipe, ids, picture, [picture, 1], None, before=[], pictures=pictures)
    recipe.how = (
        "Right-click **Picture**, choose **Open in MaskEditor**, paint over what shall be new, "
        "save, and press Run. Outside of it nothing changes, not by one bit; pixel art keeps its "
        "grid, its colours and its outline. On the example the bottle is painted over already."
        "\n\nFor another shape switch *keep_outline* in **Stitch** off and raise *denoise* in "
        "**Sampler** to 1."
    )
    recipe.tries = (
        "a green potion, *new_colours* 4 in **Stitch**",
        "a purple potion, *new_colours* 4 in **Stitch**",
        "a golden gem, painted over one of the gems",
    )
    return recipe


def repaint(
    recipe: Recipe,
    ids: dict[str, str],
    picture: str,
    mask: Link,
    alpha: Link | None,
    *,
    before: list[str],
    pictures: Group,
) -> None:
    """From a picture and a mask to the picture with that part anew.

    `pictures` are where both come from, and `before` nodes between them and the crop.
    """
    loader = ids["loader"]
    crop = recipe.add(
        "SpriteworksInpaintCrop",
        "Crop around the mask",
        image=[picture, 0],
        mask=mask,
        width=[loader, 3],
        height=[loader, 4],
        context=1.1,
        grow=0,
        feather=0,
        **({} if alpha is None else {"alpha": alpha}),
    )
    encoded = recipe.add("VAEEncode", "Encode", pixels=[crop, 0], vae=[loader, 2])
    masked = recipe.add(
        "SetLatentNoiseMask", "Only within the mask", samples=[encoded, 0], mask=[crop, 1]
    )
    crops = Group([[*before, crop, encoded, masked]], "Mask and crop", PICTURES)
    recipe.regions[1:1] = [[pictures], [crops]]
    _, decoded = sample(recipe, ids, [loader, 0], [masked, 0], denoise=DENOISE)
    stitched = recipe.add(
        "SpriteworksInpaintStitch", "Stitch", stitch=[crop, 2], image=[decoded, 0]
    )
    saved = recipe.add(
        "SaveImage", "Save picture", images=[stitched, 0], filename_prefix=recipe.name
    )
    recipe.regions.append([Group([[stitched, saved]], "Result", RESULT)])


def snap() -> Recipe:
    """A found picture of fake pixels to a sprite."""
    recipe = Recipe(
        "snap",
        "Snap a found picture",
        "A sprite from a picture of fake pixels: enlarged, blurred or saved as JPEG.",
        ("snap", "pixel perfect", "remove background", "pixel art"),
    )
    found = recipe.picture("Found picture", "spriteworks_found.jpg")
    recipe.regions = [[Group([[NOTE]]), Group([[found]], "Found picture", PICTURES)]]
    finish_and_save(recipe, [found, 0])
    recipe.how = (
        "Drop a picture of pixel art on **Found picture**, also one that was enlarged, blurred or "
        "saved as JPEG. **Snap** finds its grid, and says how sure it is; **Cutout** takes the "
        "background away, **Palette** leaves few colours. No model is needed."
    )
    recipe.tries = (
        "*width* in **Snap**, where you know the true width",
        "*colors* 8 in **Palette**, or a palette by name",
        "*outline* in **Cutout**, for sprites with gaps in it",
    )
    return recipe


def palette_swap() -> Recipe:
    """A sprite in other colours: one ramp for another, and a known palette."""
    recipe = Recipe(
        "palette_swap",
        "Palette swap",
        "A sprite in other colours: one ramp of colours for another, or all of a known palette.",
        ("palette", "recolour", "pixel art"),
    )
    loaded = recipe.picture("Sprite", "spriteworks_hero.png")
    mask: Link = [loaded, 1]
    recipe.regions = [[Group([[NOTE]]), Group([[loaded]], "Sprite", PICTURES)]]
    swapped = recipe.add(
        "SpriteworksSwapRamp",
        "Swap ramp",
        image=[loaded, 0],
        old="#921634 #ce2636 #f06060",
        new="#1a3a6e #2f6fc0 #7fc0f0",
        both_ways=False,
        palette="",
        mask=mask,
    )
    first = save(recipe, [swapped, 0], mask, "Save with another ramp", "palette_swap_ramp")
    coloured = paint(recipe, [loaded, 0], mask, palette="game-boy")
    second = save(recipe, [coloured, 0], mask, "Save in the palette", "palette_swap_palette")
    recipe.regions.append([Group([[swapped, first]], "One ramp for another", RESULT)])
    recipe.regions.append([Group([[coloured, second]], "Another palette", RESULT)])
    recipe.how = (
        "Drop a sprite of few colours on **Sprite**. **Swap ramp** gives one of its ramps, by its "
        "colours or by its name, other colours, dark for dark and light for light. **Palette** "
        "paints all of it in the colours of a palette. Shape and transparency stay. No model is "
        "needed."
    )
    recipe.tries = (
        "*new* #2a5a2a #4f9f3f #a0e070: a green coat",
        "*old* grey, *new* yellow: a golden sword",
        "pico-8 in **Palette**",
    )
    return recipe
