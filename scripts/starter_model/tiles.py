"""The CC0 tiles: read, cleaned, and each with what it shows.

The pictures are no part of the project. Where the file is not given, everything else is trained
and measured without it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

TILES_VARIABLE = "SPRITEWORKS_TILES"
"""Names the file where no option does."""

TABLES = Path(__file__).resolve().parent / "tables"

Rgba = NDArray[np.uint8]
"""(height, width, 4), alpha 0 or 255, transparent pixels 0."""

_OPAQUE = 128
_LEAST = 12
"""Fewest opaque pixels of a tile that shows anything."""

_MOST = 3
"""Most tiles of one subject that are trained on under the same name. A model of this size and so
few hours learns a picture that it sees often, and blurs a hundred that it sees seldom."""

_MOST_NAMES = 10
"""Most tiles of one subject that are trained on under different names."""

_MOST_NAMED = 24
"""The same for subjects that are many things by name."""

_WHOLE = frozenset({"floor", "wall"})
"""Kinds that fill their square and repeat."""

_BY_NAME = _WHOLE | {"icon", "altar"}
"""Kinds whose subjects are many things by name."""


@dataclass(frozen=True)
class Tile:
    """One tile and what it shows."""

    path: str
    pixels: Rgba
    kind: str
    subject: str
    names: tuple[str, ...]
    """How people call it, the plainest first."""

    @property
    def seamless(self) -> bool:
        """Whether it fills its square and repeats."""
        return self.kind in _WHOLE


@dataclass(frozen=True)
class _Rule:
    pattern: re.Pattern[str]
    kind: str
    subject: str
    names: tuple[str, ...]


def tiles_file(given: Path | None = None) -> Path | None:
    """The file of the tiles: the one given, else that of the environment, else None.

    Raises:
        FileNotFoundError: where the one that is named is not there.
    """
    named = given or (Path(os.environ[TILES_VARIABLE]) if TILES_VARIABLE in os.environ else None)
    if named is not None and not named.is_file():
        raise FileNotFoundError(f"there is no {named}: name the tiles.npz, or train without it")
    return named


def read_pictures(path: Path) -> dict[str, Rgba]:
    """Every picture of the file by its path, alpha made 0 or 255.

    Raises:
        ValueError: for a file of another kind.
    """
    with np.load(path, allow_pickle=False) as stored:
        if not {"names", "pixels"} <= set(stored.files):
            raise ValueError(f"{path.name} has no names and pixels: it is no file of tiles")
        names, pixels = stored["names"].tolist(), stored["pixels"]
    return {name: hardened(picture) for name, picture in zip(names, pixels, strict=True)}


def hardened(picture: NDArray[np.uint8]) -> Rgba:
    """A picture whose pixels are there or not."""
    there = picture[..., 3:] >= _OPAQUE
    return np.where(
        there, np.dstack([picture[..., :3], np.full(picture.shape[:2], 255)]), 0
    ).astype(np.uint8)


def named_tiles(pictures: dict[str, Rgba]) -> list[Tile]:
    """The tiles that show something people ask for, in the order of their paths."""
    found = []
    for path in sorted(pictures):
        tile = describe(path, pictures[path])
        if tile is not None and (tile.pixels[..., 3] > 0).sum() >= _LEAST:
            found.append(tile)
    return found


def describe(path: str, pixels: Rgba) -> Tile | None:
    """What the tile of this path shows; None for what is left out."""
    for rule in _rules():
        if rule.pattern.search(path):
            if rule.kind == "skip":
                return None
            own = own_words(path)
            names = tuple(dict.fromkeys(_filled(name, own) for name in rule.names))
            return Tile(path, pixels, rule.kind, _filled(rule.subject, own), names)
    return None


def own_words(path: str) -> str:
    """The tile's own name in words: without folder, numbers and marks of artists."""
    name = path.rsplit("/", 1)[-1]
    name = re.sub(r"^(urand|spwpn|rune|statue|misc|gem|draco-base|cloud|scroll)[_-]", "", name)
    name = re.sub(r"(?<=[a-z])[0-9]+[a-z]?$", "", name)
    name = re.sub(r"[_-]([0-9]+|[a-d]|large|small|melee)$", "", name)
    return re.sub(r"[_\-. ]+", " ", name).strip().lower()


def _filled(text: str, own: str) -> str:
    return text.replace("{}", own)


@lru_cache(maxsize=1)
def _rules() -> tuple[_Rule, ...]:
    stored = yaml.safe_load((TABLES / "tiles.yaml").read_text(encoding="utf-8"))
    return tuple(
        _Rule(re.compile(p), kind, subject, tuple(names)) for p, kind, subject, names in stored
    )


def chosen(tiles: Iterable[Tile]) -> list[Tile]:
    """The tiles to train on: of each subject the first of each name, then the second, and so on.

    They come by path, and artefacts, which look like nothing else of their kind, last.
    """
    found: list[Tile] = []
    for together in subjects(tiles).values():
        by_name: dict[str, list[Tile]] = {}
        for tile in sorted(together, key=_place):
            by_name.setdefault(tile.names[0], []).append(tile)
        rounds = zip_longest(*by_name.values())
        ordered = [tile for row in rounds for tile in row if tile is not None]
        names = _MOST_NAMED if together[0].kind in _BY_NAME else _MOST_NAMES
        found += ordered[: max(_MOST, min(len(by_name), names))]
    return sorted(found, key=_place)


def _place(tile: Tile) -> tuple[bool, str]:
    return "/artefact/" in tile.path, tile.path


def subjects(tiles: Iterable[Tile]) -> dict[str, list[Tile]]:
    """Tiles by what they show."""
    found: dict[str, list[Tile]] = {}
    for tile in tiles:
        found.setdefault(tile.subject, []).append(tile)
    return found
