"""Characters dressed from the layers of the tiles: what they look like and what they wear."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import yaml

from .tiles import TABLES, Rgba

PLACES = ("cloak", "base", "boots", "legs", "body", "gloves", "hand1", "hand2", "hair", "head")
"""Layers from back to front."""

HELD = frozenset({"hand1", "hand2"})
"""What hands hold; it stays where it is when a character walks."""

_COLOURS = {
    "black": "black", "dark": "black", "night": "black", "shadow": "black", "blue": "blue",
    "sky": "blue", "brown": "brown", "ybrown": "brown", "redbrown": "brown", "darkbrown": "brown",
    "cyan": "cyan", "teal": "cyan", "gold": "yellow", "yellow": "yellow", "gray": "grey",
    "grey": "grey", "metal": "grey", "green": "green", "darkgreen": "green", "lightgreen": "green",
    "emerald": "green", "magenta": "pink", "orange": "orange", "pink": "pink", "purple": "purple",
    "red": "red", "ruby": "red", "white": "white", "pearl": "white", "pale": "white",
    "blackgold": "black", "blackred": "black", "bluegreen": "blue", "mottled": "orange",
}  # fmt: skip

_TOLD = frozenset(_COLOURS) | {"blonde", "golden", "colorful", "steel"}
"""First words of names that tell a colour already."""

_WEAR = {"cloak": 0.3, "boots": 0.75, "legs": 0.6, "body": 1.0, "gloves": 0.3, "hand1": 0.8,
         "hand2": 0.45, "hair": 0.6, "head": 0.6}  # fmt: skip
"""How often each place is filled."""

ANYBODY = ("warrior", "character", "man", "woman", "hero")
"""What a figure is called that has no role."""

_NO_LEGS = frozenset({"centaur", "naga"})

_COLOURED = frozenset({"draconian", "naga"})
"""Species whose colour a text may tell."""


@dataclass(frozen=True)
class Layer:
    """One layer: its picture and its names."""

    path: str
    pixels: Rgba
    names: tuple[str, ...]
    """The plainest first; of a body the species' names."""
    colour: str | None
    subject: str = ""
    sex: str = ""

    def said(self, rng: random.Random) -> str:
        """The layer as a text calls it, with its colour where that is known."""
        name = rng.choice(self.names) if rng.random() < 0.4 else self.names[0]
        return _plain(self, name)

    def phrases(self) -> set[str]:
        """All that `said` may give."""
        return {_plain(self, name) for name in self.names}


@dataclass(frozen=True)
class Character:
    """A dressed character, the layers it is made of, and what it is."""

    layers: Mapping[str, Layer]
    role: str | None
    """A word for the whole outfit, where it was chosen by one."""
    pixels: Rgba = field(compare=False)

    @property
    def species(self) -> str:
        """What its body is."""
        return self.layers["base"].subject


class Wardrobe:
    """All layers by place, and the roles."""

    def __init__(self, pictures: Mapping[str, Rgba]) -> None:
        self.layers: dict[str, list[Layer]] = {place: [] for place in PLACES}
        for path in sorted(pictures):
            parts = path.split("/")
            if parts[0] == "player" and len(parts) > 2 and parts[1] in self.layers:
                layer = _layer(path, parts[1], pictures[path])
                if layer is not None:
                    self.layers[parts[1]].append(layer)

    def dress(self, rng: random.Random, role: str | None = None) -> Character:
        """A random character; of that role where one is given.

        Raises:
            KeyError: for an unknown role.
        """
        wanted: Mapping[str, Any] = roles()[role] if role else {}
        chosen = {"base": self._body(rng, wanted)}
        for place, share in _WEAR.items():
            if chosen["base"].subject in _NO_LEGS and place in ("boots", "legs"):
                continue
            layer = self._pick(rng, place, share, wanted.get(place))
            if layer is not None:
                chosen[place] = layer
        if "head" in chosen and "hair" in chosen and rng.random() < 0.5:
            del chosen["hair"]
        if _robed(chosen):
            chosen.pop("legs", None)
        name = rng.choice(wanted["names"]) if role else None
        return Character(chosen, name, composed(chosen))

    def meant(self, character: Character, said: Mapping[str, str], variant: int) -> Character:
        """The character that a text about this one stands for.

        A text names some parts only, and of several layers of one name not which. This is always
        the same for the same text: the first layer of each phrase, and what is not named as it goes
        with the role or the species.

        Args:
            said: phrases by place, as ``named_parts`` chose them.
            variant: a text stands for one character in each of them.
        """
        like = character.layers["base"]
        role = _role(character.role)
        usual = self.dress(random.Random(f"{role or like.subject}/{variant}"), role)
        chosen = {"base": self._body_meant(like, role, variant)}
        legless = like.subject in _NO_LEGS
        for place, layer in usual.layers.items():
            if place != "base" and not (legless and place in ("boots", "legs")):
                chosen[place] = layer
        for place, phrase in said.items():
            chosen[place] = next(one for one in self.layers[place] if phrase in one.phrases())
        if "head" in said and "hair" not in said:
            chosen.pop("hair", None)
        if "hair" in said and "head" not in said:
            chosen.pop("head", None)
        if _robed(chosen) and "legs" not in said:
            chosen.pop("legs", None)
        return Character(chosen, character.role, composed(chosen))

    def _body_meant(self, like: Layer, role: str | None, variant: int) -> Layer:
        """The body of the species, of its colour where texts tell one, and of the variant's sex."""
        fitting = [
            one
            for one in self.layers["base"]
            if one.subject == like.subject
            and (like.subject not in _COLOURED or one.colour == like.colour)
        ]
        told = roles()[role].get("sex") if role else None
        sex = told or "mf"[variant % 2]
        return next((one for one in fitting if one.sex == sex), fitting[0])

    def _body(self, rng: random.Random, wanted: Mapping[str, Any]) -> Layer:
        bodies = self.layers["base"]
        species = sorted({b.subject for b in bodies})
        # Those that people ask for come more often; an outfit with a name is mostly a human's.
        usual = [one for one in ("elf", "human", "orc", "dwarf") if one in species]
        humans = "human" in species and bool(wanted) and rng.random() < 0.6
        kind = "human" if humans else rng.choice([*species, *usual])
        fitting = [b for b in bodies if b.subject == kind]
        of_sex = [b for b in fitting if not wanted.get("sex") or b.sex == wanted["sex"]]
        return rng.choice(of_sex or fitting)

    def _pick(
        self, rng: random.Random, place: str, share: float, wanted: str | None
    ) -> Layer | None:
        if wanted is None:
            there = self.layers[place] and rng.random() < share
            return rng.choice(self.layers[place]) if there else None
        option = rng.choice(wanted.split("|"))
        if option == "none":
            return None
        fitting = [
            one
            for one in self.layers[place]
            if any(re.search(option, _plain(one, name)) for name in one.names)
        ]
        return rng.choice(fitting) if fitting else None


def _robed(chosen: Mapping[str, Layer]) -> bool:
    """Whether a robe hides the legs."""
    return "body" in chosen and "robe" in chosen["body"].names[0]


def _plain(layer: Layer, name: str) -> str:
    told = name.split(" ")[0] in _TOLD
    return name if told or not layer.colour else f"{layer.colour} {name}"


def _role(name: str | None) -> str | None:
    """The role that is called so."""
    return next((key for key, role in roles().items() if name in role["names"]), None)


@lru_cache(maxsize=1)
def roles() -> Mapping[str, Mapping[str, Any]]:
    """The roles by their first name."""
    stored: dict[str, dict[str, Any]] = yaml.safe_load(
        (TABLES / "roles.yaml").read_text(encoding="utf-8")
    )
    return stored


def all_names() -> list[str]:
    """Every word for what characters are, wear and hold."""
    names = [name for table in _tables().values() for _, given in table for name in given]
    names += [name for role in roles().values() for name in role["names"]]
    return [*(name for name in names if name != "-"), *ANYBODY]


@lru_cache(maxsize=1)
def _tables() -> Mapping[str, list[tuple[str, list[str]]]]:
    stored: dict[str, list[tuple[str, list[str]]]] = yaml.safe_load(
        (TABLES / "layers.yaml").read_text(encoding="utf-8")
    )
    return stored


def _layer(path: str, place: str, pixels: Rgba) -> Layer | None:
    name = path.split("/", 2)[2]
    if (pixels[..., 3] > 0).sum() < 3:
        return None
    fitting = (given for pattern, given in _tables()[place] if re.search(pattern, name))
    names = next(fitting, ["-"])
    if names == ["-"]:
        return None
    if place == "base":
        sex = "f" if re.search(r"_f\d?$", name) else "m"
        return Layer(path, pixels, tuple(names[1:]), _colour(name), names[0], sex)
    return Layer(path, pixels, tuple(names), _colour(name))


def _colour(name: str) -> str | None:
    for word in re.split(r"[_/\d]+", name):
        if word in _COLOURS:
            return _COLOURS[word]
    return None


def composed(layers: Mapping[str, Layer], without: frozenset[str] = frozenset()) -> Rgba:
    """The layers over each other, (32, 32, 4)."""
    picture = np.zeros((32, 32, 4), dtype=np.uint8)
    for place in PLACES:
        if place in layers and place not in without:
            over = layers[place].pixels
            picture = np.where(over[..., 3:] > 0, over, picture)
    return picture


def named_parts(rng: random.Random, character: Character) -> dict[str, str]:
    """Some of what it wears and holds, in the order of a text: phrases by place."""
    worn = [p for p in ("body", "cloak", "head", "hair", "boots", "legs") if p in character.layers]
    held = [p for p in ("hand1", "hand2") if p in character.layers]
    rng.shuffle(worn)
    worn = worn[: rng.choice((0, 1, 1, 1, 2, 2, 3))]
    held = held[: rng.choice((0, 1, 1, 2, 2))]
    return {place: character.layers[place].said(rng) for place in (*worn, *held)}


def describe_character(rng: random.Random, character: Character, said: Mapping[str, str]) -> str:
    """A text about a character that names these parts."""
    species = rng.choice(character.layers["base"].names)
    colour = character.layers["base"].colour
    if colour and character.species in _COLOURED and rng.random() < 0.7:
        species = f"{colour} {species}"
    text = _who(rng, character, species)
    worn = [_article(place, phrase) for place, phrase in said.items() if place not in HELD]
    held = [_article(place, phrase) for place, phrase in said.items() if place in HELD]
    if worn:
        link = rng.choice(("in", "wearing", "in", "with"))
        text += f" {link} " + _listed(worn)
    if held:
        link = (
            rng.choice(("with", "holding", "with"))
            if not worn
            else rng.choice(("with", "and", "holding"))
        )
        text += f" {link} " + _listed(held)
    return text


def _who(rng: random.Random, character: Character, species: str) -> str:
    if character.role is None:
        word = rng.choice(("", "", "", " warrior", " character", " man", " hero"))
        if word == " man" and character.layers["base"].sex == "f":
            word = " woman"
        return f"{species}{word}"
    if character.species == "human" and rng.random() < 0.75:
        return character.role
    return f"{species} {character.role}"


def _article(place: str, phrase: str) -> str:
    plural = phrase.endswith(("s", "armor", "mail", "hair", "chainmail", "fire"))
    if plural and not phrase.endswith("dress"):
        return phrase
    return f"an {phrase}" if phrase[0] in "aeiou" else f"a {phrase}"


def _listed(phrases: list[str]) -> str:
    if len(phrases) == 1:
        return phrases[0]
    return ", ".join(phrases[:-1]) + " and " + phrases[-1]
