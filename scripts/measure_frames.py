"""How well frames are aligned and seams closed: the figures of docs/sprites.md.

    python scripts/measure_frames.py tiles.npz

The file holds `names` and `pixels`, uint8 [N, 32, 32, 4], of Dungeon Crawl Stone Soup. Frames are
its bodies, 70% of them with one of its weapons, each moved by up to 15 px; seams are those of its
floors and walls, cut to 25x27.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from comfy_nodes.ops.alignment import ground_points
from comfy_nodes.ops.tile_edges import seam
from comfy_nodes.ops.tiles import close_seams

Flags = NDArray[np.bool_]
FRAMES, MOST, SIDE = 8, 15, 32
ARMED = 0.7
SEEDS = (1, 7, 8, 9)
# of a column in the core, as in ops.alignment
CORE = 0.7
CUT = (slice(27), slice(25))
# the measure's own bound
BOUND = 2


def main() -> None:
    """Print a line for each way to place a frame, and one of the tiles."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    with np.load(parser.parse_args().file) as loaded:
        pictures = dict(zip(loaded["names"].tolist(), loaded["pixels"], strict=True))
    sets = list(animations(pictures))
    for name, columns in WAYS.items():
        off = np.array([distances(columns(shapes), moves) for shapes, moves in sets])
        still = int((off.max(axis=1) == 0).sum())
        print(
            f"{name:45} to the pixel {(off == 0).mean():.1%}, within 1 px {(off <= 1).mean():.1%}, "
            f"at most {off.max():g}; {still} of {len(sets)} animations stand still"
        )
    tell_of_tiles(pictures)


def animations(
    pictures: Mapping[str, NDArray[np.uint8]],
) -> Iterator[tuple[list[Flags], NDArray[np.int64]]]:
    """Silhouettes, and how far each was moved to the right."""
    visible = {name: one[..., 3] >= 128 for name, one in pictures.items()}
    bodies = [one for name, one in visible.items() if name.startswith("player/base/")]
    weapons = [one for name, one in visible.items() if name.startswith("player/hand1/")]
    for seed in SEEDS:
        random = np.random.default_rng(seed)
        for body in bodies:
            moves = random.integers(0, MOST + 1, (FRAMES, 2))
            shapes = []
            for x, y in moves:
                armed = random.random() < ARMED
                held = weapons[int(random.integers(len(weapons)))] if armed else body
                shape = np.zeros((SIDE + MOST + 1, SIDE + MOST + 1), dtype=np.bool_)
                shape[y : y + SIDE, x : x + SIDE] = body | held
                shapes.append(shape)
            yield shapes, moves[:, 0]


def distances(columns: Sequence[float], moves: NDArray[np.int64]) -> NDArray[np.float64]:
    """How far each frame is from where most are, once it is placed by its column."""
    places = np.floor(np.array(columns)) - moves
    return np.asarray(np.abs(places - np.floor(np.median(places))))


def middle_of_box(shapes: Sequence[Flags]) -> list[float]:
    """As tools do that centre a frame on what it shows."""
    columns = [np.flatnonzero(shape.any(axis=0)) for shape in shapes]
    return [float(one[0] + one[-1]) / 2 for one in columns]


def median_column(shapes: Sequence[Flags]) -> list[float]:
    """Of all pixels."""
    return [float(np.median(np.nonzero(shape)[1])) for shape in shapes]


def own_core(shapes: Sequence[Flags]) -> list[float]:
    """Of the columns that have most of the pixels, in one run, of each frame by itself."""
    found = []
    for shape in shapes:
        counts = shape.sum(axis=0)
        runs, number = ndimage.label(counts >= CORE * counts.max())
        sums = ndimage.sum_labels(counts, runs, np.arange(1, number + 1))
        found.append(float(np.median(np.flatnonzero(runs == int(np.argmax(sums)) + 1))))
    return found


def registered(shapes: Sequence[Flags]) -> list[float]:
    """What `spriteworks frames` does."""
    return [float(point[0]) for point in ground_points(shapes) if point is not None]


WAYS: dict[str, Callable[[Sequence[Flags]], list[float]]] = {
    "the middle of the box": middle_of_box,
    "the median column of the pixels": median_column,
    "the median of the frame's own core columns": own_core,
    "frames": registered,
}


def tell_of_tiles(pictures: Mapping[str, NDArray[np.uint8]]) -> None:
    """Print how many of the tiles that were cut go on over their edges again."""
    whole = [
        one
        for name, one in pictures.items()
        if name.startswith(("dngn/floor", "dngn/wall")) and (one[..., 3] == 255).all()
    ]
    cut = [one[CUT] for one in whole if (seam(one[CUT]) or 0) > BOUND]
    after = np.array([close_seams(one).after for one in cut], dtype=np.float64)
    print(
        f"{len(cut)} tiles: {(after <= BOUND).mean():.1%} at most {BOUND}, half of them at most "
        f"{np.median(after):.2f}"
    )


if __name__ == "__main__":
    main()
