"""Pictures given the names that they should have; nothing is overwritten and nothing deleted.

It may be killed at any moment: a picture always has one name, and whoever looks again finds it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ...client.client import writing

# Behind the name of a picture that has made room, and is on its way there.
MOVING = "moving"


@dataclass
class Placed:
    """What was done. Paths are inside the batch's folder."""

    # from where to where
    moved: dict[str, str] = field(default_factory=dict)
    # what was in the way, from where to where
    aside: dict[str, str] = field(default_factory=dict)
    # what could not be given its place, as that lies behind a link
    behind_links: list[str] = field(default_factory=list)


def place(
    folder: Path,
    moves: Mapping[str, str],
    in_the_way: Iterable[str],
    *,
    dry: bool = False,
) -> Placed:
    """Give pictures their places: `moves` says from where to where, each place once.

    Whatever else lies at a place goes aside first, as do the files in `in_the_way`: `x.png` becomes
    `x=aside-1.png`, a name that no picture of a batch has. Links are not followed: what belongs
    behind one stays. With `dry` nothing is touched. Raises OutputError.
    """
    placed = Placed()
    waiting = dict(moves)
    for source, target in moves.items():
        if _is_behind_link(folder, target):
            placed.behind_links.append(source)
            del waiting[source]
    # Where capitals do not count, a picture may lie at its place already.
    stay = {
        target
        for source, target in waiting.items()
        if target not in waiting and not _is_same(folder / source, folder / target)
    }
    for path in dict.fromkeys([*in_the_way, *sorted(stay)]):
        if os.path.lexists(folder / path):
            other = _free(folder, path, "aside", placed.aside.values())
            placed.aside[path] = other
            if not dry:
                _rename(folder, path, other)
    if dry:
        placed.moved.update(waiting)
        return placed
    for source, free in _in_order(waiting):
        if free is None:
            # They are in each other's place: one of them makes room.
            other = _free(folder, waiting[source], MOVING)
            _rename(folder, source, other)
            placed.moved[source] = other
            continue
        _rename(folder, placed.moved.get(source, source), free)
        placed.moved[source] = free
    return placed


def _in_order(moves: Mapping[str, str]) -> Iterator[tuple[str, str | None]]:
    """Moves in an order in which each place is free; None for one that must leave its place."""
    waiting, taken = dict(moves), {*moves}
    while waiting:
        # Chains end at a place that is free; what is left then are circles.
        ready = [source for source, target in waiting.items() if target not in taken]
        if not ready:
            source = next(one for one in waiting if one in taken)
            taken.discard(source)
            yield source, None
            continue
        for source in ready:
            yield source, waiting.pop(source)
            taken.discard(source)


def _rename(folder: Path, source: str, target: str) -> None:
    path = folder / target
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(path) and not _is_same(folder / source, path):
            raise FileExistsError(errno.EEXIST, "another file has come there meanwhile")
        os.rename(folder / source, path)


def _is_same(one: Path, other: Path) -> bool:
    return os.path.lexists(other) and os.path.samestat(os.lstat(one), os.lstat(other))


def _free(folder: Path, path: str, word: str, taken: Iterable[str] = ()) -> str:
    """A name beside a path's that nothing has."""
    pure, taken, number = PurePosixPath(path), {*taken}, 1
    while True:
        other = str(pure.with_name(f"{pure.stem}={word}-{number}{pure.suffix}"))
        if other not in taken and not os.path.lexists(folder / other):
            return other
        number += 1


def _is_behind_link(folder: Path, path: str) -> bool:
    """Whether a folder on the way to a path is a link, or no folder."""
    *parents, _ = PurePosixPath(path).parents
    return any(
        (folder / one).is_symlink() or ((folder / one).exists() and not (folder / one).is_dir())
        for one in parents
    )
