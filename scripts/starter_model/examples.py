"""What the starter model learns from: pictures with texts, mixed from everything there is."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import yaml

from .captions import NOUNS
from .colours import COLOURS, colour_votes
from .draw import SUBJECTS, draw
from .dressing import Wardrobe, describe_character, roles
from .interface import PIECES, draw_piece
from .pixel_vae import PAINTED, WHITEST
from .recolour import recoloured
from .sentences import WALK_WORDS, all_colours, finished, write_sentence
from .tiles import TABLES, Rgba, Tile, chosen, named_tiles, read_pictures, subjects
from .walks import WALKERS, can_march, march, side_walk

HELD_OUT_SHARE = 16
"""One outfit in so many is kept out of training: the rest is what the judges may measure."""

_MANY = 16
"""Number of a subject's tiles from which on it is not trained more often."""

_VARIANTS = 2
"""Variants of each of the project's drawings that are trained on."""

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
        self.tiles = found if moving else chosen(with_names_of_their_own(found))
        self._moving = moving
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
            return self._march(rng, self.wardrobe)
        who = rng.choice(list(WALKERS))
        colour = rng.choice(list(COLOURS))
        name = rng.choice(WALKERS[who].names)
        core = f"{name}, {rng.choice(WALK_WORDS['side'])}"
        pixels = side_walk(who, colour, self._variant(rng))
        text = write_sentence(rng, core, colour, "character")
        return Example(pixels, text, who, colour, "walk side")

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
        return Example(
            self._placed(rng, tile.pixels, tile.seamless), text, tile.subject, colour, tile.kind
        )

    def coloured_tile(self, rng: random.Random) -> Example:
        """A tile in a colour that its text names."""
        if not self._coloured:
            return self.tile(rng)
        tile = self._pick(rng, self._coloured)
        names = [name for name in tile.names if not tells_colour(name)]
        if not names or tile.kind == "icon":
            return self.tile(rng)
        colour = rng.choice(all_colours())
        text = write_sentence(rng, rng.choice(names), colour, tile.kind, tile.seamless)
        pixels = self._placed(rng, recoloured(tile.pixels, colour), tile.seamless)
        return Example(pixels, text, tile.subject, colour, tile.kind)

    def character(self, rng: random.Random) -> Example:
        """A dressed character that is not held out."""
        assert self.wardrobe is not None
        while True:
            role = rng.choice(list(roles())) if rng.random() < 0.6 else None
            dressed = self.wardrobe.dress(rng, role)
            if not outfit_is_held_out(dressed.key):
                break
        core, _ = describe_character(rng, dressed)
        text = finished(rng, rng.choice(("", "a ")) + core)
        return Example(dressed.pixels, text, role or dressed.species, None, "character")

    def drawing(self, rng: random.Random) -> Example:
        """One of the project's drawings; in a natural colour where none is named."""
        subject = rng.choice(list(SUBJECTS))
        named = rng.random() < 0.6
        colour = rng.choice(list(COLOURS) if named else natural_colours()[subject])
        drawn = draw(subject, colour, self._variant(rng))
        whole = np.dstack([drawn.pixels, np.full((32, 32), 255, dtype=np.uint8)])
        pixels = np.where(drawn.opaque[..., None], whole, 0).astype(np.uint8)
        name = rng.choice(NOUNS[subject]) if rng.random() < 0.6 else subject
        text = write_sentence(rng, name, colour if named else None, "item")
        return Example(pixels, text, subject, colour if named else None, "drawing")

    def interface(self, rng: random.Random) -> Example:
        """A piece of an interface."""
        piece = rng.choice(list(PIECES))
        named = rng.random() < 0.7
        colour = rng.choice(list(COLOURS) if named else ("grey", "brown", "blue"))
        if not named and piece == "bar":
            colour = "red"
        name = rng.choice(PIECES[piece][0])
        pixels = draw_piece(piece, colour, self._variant(rng))
        text = write_sentence(rng, name, colour if named else None, "interface")
        return Example(pixels, text, piece, colour if named else None, "interface")

    def _placed(self, rng: random.Random, pixels: Rgba, seamless: bool) -> Rgba:
        return varied(rng, pixels, seamless) if self._moving else pixels

    def _variant(self, rng: random.Random) -> int:
        """The seed of a drawing."""
        return rng.randrange(10**9 if self._moving else _VARIANTS)

    def natural_colour(self, tile: Tile) -> str | None:
        """The colour that most of a tile has; None where no one colour is most of it."""
        if tile.path not in self._natural:
            votes = colour_votes(tile.pixels)
            best = max(votes, key=lambda name: votes[name])
            self._natural[tile.path] = best if votes[best] >= _NATURAL_SHARE else None
        return self._natural[tile.path]

    def _march(self, rng: random.Random, wardrobe: Wardrobe) -> Example:
        while True:
            role = rng.choice(list(roles())) if rng.random() < 0.7 else None
            dressed = wardrobe.dress(rng, role)
            if can_march(dressed) and not outfit_is_held_out(dressed.key):
                break
        core, _ = describe_character(rng, dressed)
        text = finished(rng, f"{core}, {rng.choice(WALK_WORDS['front'])}")
        return Example(march(dressed), text, role or dressed.species, None, "walk front")


def natural_colours() -> Mapping[str, list[str]]:
    """For each of the project's subjects, the colours it has where none is named."""
    stored: dict[str, list[str]] = yaml.safe_load(
        (TABLES / "natural_colours.yaml").read_text(encoding="utf-8")
    )
    return stored


def with_names_of_their_own(tiles: Iterable[Tile]) -> list[Tile]:
    """The tiles without names that the drawings of their subject have too, or that tell a colour.

    A text that stood for a tile and for a drawing was learnt as something between them. Names of
    another subject's drawings stay: a dagger is a tile here, and a word for the drawn sword.
    """
    found = []
    for tile in tiles:
        if tile.subject in SUBJECTS:
            drawn = {noun.replace(" ", "") for noun in NOUNS[tile.subject]}
            own = [n for n in tile.names if n.replace(" ", "") not in drawn and not tells_colour(n)]
            tile = replace(tile, names=tuple(own))
        if tile.names:
            found.append(tile)
    return found


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


def outfit_is_held_out(key: tuple[str, ...]) -> bool:
    """Whether this combination of layers is kept out of training."""
    import zlib

    return zlib.crc32("|".join(key).encode()) % HELD_OUT_SHARE == 0


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


def to_latent(pixels: Rgba) -> np.ndarray:
    """(..., 4, h, w) int8 of (..., h, w, 4): red, green, blue, there; times 127.

    Colours are drawn together so that white is ``WHITEST``; what is transparent is middle grey.
    """
    colours = pixels[..., :3].astype(np.float32) * (WHITEST / 255 / 127.5) - 1.0
    there = pixels[..., 3:] > 0
    latent = np.concatenate(
        [np.where(there, colours, 0.0), np.where(there, PAINTED, -PAINTED)], axis=-1
    )
    return np.moveaxis(np.round(latent * 127), -1, -3).astype(np.int8)
