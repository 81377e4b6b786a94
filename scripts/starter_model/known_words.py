"""The words that the starter model knows, for the words.json of its folder."""

from __future__ import annotations

import re
from collections.abc import Iterable

from comfy_nodes.vocabulary import Vocabulary

from . import captions, sentences
from .dressing import all_names
from .examples import World
from .interface import PIECES
from .walks import WALKERS

_GRAMMAR = (
    "a an the and or of in on at with without for from to as by is are be this that it its my your "
    "his her their our some any all one two three four me i we you please can could should would "
    "want like draw show give make made create generate just only very more most not no so into "
    "over under up down left right has have having that's there here also"
)
"""Words of English that no picture depends on."""

_FILLER = (
    "color colors coloured colored colour colours coloring pixels style styled art artwork picture "
    "image graphic graphics design designed painted drawn showing shown look looking looks type "
    "kind sort version set size sized normal regular average original quality good great best "
    "better awesome amazing pretty mighty gleaming worn royal made well old new young school "
    "platformer rpg roguelike dungeon game games gaming indie mobile unity godot asset assets "
    "sprites icons tiles tileset inventory chunky crisp clean backdrop background transparent "
    "view viewed facing single isolated centered centred square simple basic minimal"
)
"""What people put around a prompt that changes no thing in it."""

_WORD = re.compile(r"[^\W\d_]{2,}")


def words_of_world(world: World) -> Vocabulary:
    """What the model that learns from this world knows."""
    texts: list[str] = [name for tile in world.tiles for name in tile.names]
    texts += [name for names in captions.NOUNS.values() for name in names]
    texts += [word for colour in sentences.all_colours() for word in sentences.colour_words(colour)]
    texts += [word for words in captions.SIZE_WORDS.values() for word in words]
    texts += list(captions.STONES) + list(sentences.SPELLINGS.values())
    texts += [word for words in sentences.KIND_WORDS.values() for word in words]
    texts += [word for words in sentences.WALK_WORDS.values() for word in words]
    texts += [name for names, _ in PIECES.values() for name in names]
    texts += [name for walker in WALKERS.values() for name in walker.names]
    texts += all_names() if world.wardrobe else []
    return _vocabulary(_split(texts))


def _vocabulary(knows: set[str]) -> Vocabulary:
    around = _split(
        [*captions.OPENERS, *captions.TAILS, *captions.WORKFLOW_TAILS, *captions.ADJECTIVES]
        + [*captions.QUALITY, *captions.SHADES, *sentences.SEAMLESS, _GRAMMAR, _FILLER]
        + [word for words in sentences.KIND_WORDS.values() for word in words]
    )
    grammar = set(_GRAMMAR.split())
    things = knows - grammar
    return Vocabulary(tuple(sorted(things)), frozenset((around | grammar) - things))


def _split(texts: Iterable[str]) -> set[str]:
    return {word for text in texts for word in _WORD.findall(text.lower())}
