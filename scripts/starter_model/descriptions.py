"""Texts that describe a thing further than its pictures show: "a shield with a white cross".

People describe what they want, and the pictures were taught with names alone. So a description's
words, each of them known for another thing, made a smear of both. Here are pairs of texts that
shall mean the same: the thing as its pictures are called, and the thing described.
"""

from __future__ import annotations

import random
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

from . import dressing
from .captions import NOISE_WORDS, NOUNS, SIZE_WORDS, jumble, with_articles
from .colours import COLOURS
from .draw import SUBJECTS
from .examples import PICTURES_OF_A_NAME, World, tells_colour, tile_name
from .sentences import WALK_WORDS, all_colours, colour_words, finished
from .walks import WALKERS

PARTS = (
    "arm", "arms", "back", "badge", "bag", "band", "bands", "base", "beak", "beard", "bell",
    "belly", "belt", "blade", "blades", "body armor", "bolt", "bones", "border", "bow tie",
    "branches", "bubbles", "buttons", "candle", "cape", "carvings", "chain", "chains", "cheeks",
    "claw", "claws", "collar", "cork", "cover", "cracks", "crest", "cross", "crystals", "dots",
    "drawing", "ears", "edge", "edges", "emblem", "engravings", "eye", "eyes", "face", "fangs",
    "feathers", "feet", "fin", "fins", "fire", "flame", "flames", "flowers", "frame", "fringe",
    "fuse", "gem", "gems", "glow", "grip", "guard", "hair", "halo", "handle", "hands", "hat",
    "heads", "hilt", "hinges", "hole", "holes", "holster", "hood", "hooves", "horn", "horns",
    "inlay", "inscription", "jewel", "jewels", "label", "leaf", "leaves", "leg", "legs", "letters",
    "lid", "lights", "lines", "liquid", "lock", "logo", "mane", "mark", "markings", "mask", "moss",
    "mouth", "mustache", "nails", "neck", "nose", "ornaments", "patches", "pattern", "paws",
    "petals", "plume", "pockets", "pommel", "rays", "ribbon", "rim", "rivets", "roots", "rope",
    "rune", "runes", "rust", "scar", "scars", "shadow", "shaft", "shell", "sides", "smile", "smoke",
    "snow", "sparks", "spikes", "spines", "spots", "stain", "stars", "stem", "stings", "stones",
    "straps", "string", "stripe", "stripes", "studs", "tail", "tails", "teeth", "tentacles",
    "thorns", "tip", "tongue", "tooth", "top", "trim", "trunk", "tusks", "veins", "vines", "warts",
    "webs", "wheels", "whiskers", "wings", "wood grain", "wounds", "wrapping",
)  # fmt: skip
"""What things have that people speak of."""

SURFACES = ("skin", "fur", "scales", "body", "hide", "feathers", "leaves", "petals", "shell")
"""What most of a living thing is: its colour is the thing's."""

_LIVING = frozenset({"monster", "plant"})

MATERIALS = (
    "gold", "silver", "iron", "steel", "stone", "wood", "glass", "crystal", "ice", "fire", "bone",
    "leather", "copper", "bronze", "diamond", "cloth", "paper", "mud", "slime", "lava", "metal",
    "marble", "bricks", "straw", "shadow", "light", "water", "plastic", "rubber", "candy",
)  # fmt: skip

_ACTIONS = (
    "attacking", "biting", "bleeding", "breathing fire", "bubbling", "burning", "carrying a {}",
    "casting a spell", "charging", "chasing a {}", "climbing", "coiled around a {}", "crawling",
    "crying", "dancing", "digging", "drinking", "dripping", "eating a {}", "exploding", "fighting",
    "fighting a {}", "flying", "flying over a {}", "glowing", "guarding a {}", "hanging from a {}",
    "hiding", "holding a {}", "holding a {}", "hovering", "howling", "howling at the moon",
    "jumping", "laughing", "leaning on a {}", "looking at you", "lying down", "lying on a {}",
    "melting", "playing with a {}", "praying", "reading a {}", "resting", "riding a {}", "roaring",
    "rolling", "running", "running away", "screaming", "shining", "showing its teeth", "sitting",
    "sitting on a {}", "sleeping", "smiling", "smoking", "spinning", "spitting fire",
    "standing", "standing up", "standing on a {}", "swimming", "swimming in water", "swinging a {}",
    "throwing a {}", "waiting", "waving", "wearing a {}", "wrapped in a {}", "wrapped around a {}",
)  # fmt: skip

_AFTER = (
    "that is on fire", "that glows", "that glows in the dark", "which shines", "for a king",
    "for a queen", "for kids", "of power", "of death", "of doom", "of wisdom", "of healing",
    "of the north", "of the forest", "from hell", "from the deep", "from a dark forest",
    "in the dark", "in water", "in the snow", "in flames", "on fire", "at night", "in battle",
    "in motion", "full of holes", "without a head", "ready to fight", "about to attack",
    "seen from above", "seen from the side", "from behind", "upside down", "on the ground",
    "that looks angry", "that looks friendly", "in the rain", "under the sea", "in space",
)  # fmt: skip

_BEFORE = (
    "angry", "armed", "battered", "bearded", "bent", "blessed", "blind", "bloody", "bright",
    "broken", "burning", "carved", "charged", "clean", "closed", "cracked", "crooked", "curved",
    "damaged", "dead", "decorated", "dirty", "double", "dusty", "electric", "elegant", "empty",
    "expensive", "famous", "fat", "feral", "fierce", "filled", "flaming", "flat", "flying",
    "fresh", "friendly", "frozen", "full", "furry", "glass", "grumpy", "hairy", "half", "happy",
    "heavy", "horned", "hungry", "iced", "iron", "jagged", "jeweled", "leather", "lit", "locked",
    "long", "lost", "lucky", "mad", "mechanical", "metal", "mossy", "muscular", "narrow", "open",
    "ornate", "pointy", "powerful", "precious", "pretty", "rotten", "rough", "round", "rugged",
    "sacred", "sad", "scaly", "secret", "sharp", "short", "skinny", "sleeping", "sleepy", "slim",
    "soft", "spiked", "spiky", "spotted", "square", "steel", "stone", "striped", "strong", "sweet",
    "tall", "thick", "thin", "torn", "tough", "toxic", "twisted", "undead", "valuable", "weak",
    "wet", "wicked", "wide", "wild", "winged", "wise", "wooden", "young",
)  # fmt: skip

_WITH = ("with", "with", "with", "with a", "with a", "with two", "with many", "and", "having",
         "that has", "that has a", "which has", "featuring", "decorated with", "covered in",
         "covered with", "surrounded by", "showing a", "bearing a")  # fmt: skip

_PLACES = ("on", "in", "under", "near", "next to", "beside", "behind", "over", "above", "inside",
           "against", "among", "on top of", "in front of", "between", "from", "around")  # fmt: skip

_FULL = ("full of", "filled with", "overflowing with", "stuffed with", "containing", "holding")
_MADE = ("made of", "made from", "built of", "forged from", "carved from", "of")
_SORTS = ("big", "small", "large", "tiny", "long", "short", "huge", "little", "sharp", "glowing",
          "shiny", "broken", "round", "old", "magic", "heavy", "thick")  # fmt: skip

_LONGEST_NAME = 6
"""Words of a name at most."""

_TRIES = 50


@dataclass(frozen=True)
class Pair:
    """Two texts that shall be one picture."""

    described: str
    plain: str


class Descriptions:
    """Writes pairs about the things of a world."""

    def __init__(self, world: World) -> None:
        self._world = world
        names = {name for tile in world.tiles for name in tile.names}
        names |= {noun for nouns in NOUNS.values() for noun in nouns}
        worn = set(dressing.all_names()) if world.wardrobe else set()
        self._worn = {tuple(name.split()) for name in worn}
        self._names = {tuple(name.split()) for name in names} | self._worn
        self._people = {tuple(name.split()) for name in _people_of(world)}
        self._things = sorted(name for name in names if len(name.split()) < 3)
        self._words = sorted({word for name in names for word in name.split()})

    def pair(self, rng: random.Random) -> Pair:
        """A thing described, and as it is called."""
        chance = rng.random()
        if self._world.wardrobe is None:
            return self._drawing(rng) if chance < 0.9 else self._walker(rng)
        if chance < 0.55:
            return self._tile(rng)
        if chance < 0.80:
            return self._drawing(rng)
        return self._figure(rng) if chance < 0.92 else self._walker(rng)

    def _tile(self, rng: random.Random) -> Pair:
        tile = self._world.pick_tile(rng)
        name = tile_name(rng, tile)
        colourless = not tells_colour(name) and tile.subject not in SUBJECTS
        may = all_colours() if colourless and tile.kind != "icon" else ()
        return self._described(rng, name, may, living=tile.kind in _LIVING)

    def _drawing(self, rng: random.Random) -> Pair:
        subject = rng.choice(list(SUBJECTS))
        name = rng.choice(NOUNS[subject]) if rng.random() < 0.5 else subject
        # One shape has all sizes, so that a size is said and changes nothing.
        if rng.random() < 0.1:
            name = f"{rng.choice(SIZE_WORDS[rng.choice(list(SIZE_WORDS))])} {name}"
        return self._described(rng, name, tuple(COLOURS), living=False)

    def _figure(self, rng: random.Random) -> Pair:
        return self._described(rng, self._outfit(rng), (), living=False)

    def _walker(self, rng: random.Random) -> Pair:
        if self._world.wardrobe is not None and rng.random() < 0.5:
            return self._described(
                rng, self._outfit(rng), (), living=False, after=rng.choice(WALK_WORDS["front"])
            )
        name = rng.choice(rng.choice(list(WALKERS.values())).names)
        walk = rng.choice(WALK_WORDS["side"])
        return self._described(rng, name, tuple(COLOURS), living=False, after=walk)

    def _outfit(self, rng: random.Random) -> str:
        return self._world.trained_outfit(rng, rng.randrange(PICTURES_OF_A_NAME)).text

    def _described(
        self,
        rng: random.Random,
        name: str,
        may: Sequence[str],
        *,
        living: bool,
        after: str = "",
    ) -> Pair:
        """A pair about this name.

        Args:
            may: colours that it is taught in.
            living: whether its skin or leaves tell its colour.
            after: what stands at the end of both texts.
        """
        colour = rng.choice(may) if may and rng.random() < 0.5 else None
        tail = f", {after}" if after else ""
        for _ in range(_TRIES):
            meant, said = colour, [_called(rng, colour)] if colour else []
            before, behind = self._before(rng), self._behind(rng)
            if may and living and colour is None and rng.random() < 0.25:
                meant = rng.choice(may)
                behind = [f"with {_called(rng, meant)} {rng.choice(SURFACES)}"]
            elif colour is not None and rng.random() < 0.15:
                said, behind = [], [f"in {_called(rng, colour)}", *behind]
            if not before and not behind:
                continue
            parts = [*said, *before] if rng.random() < 0.5 else [*before, *said]
            if not self.fits([*parts, name, *behind], name):
                continue
            start = "" if name.startswith(("a ", "an ", "the ")) else rng.choice(("", "a ", "the "))
            text = start + " ".join([*parts, name, *behind]).replace(" ,", ",")
            plain = f"{meant} {name}" if meant else name
            return Pair(finished(rng, text + tail), with_articles(plain + tail))
        plain = with_articles(f"{colour} {name}{tail}" if colour else name + tail)
        return Pair(plain, plain)

    def _before(self, rng: random.Random) -> list[str]:
        """Words before the name."""
        count = rng.choice((0, 0, 0, 0, 1, 1, 2))
        return [
            rng.choice(_BEFORE) if rng.random() < 0.7 else rng.choice(self._words)
            for _ in range(count)
        ]

    def _behind(self, rng: random.Random) -> list[str]:
        """Phrases after the name."""
        return [self._phrase(rng) for _ in range(rng.choice((0, 1, 1, 1, 1, 1, 1, 2, 2, 3)))]

    def _phrase(self, rng: random.Random) -> str:
        chance = rng.random()
        if chance < 0.40:
            return f"{rng.choice(_WITH)} {self._part(rng)}"
        if chance < 0.48:
            return f", {self._part(rng)}"
        if chance < 0.58:
            return f"{rng.choice(_PLACES)} {rng.choice(('a ', 'the ', ''))}{self._thing(rng)}"
        if chance < 0.66:
            return f"{rng.choice(_FULL)} {self._thing(rng)}{rng.choice(('', 's'))}"
        if chance < 0.74:
            return f"{rng.choice(_MADE)} {rng.choice(MATERIALS)}"
        if chance < 0.90:
            return rng.choice(_ACTIONS).format(self._thing(rng))
        return rng.choice(_AFTER)

    def _part(self, rng: random.Random) -> str:
        words = []
        if rng.random() < 0.25:
            words.append(rng.choice(_SORTS))
        if rng.random() < 0.5:
            words.append(_called(rng, rng.choice(all_colours())))
        elif rng.random() < 0.2:
            words.append(rng.choice(MATERIALS))
        words.append(rng.choice(PARTS) if rng.random() < 0.7 else self._thing(rng))
        if rng.random() < 0.15:
            words.append(f"{rng.choice(_PLACES)} {rng.choice(('it', 'its', 'the'))}")
            words.append(rng.choice(PARTS))
        return " ".join(words)

    def _thing(self, rng: random.Random) -> str:
        chance = rng.random()
        if chance < 0.7:
            return rng.choice(self._things)
        return rng.choice(NOISE_WORDS) if chance < 0.95 else jumble(rng)

    def fits(self, parts: Sequence[str], name: str) -> bool:
        """Whether no name is put together of the thing and what describes it.

        "Fire" before "giant" is another thing than a giant. And what a figure can wear is not to be
        read over when it is said of one.
        """
        words: list[str] = []
        owners: list[int] = []
        for place, part in enumerate(parts):
            found = [word.strip(",") for word in part.split()]
            found = [word for word in found if word not in ("a", "an", "the", "")]
            words += found
            owners += [place] * len(found)
        for first, last in _stretches(len(words), 2):
            if owners[first] != owners[last - 1] and tuple(words[first:last]) in self._names:
                return False
        if not _has(name.split(), self._people):
            return True
        described = [word for part in parts if part != name for word in part.strip(", ").split()]
        return not _has(described, self._worn)


def _called(rng: random.Random, colour: str) -> str:
    words = colour_words(colour)
    return rng.choice(words) if rng.random() < 0.3 else words[0]


def _people_of(world: World) -> Iterable[str]:
    """What the figures of a world are called: what they are told to wear is shown."""
    if world.wardrobe is None:
        return ()
    roles = (name for role in dressing.roles().values() for name in role["names"])
    bodies = (name for body in world.wardrobe.layers["base"] for name in body.names)
    return (*roles, *bodies, *dressing.ANYBODY)


def _stretches(count: int, least: int) -> Iterable[tuple[int, int]]:
    """Starts and ends of all stretches, of that many words or more, that may be a name."""
    for first in range(count):
        for last in range(first + least, min(count, first + _LONGEST_NAME) + 1):
            yield first, last


def _has(words: Sequence[str], names: Container[tuple[str, ...]]) -> bool:
    """Whether one of the names stands among the words."""
    return any(tuple(words[first:last]) in names for first, last in _stretches(len(words), 1))
