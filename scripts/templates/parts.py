"""What several workflows have: the model, the sampler, and the way from a picture to a sprite."""

from __future__ import annotations

from collections.abc import Sequence

from .layout import showing
from .recipe import (
    MODEL,
    NOTE,
    RESULT,
    SAMPLING,
    SHEET,
    TEXTS,
    Group,
    Link,
    Recipe,
)

MODEL_NAME = "spriteworks-starter"
# px; what the starter model paints at, width and height, from which the walk cycle takes its size;
# to be set anew, and the workflows built anew, for another one.
MODEL_SIZE = (128, 128)
# It paints so many frames of a walk beside each other in one picture.
FRAMES = 4
TAIL = ", pixel art, game sprite, centered, plain white background"
NEGATIVE = "blurry, photo, text, watermark, frame, cropped, several objects"
SETTINGS = {"precision": "auto", "attention": "auto", "vae_tiling": "auto", "offload": "auto"}


def start(
    recipe: Recipe, positive: str, steps: int = 20, cfg: float = 8.0, negative: str = NEGATIVE
) -> dict[str, str]:
    """The part that all with a model have: model, texts and the sampler's defaults."""
    loader = recipe.add("SpriteworksDiffusersLoader", "Model", model_name=MODEL_NAME, **SETTINGS)
    texts = {
        role: recipe.add("CLIPTextEncode", title, text=text, clip=[loader, 1])
        for role, title, text in (
            ("positive", "Positive", positive),
            ("negative", "Negative", negative),
        )
    }
    defaults = recipe.add(
        "SpriteworksModelDefaults", "Model defaults", model=[loader, 0], steps=steps, cfg=cfg
    )
    recipe.regions = [
        [Group([[NOTE]]), Group([[loader]], "Model", MODEL)],
        [Group([[texts["positive"]], [texts["negative"]]], "Texts", TEXTS)],
    ]
    return {"loader": loader, "defaults": defaults, **texts}


def size(recipe: Recipe, ids: dict[str, str]) -> str:
    """An empty latent of the model's own size."""
    loader = ids["loader"]
    return recipe.add(
        "EmptyLatentImage", "Size", width=[loader, 3], height=[loader, 4], batch_size=1
    )


def sample(
    recipe: Recipe,
    ids: dict[str, str],
    model: Link,
    latent: Link,
    beside: Sequence[str] = (),
    denoise: float = 1.0,
) -> tuple[str, str]:
    """Sampler, with steps and CFG that follow the model, and decoder, below the texts.

    `beside` are nodes that lie with them, below the defaults.
    """
    sampled = recipe.add(
        "KSampler",
        "Sampler",
        model=model,
        seed=11,
        steps=[ids["defaults"], 0],
        cfg=[ids["defaults"], 1],
        sampler_name="euler_ancestral",
        scheduler="karras",
        positive=[ids["positive"], 0],
        negative=[ids["negative"], 0],
        latent_image=latent,
        denoise=denoise,
    )
    decoded = recipe.add("VAEDecode", "Decode", samples=[sampled, 0], vae=[ids["loader"], 2])
    columns = [[ids["defaults"], *beside], [sampled, decoded]]
    recipe.regions[-1].append(Group(columns, "Sampling", SAMPLING))
    return sampled, decoded


def finish(
    recipe: Recipe,
    image: Link,
    palette: str = "",
    shared: bool = False,
    colors: int = 16,
    sequence: bool = False,
) -> tuple[Link, Link, list[str]]:
    """True pixels, cut out, in few colours: IMAGE, MASK, and the ids of the three nodes.

    The palette comes last, so that no colour of the background has a place in it and none comes in
    after it.
    """
    snapped = recipe.add("SpriteworksSnap", "Snap", image=image)
    if sequence:
        recipe.graph[snapped]["inputs"]["sequence"] = True
    cut = recipe.add(
        "SpriteworksCutout",
        "Cutout",
        image=[snapped, 0],
        tolerance=0.15,
        smallest_hole=0.004,
        mask=[snapped, 1],
    )
    coloured = paint(recipe, [cut, 0], [cut, 1], palette, shared, colors)
    return [coloured, 0], [cut, 1], [snapped, cut, coloured]


def paint(
    recipe: Recipe,
    image: Link,
    mask: Link | None,
    palette: str = "",
    shared: bool = False,
    colors: int = 16,
    title: str = "Palette",
) -> str:
    """Few colours."""
    return recipe.add(
        "SpriteworksPalette",
        title,
        image=image,
        colors=colors,
        palette=palette,
        dither=False,
        shared=shared,
        **({} if mask is None else {"mask": mask}),
    )


def save(
    recipe: Recipe, image: Link, mask: Link | None, title: str = "Save sprite", prefix: str = ""
) -> str:
    """The true pixels, saved with their transparency."""
    return recipe.add(
        "SpriteworksSaveSprite",
        title,
        image=image,
        filename_prefix=prefix or recipe.name,
        **({} if mask is None else {"mask": mask}),
    )


def finish_and_save(
    recipe: Recipe, image: Link, palette: str = "", colors: int = 16, pictures: int = 1
) -> tuple[Link, Link]:
    """From pictures of fake pixels to sprites: true pixels, cut out, few colours, saved.

    Several have their colours in common.
    """
    shared = pictures > 1
    image, mask, (snapped, cut, coloured) = finish(recipe, image, palette, shared, colors)
    saved = save(recipe, image, mask)
    if shared:
        recipe.least[saved] = showing(pictures)
    columns = [[snapped, cut], [coloured, saved]]
    recipe.regions.append([Group(columns, "From picture to sprite", RESULT)])
    return image, mask


def sheet(recipe: Recipe, image: Link, mask: Link, pivot: str, animation: str) -> None:
    """From sprites to one sheet and its engine files: one ground, one canvas, one pivot."""
    aligned = recipe.add(
        "SpriteworksAlignFrames", "Align frames", image=image, pivot=pivot, margin=1, mask=mask
    )
    laid = recipe.add(
        "SpriteworksSpriteSheet",
        "Sprite sheet",
        image=[aligned, 0],
        animation=animation,
        pivot_x=[aligned, 2],
        pivot_y=[aligned, 3],
        mask=[aligned, 1],
    )
    saved = recipe.add(
        "SpriteworksSaveSheet", "Save sheet", sheet=[laid, 0], filename_prefix=recipe.name
    )
    recipe.regions.append([Group([[aligned, laid], [saved]], "Sheet", SHEET)])
