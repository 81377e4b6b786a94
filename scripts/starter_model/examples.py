"""What the starter model learns from: pictures with texts, mixed from everything there is."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import yaml

from .captions import NOUNS, write_caption
from .colours import COLOURS, colour_votes
from .draw import SIZES, SUBJECTS, draw
from .dressing import Character, Wardrobe, describe_character, named_parts, roles
from .interface import PIECES, draw_piece
from .recolour import recoloured
from .sentences import WALK_WORDS, all_colours, finished, write_sentence
from .sprite_vae import PAINTED, WHITEST
from .tiles import TABLES, Rgba, Tile, chosen, named_tiles, read_pictures, subjects
from .walks import WALKERS, can_march, march, side_walk

HELD_OUT_SHARE = 16
"""One outfit in so many is kept out of training: the rest is what the judges may measure."""

_MANY = 16
"""Number of a subject's tiles from which on it is not trained more often."""

PICTURES_OF_A_NAME = 2
"""Tiles of a name, and variants of each of the project's drawings, that are trained on. Pictures of
one text are the harder to tell apart the more there are, and what is not told apart is blurred."""

LEVELS = (-0.8, 0.8)
"""Grey under the white of the variants' pictures, -1 to 1."""

_FILLED = 0.85
"""Share of its square from which on a tile has too little white around to tell variants by."""

_NATURAL_SHARE = 0.55
"""Share of a tile's coloured pixels from which on its own colour may be named."""


@dataclass(frozen=True)
class Example:
    """A picture, a text for it, and what it shows."""

    pixels: Rgba
    """(32, 32 n, 4)."""
    text: str
    subject: str
    colour: str | None
    """The colour that the text names, else None."""
    kind: str
    variant: int | None = None
    """Which of its text's pictures it is; None where it is the only one."""


@dataclass(frozen=True)
class Outfit:
    """A dressed character with a text, the parts that it names, and whom it names."""

    character: Character
    text: str
    parts: tuple[tuple[str, str], ...]
    """Places and phrases."""
    subject: str


class World:
    """Everything that examples are made of; without tiles, the project's own drawings alone.

    Args:
        tiles_file: the tiles.npz.
        moving: whether pictures are mirrored, moved and drawn in ever new variants, as a judge
            needs it. A denoiser learns a shape sooner that always stands in the same place.
    """

    def __init__(self, tiles_file: Path | None, *, moving: bool = False) -> None:
        pictures = read_pictures(tiles_file) if tiles_file else {}
        found = named_tiles(pictures)
        self.tiles = found if moving else with_few_of_a_name(chosen(with_names_of_their_own(found)))
        self._moving = moving
        self._owners: dict[str, list[str]] = {}
        for tile in self.tiles:
            for name in tile.names:
                self._owners.setdefault(name, []).append(tile.path)
        self.by_subject = subjects(self.tiles)
        self.wardrobe = Wardrobe(pictures) if pictures else None
        self._natural: dict[str, str | None] = {}
        names = sorted(self.by_subject)
        # Between even shares for subjects and for tiles: single things are learnt, walls are not
        # all there is.
        self._weights = {name: min(len(self.by_subject[name]), _MANY) ** 0.5 for name in names}
        # What the project draws itself has its colours from there: the same words for pictures of
        # two kinds would be learnt as something between them.
        self._coloured = {k: v for k, v in self._weights.items() if k not in SUBJECTS}

    def example(self, rng: random.Random) -> Example:
        """A picture of one thing."""
        if self.wardrobe is None:
            return self.interface(rng) if rng.random() < 0.1 else self.drawing(rng)
        chance = rng.random()
        if chance < 0.40:
            return self.tile(rng)
        if chance < 0.55:
            return self.coloured_tile(rng)
        if chance < 0.75:
            return self.character(rng)
        return self.drawing(rng) if chance < 0.96 else self.interface(rng)

    def walk(self, rng: random.Random) -> Example:
        """A wide picture of four frames."""
        if self.wardrobe is not None and rng.random() < 0.6:
            return self._march(rng)
        who = rng.choice(list(WALKERS))
        colour = rng.choice(list(COLOURS))
        name = rng.choice(WALKERS[who].names)
        core = f"{name}, {rng.choice(WALK_WORDS['side'])}"
        variant = self._variant(rng)
        pixels = side_walk(who, colour, variant)
        text = write_sentence(rng, core, colour, "character")
        return Example(pixels, text, who, colour, "walk side", variant)

    def pick_tile(self, rng: random.Random) -> Tile:
        """One of the tiles, subjects with few tiles more often than their number says."""
        return self._pick(rng, self._weights)

    def _pick(self, rng: random.Random, weights: Mapping[str, float]) -> Tile:
        return rng.choice(self.by_subject[rng.choices(list(weights), list(weights.values()))[0]])

    def tile(self, rng: random.Random) -> Example:
        """A tile as it is; now and then its own colour is named."""
        tile = self.pick_tile(rng)
        name = tile_name(rng, tile)
        colour = self.natural_colour(tile) if rng.random() < 0.3 else None
        if colour is not None and (tells_colour(name) or tile.subject not in self._coloured):
            colour = None
        text = write_sentence(rng, name, colour, tile.kind, tile.seamless)
        pixels = self._placed(rng, tile.pixels, tile.seamless)
        which = self._which(tile, name)
        return Example(pixels, text, tile.subject, colour, tile.kind, which)

    def coloured_tile(self, rng: random.Random) -> Example:
        """A tile in a colour that its text names."""
        if not self._coloured:
            return self.tile(rng)
        tile = self._pick(rng, self._coloured)
        names = [name for name in tile.names if not tells_colour(name)]
        if not names or tile.kind == "icon":
            return self.tile(rng)
        colour, name = rng.choice(all_colours()), rng.choice(names)
        text = write_sentence(rng, name, colour, tile.kind, tile.seamless)
        pixels = self._placed(rng, recoloured(tile.pixels, colour), tile.seamless)
        which = self._which(tile, name)
        return Example(pixels, text, tile.subject, colour, tile.kind, which)

    def _which(self, tile: Tile, name: str) -> int | None:
        """Which of the tiles of this name it is; None where it is the only one."""
        owners = self._owners[name]
        return owners.index(tile.path) if len(owners) > 1 else None

    def outfit(self, rng: random.Random, variant: int) -> Outfit:
        """A dressed character; what its text stands for in this variant."""
        assert self.wardrobe is not None
        role = rng.choice(list(roles())) if rng.random() < 0.6 else None
        dressed = self.wardrobe.dress(rng, role)
        said = named_parts(rng, dressed)
        meant = self.wardrobe.meant(dressed, said, variant)
        subject = role or meant.species
        return Outfit(meant, describe_character(rng, meant, said), tuple(said.items()), subject)

    def trained_outfit(self, rng: random.Random, variant: int) -> Outfit:
        """A dressed character that is not held out."""
        while True:
            found = self.outfit(rng, variant)
            if not outfit_is_held_out(found):
                return found

    def character(self, rng: random.Random) -> Example:
        """A dressed character that is not held out."""
        variant = self._variant(rng)
        found = self.trained_outfit(rng, variant)
        text = finished(rng, rng.choice(("", "a ")) + found.text)
        return Example(found.character.pixels, text, found.subject, None, "character", variant)

    def drawing(self, rng: random.Random) -> Example:
        """One of the project's drawings; in a natural colour where none is named."""
        subject = rng.choice(list(SUBJECTS))
        named = rng.random() < 0.6
        variant, natural = self._variant(rng), natural_colours()[subject]
        colour = rng.choice(list(COLOURS)) if named else natural[variant % len(natural)]
        drawn = draw(subject, colour, variant, None if self._moving else "large")
        whole = np.dstack([drawn.pixels, np.full((32, 32), 255, dtype=np.uint8)])
        pixels = np.where(drawn.opaque[..., None], whole, 0).astype(np.uint8)
        text = _drawing_text(rng, subject, colour if named else None)
        return Example(pixels, text, subject, colour if named else None, "drawing", variant)

    def interface(self, rng: random.Random) -> Example:
        """A piece of an interface."""
        piece = rng.choice(list(PIECES))
        named = rng.random() < 0.7
        # Pieces fill most of the picture, so that no white tells variants apart.
        variant = self._variant(rng) if self._moving else 0
        colour = rng.choice(list(COLOURS)) if named else "red" if piece == "bar" else "grey"
        name = rng.choice(PIECES[piece][0])
        pixels = draw_piece(piece, colour, variant)
        text = write_sentence(rng, name, colour if named else None, "interface")
        return Example(pixels, text, piece, colour if named else None, "interface")

    def _placed(self, rng: random.Random, pixels: Rgba, seamless: bool) -> Rgba:
        return varied(rng, pixels, seamless) if self._moving else pixels

    def _variant(self, rng: random.Random) -> int:
        """The seed of a drawing."""
        return rng.randrange(10**9 if self._moving else PICTURES_OF_A_NAME)

    def natural_colour(self, tile: Tile) -> str | None:
        """The colour that most of a tile has; None where no one colour is most of it."""
        if tile.path not in self._natural:
            votes = colour_votes(tile.pixels)
            best = max(votes, key=lambda name: votes[name])
            self._natural[tile.path] = best if votes[best] >= _NATURAL_SHARE else None
        return self._natural[tile.path]

    def _march(self, rng: random.Random) -> Example:
        variant = self._variant(rng)
        found = self.trained_outfit(rng, variant)
        while not can_march(found.character):
            found = self.trained_outfit(rng, variant)
        text = finished(rng, f"{found.text}, {rng.choice(WALK_WORDS['front'])}")
        pixels = march(found.character)
        return Example(pixels, text, found.subject, None, "walk front", variant)


def _drawing_text(rng: random.Random, subject: str, colour: str | None) -> str:
    """Half as other things are worded, half in the many ways that are known for drawings alone.

    A size is named and not drawn: one shape has all sizes.
    """
    if rng.random() < 0.5:
        name = rng.choice(NOUNS[subject]) if rng.random() < 0.6 else subject
        return write_sentence(rng, name, colour, "item")
    while True:
        found = write_caption(rng, subject, colour or "grey", rng.choice(SIZES))
        if (found.subject, found.colour) == (subject, colour):
            return found.text


def natural_colours() -> Mapping[str, list[str]]:
    """For each of the project's subjects, the colours it has where none is named."""
    stored: dict[str, list[str]] = yaml.safe_load(
        (TABLES / "natural_colours.yaml").read_text(encoding="utf-8")
    )
    return stored


def with_names_of_their_own(tiles: Iterable[Tile]) -> list[Tile]:
    """The tiles without names that drawings have too, or that tell a colour of what is drawn.

    A text that stood for a tile and for a drawing was learnt as something between them.
    """
    drawn = {noun.replace(" ", "") for nouns in NOUNS.values() for noun in nouns}
    found = []
    for tile in tiles:
        coloured = tile.subject in SUBJECTS
        own = [
            name
            for name in tile.names
            if name.replace(" ", "") not in drawn and not (coloured and tells_colour(name))
        ]
        if own:
            found.append(replace(tile, names=tuple(own)))
    return found


def with_few_of_a_name(tiles: Iterable[Tile]) -> list[Tile]:
    """The tiles with each name for ``PICTURES_OF_A_NAME`` of them alone, plain names first.

    A tile that keeps no name is left out.
    """
    tiles = list(tiles)
    kept: dict[str, list[str]] = {}
    for place in range(max((len(tile.names) for tile in tiles), default=0)):
        for tile in tiles:
            if place < len(tile.names):
                owners = kept.setdefault(tile.names[place], [])
                if not owners or (len(owners) < PICTURES_OF_A_NAME and not _fills(tile)):
                    owners.append(tile.path)
    named = [
        replace(tile, names=tuple(name for name in tile.names if tile.path in kept[name]))
        for tile in tiles
    ]
    return [tile for tile in named if tile.names]


def _fills(tile: Tile) -> bool:
    """Whether it leaves hardly anything white."""
    return bool((tile.pixels[..., 3] > 0).mean() > _FILLED)


def tile_name(rng: random.Random, tile: Tile) -> str:
    """One of a tile's names, the plain ones more often."""
    return tile.names[0] if rng.random() < 0.45 else rng.choice(tile.names)


def tells_colour(name: str) -> bool:
    """Whether a name has a colour word in it."""
    from .sentences import colour_words

    words = set(name.split(" "))
    return any(words & set(colour_words(colour)) for colour in all_colours()) or bool(
        words & {"golden", "gold", "silver", "bloody", "gray", "blonde"}
    )


def outfit_is_held_out(outfit: Outfit) -> bool:
    """Whether what its text names is kept out of training, in every wording.

    A text that names less than two parts is not: it is needed to learn the part.
    """
    layers = outfit.character.layers
    worn = sorted(layers[place].path for place, _ in outfit.parts)
    key = "|".join([outfit.subject, *worn])
    return len(worn) > 1 and zlib.crc32(key.encode()) % HELD_OUT_SHARE == 0


def varied(rng: random.Random, pixels: Rgba, seamless: bool) -> Rgba:
    """The picture mirrored, moved within its empty border, or rolled around where it repeats."""
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    if seamless:
        return np.roll(pixels, (rng.randrange(32), rng.randrange(32)), (0, 1))
    there = pixels[..., 3] > 0
    rows, columns = np.flatnonzero(there.any(axis=1)), np.flatnonzero(there.any(axis=0))
    down = rng.randint(-min(2, rows[0]), min(2, 31 - rows[-1]))
    across = rng.randint(-min(2, columns[0]), min(2, pixels.shape[1] - 1 - columns[-1]))
    return np.roll(pixels, (down, across), (0, 1))


def to_sprite(pixels: Rgba, level: float = 0.0) -> np.ndarray:
    """(..., 4, h, w) int8 of (..., h, w, 4): red, green, blue, there; times 127.

    Colours are drawn together so that white is ``WHITEST``; what is transparent is grey of this
    level, -1 to 1, which nobody sees.
    """
    colours = pixels[..., :3].astype(np.float32) * (WHITEST / 255 / 127.5) - 1.0
    there = pixels[..., 3:] > 0
    sprite = np.concatenate(
        [np.where(there, colours, level), np.where(there, PAINTED, -PAINTED)], axis=-1
    )
    return np.moveaxis(np.round(sprite * 127), -1, -3).astype(np.int8)


def level_of(rng: random.Random, variant: int | None) -> float:
    """The grey that is under a picture's white: it tells the variants of a text apart.

    A denoiser sees the mean of so many pixels through much noise, long before a shape, so that it
    makes up its mind early which of them it draws. Where there is one picture it has either.
    """
    return LEVELS[rng.randrange(len(LEVELS)) if variant is None else variant % len(LEVELS)]
