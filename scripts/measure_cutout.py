"""How often `cut_out` gives the alpha of sprites whose truth is known, and what it takes.

    python scripts/measure_cutout.py --tiles tiles.npz --count 400

Each sprite is laid on white, grey and green, as it is (plain) and enlarged, blurred, made noisy and
snapped again to its size (degraded). exact: the alpha is the truth's. near: it differs in at most
1% of the pixels. lost, fringe: pixels of the sprite that were cut out, and of the background that
stayed, a picture. CPU: seconds of this process a picture.

Beside it Pillow's ImageDraw.floodfill from the four corners, with several thresholds.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from comfy_nodes.errors import BadInput  # noqa: E402
from comfy_nodes.ops.cutout import cut_out  # noqa: E402
from comfy_nodes.ops.true_pixels import snap  # noqa: E402

Pixels = NDArray[np.uint8]
Flags = NDArray[np.bool_]
Tool = Callable[[Pixels], Flags]
GROUNDS = {"white": (255, 255, 255), "grey": (128, 128, 128), "green": (0, 200, 60)}
MARGIN = 2


@dataclass
class CutoutTally:
    """What became of the pictures of one kind in one tool."""

    count: int = 0
    exact: int = 0
    near: int = 0
    lost: int = 0
    fringe: int = 0
    seconds: float = 0.0

    def add(self, tool: Tool, picture: Pixels, truth: Flags) -> None:
        """Cut out one picture and compare."""
        begin = time.process_time()
        own = tool(picture)
        self.seconds += time.process_time() - begin
        lost, fringe = int((truth & ~own).sum()), int((own & ~truth).sum())
        self.count += 1
        self.exact += lost + fringe == 0
        self.near += lost + fringe <= 0.01 * truth.size
        self.lost += lost
        self.fringe += fringe

    def row(self, kind: str, tool: str) -> str:
        """One line of the table."""
        count = max(1, self.count)
        return (
            f"{kind:16}{tool:14}{self.count:6}{self.exact / count:8.1%}{self.near / count:8.1%}"
            f"{self.lost / count:8.2f}{self.fringe / count:8.2f}{self.seconds / count:9.4f}"
        )


def ours(picture: Pixels) -> Flags:
    try:
        there: Flags = cut_out(picture)[..., 3] > 0
    except BadInput:
        return np.zeros(picture.shape[:2], dtype=bool)
    return there


def flood(threshold: int) -> Tool:
    """Pillow's flood fill from the four corners; `threshold` is the sum over the channels."""

    def fill(picture: Pixels) -> Flags:
        image = Image.fromarray(picture).convert("RGBA")
        right, low = image.width - 1, image.height - 1
        for corner in ((0, 0), (right, 0), (0, low), (right, low)):
            ImageDraw.floodfill(image, corner, (0, 0, 0, 0), thresh=threshold)
        there: Flags = np.asarray(image)[..., 3] > 0
        return there

    return fill


def sprites(tiles: Path, count: int) -> Iterator[Pixels]:
    """Evenly spread ones that have a background, and are more than a few pixels."""
    there = np.load(tiles)["pixels"]
    share = (there[..., 3] >= 128).mean(axis=(1, 2))
    chosen = np.flatnonzero((share > 0.1) & (share < 0.8))
    picked = chosen[np.linspace(0, len(chosen) - 1, min(count, len(chosen))).astype(int)]
    yield from there[picked]


def laid_on(sprite: Pixels, colour: tuple[int, int, int]) -> tuple[Pixels, Flags]:
    """The picture with a margin around, and which pixels are the sprite's."""
    padded = np.pad(sprite, ((MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)))
    truth = padded[..., 3] >= 128
    return np.where(truth[..., None], padded[..., :3], np.array(colour, dtype=np.uint8)), truth


def degraded(picture: Pixels, random: np.random.Generator) -> Pixels:
    """Fake pixels of it, blurred and noisy, snapped to its size again."""
    pitch = 10
    big = Image.fromarray(picture.repeat(pitch, axis=0).repeat(pitch, axis=1))
    soft = np.asarray(big.filter(ImageFilter.GaussianBlur(float(random.uniform(2.0, 4.0)))))
    noisy = np.clip(soft + random.normal(0, 4, soft.shape), 0, 255).astype(np.uint8)
    return snap(noisy, size=(picture.shape[1], picture.shape[0])).picture


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--tiles", type=Path, required=True, help="NPZ: pixels [n, h, w, 4]")
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--seed", type=int, default=5)
    given = parser.parse_args()
    tools: dict[str, Tool] = {"cut_out": ours}
    tools |= {f"floodfill {step}": flood(step) for step in (0, 30, 90)}
    tallies: dict[tuple[str, str], CutoutTally] = {}
    for number, sprite in enumerate(sprites(given.tiles, given.count)):
        random = np.random.default_rng([given.seed, number])
        for name, colour in GROUNDS.items():
            picture, truth = laid_on(sprite, colour)
            for kind, shown in (("plain", picture), ("degraded", degraded(picture, random))):
                for tool, work in tools.items():
                    tally = tallies.setdefault((f"{kind} {name}", tool), CutoutTally())
                    tally.add(work, shown, truth)
    print("kind            tool           count   exact    near    lost  fringe      CPU")
    for (kind, tool), tally in sorted(tallies.items()):
        print(tally.row(kind, tool))


if __name__ == "__main__":
    main()
