"""How many clean sprites each measure passes: the figures of docs/measures.md.

    python scripts/measure_measures.py sprites.npz

The file holds `pixels`, uint8 [N, H, W, 4]. "all" is every picture of it, "sprites" those that are
cut out with alpha 0 or 255 and have at least 32 pixels; fringe and enclosed background are taken of
the latter with a blue, a green and a magenta background put behind them.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from comfy_nodes.ops.measures.catalogue import MEASURES
from comfy_nodes.ops.measures.subject import Subject
from comfy_nodes.ops.measures.taking import of_picture

KEYS = ((90, 120, 200), (0, 255, 0), (255, 0, 255))
WITH_KEY = ("fringe", "enclosed_background")
SMALLEST = 32


def main() -> None:
    """Print a line for each measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    pixels = np.load(parser.parse_args().file)["pixels"]
    alpha = pixels[..., 3]
    binary = ((alpha == 0) | (alpha == 255)).all(axis=(1, 2))
    cut = (alpha == 0).any(axis=(1, 2)) & ((alpha > 0).sum(axis=(1, 2)) >= SMALLEST)
    passed: dict[str, list[bool]] = defaultdict(list)
    for picture in pixels:
        for reading in of_picture(picture):
            passed[reading.measure.name].append(reading.passed)
    sprites = binary & cut
    print(f"{len(pixels)} pictures, {int(sprites.sum())} sprites")
    for name, each in passed.items():
        if name not in WITH_KEY:
            flags = np.array(each)
            print(f"{name:20} all {flags.mean():.4f}  sprites {flags[sprites].mean():.4f}")
    for name in WITH_KEY:
        print(f"{name:20} sprites {with_background(name, pixels[sprites]):.4f}")


def with_background(name: str, sprites: NDArray[np.uint8]) -> float:
    """Share of the sprites that pass on the worst of the backgrounds."""
    shares = []
    for key in KEYS:
        ground = np.array([*key, 0], dtype=np.uint8)
        on_key = (np.where(one[..., 3:] == 0, ground, one) for one in sprites)
        flags = [MEASURES[name].allows(MEASURES[name].function(Subject(one))) for one in on_key]
        shares.append(float(np.mean(flags)))
    return min(shares)


if __name__ == "__main__":
    main()
