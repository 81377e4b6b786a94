"""Texts for pictures of the whole world: what people type for a thing of some colour and kind."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from .captions import (
    ADJECTIVES,
    COLOUR_WORDS,
    OPENERS,
    SHADES,
    TAILS,
    WORKFLOW_TAILS,
    jumble,
    letter_case,
    with_articles,
)

MORE_COLOUR_WORDS: Mapping[str, tuple[str, ...]] = {
    "black": ("black", "dark", "jet black", "ebony"),
    "white": ("white", "snow white", "ivory"),
}

KIND_WORDS: Mapping[str, tuple[str, ...]] = {
    "monster": ("monster", "enemy", "creature"),
    "item": ("item", "loot", "pickup"),
    "floor": ("floor tile", "tile", "ground tile", "texture", "seamless tile"),
    "wall": ("wall tile", "tile", "texture", "seamless tile"),
    "character": ("character", "hero sprite", "player character", "npc"),
    "door": ("dungeon door", "door tile"),
    "altar": ("dungeon feature",),
    "feature": ("dungeon feature", "map object", "prop"),
    "trap": ("dungeon trap",),
    "plant": ("plant", "map object"),
    "effect": ("effect", "visual effect", "spell effect"),
    "icon": ("icon", "skill icon", "spell icon"),
    "interface": ("ui element", "user interface", "game ui"),
}
"""Words for what kind of thing a picture shows."""

SEAMLESS = ("seamless", "tileable", "repeating", "seamless texture", "top down", "game tile")
"""What is said of floors and walls."""

WALK_WORDS: Mapping[str, tuple[str, ...]] = {
    "front": (
        "walking, front view, four frames",
        "walk cycle, front view, 4 frames",
        "walking towards the viewer, sprite sheet of four frames",
        "marching, front view, walk animation",
        "walk cycle facing front, four frames in a row",
    ),
    "side": (
        "walking, side view, four frames",
        "walk cycle, side view, 4 frames",
        "walking to the right, sprite sheet of four frames",
        "walk animation, side view, four frames in a row",
        "walk cycle from the side, four frames",
    ),
}

SPELLINGS: Mapping[str, str] = {"grey": "gray", "armor": "armour", "colorful": "colourful"}
"""Other spellings, used half of the time."""


def colour_words(colour: str) -> tuple[str, ...]:
    """How a colour is called, the plainest first.

    Raises:
        KeyError: for an unknown colour.
    """
    return MORE_COLOUR_WORDS[colour] if colour in MORE_COLOUR_WORDS else COLOUR_WORDS[colour]


def all_colours() -> tuple[str, ...]:
    """Every colour that a text can name."""
    return (*COLOUR_WORDS, *MORE_COLOUR_WORDS)


def write_sentence(
    rng: random.Random, name: str, colour: str | None, kind: str, seamless: bool = False
) -> str:
    """A text that asks for this thing.

    Args:
        name: what people call it; it may tell its colour itself.
        colour: the colour to name, None for none.
        kind: a key of ``KIND_WORDS``.
        seamless: whether it is a tile that repeats.
    """
    core = _core(rng, name, _colour_word(rng, colour), kind)
    if seamless and rng.random() < 0.5:
        core = f"{core}, {rng.choice(SEAMLESS)}"
    return finished(rng, core)


def finished(rng: random.Random, core: str) -> str:
    """The core of a text with what people put around it."""
    text = core
    if rng.random() < 0.45:
        text = f"{rng.choice(OPENERS)} {text}"
    chance = rng.random()
    if chance < 0.3:
        text = f"{text}, {', '.join(rng.sample(TAILS, rng.randint(1, 3)))}"
    elif chance < 0.5:
        text = f"{text}, {rng.choice(WORKFLOW_TAILS)}"
    if rng.random() < 0.08:
        words = text.split(" ")
        words.insert(rng.randrange(len(words) + 1), jumble(rng))
        text = " ".join(words)
    return letter_case(rng, with_articles(_spelt(rng, text)))


def _core(rng: random.Random, name: str, colour: str, kind: str) -> str:
    adjective = f"{rng.choice(ADJECTIVES)} " if rng.random() < 0.12 else ""
    thing = f"{adjective}{name}"
    if rng.random() < 0.12 and kind in ("monster", "character") and "," not in name:
        thing = f"{thing} {rng.choice(KIND_WORDS[kind])}"
    elif rng.random() < 0.15:
        thing = f"{thing}, {rng.choice(KIND_WORDS[kind])}"
    article = rng.choice(("", "", "a ", "the ")) if not name.startswith(("a ", "an ")) else ""
    if not colour:
        return f"{article}{thing}"
    chance = rng.random()
    if chance < 0.72:
        return f"{article}{colour} {thing}"
    if chance < 0.84:
        return f"{article}{thing}, {colour}"
    return f"{article}{thing} in {colour}" if chance < 0.93 else f"{colour}, {thing}"


def _colour_word(rng: random.Random, colour: str | None) -> str:
    if colour is None:
        return ""
    words = colour_words(colour)
    word = rng.choice(words) if rng.random() < 0.4 else words[0]
    return f"{rng.choice(SHADES)} {word}" if rng.random() < 0.06 else word


def _spelt(rng: random.Random, text: str) -> str:
    words: Sequence[str] = text.split(" ")
    return " ".join(
        SPELLINGS[word] if word in SPELLINGS and rng.random() < 0.5 else word for word in words
    )
