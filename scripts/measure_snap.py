"""How often `snap` finds the true pixels of fakes whose truth is known, and what it takes.

    python scripts/measure_snap.py --drawn 20 --seed 5
    python scripts/measure_snap.py --drawn 20 --seed 1 --tiles tiles.npz
    python scripts/measure_snap.py --folder ../shared/grid

exact: the true size (for `offset` within one cell). solved: exact, and at least 99% of the pixels
within 40 of 255. error: mean OKLab distance of the exact ones' pixels, times 100. details: pixels
of the truth that stand out by more than 40 from all four neighbours, and are within 40 in the
result, too.
unsure: of the wrong and of the right sizes. CPU: seconds of this process a picture.
"""

from __future__ import annotations

import argparse
import json
import runpy
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from comfy_nodes.ops.color import oklab  # noqa: E402
from comfy_nodes.ops.true_pixels import snap  # noqa: E402

Pixels = NDArray[np.uint8]
Case = tuple[str, Pixels, Pixels]  # kind, picture, truth
ALIKE = 40


@dataclass
class Tally:
    """What became of the pictures of one kind."""

    count: int = 0
    exact: int = 0
    solved: int = 0
    wrong_unsure: int = 0
    right_unsure: int = 0
    errors: list[float] = field(default_factory=list)
    details: int = 0
    kept: int = 0
    seconds: float = 0.0

    def add(self, kind: str, picture: Pixels, truth: Pixels) -> None:
        """Snap one picture and compare."""
        begin = time.process_time()
        found = snap(picture)
        self.seconds += time.process_time() - begin
        self.count += 1
        off = max(abs(found.width - truth.shape[1]), abs(found.height - truth.shape[0]))
        if off > (kind == "offset"):
            self.wrong_unsure += not found.sure
            return
        self.exact += 1
        self.right_unsure += not found.sure
        own, true = _laid_over(found.picture, truth)
        near = np.abs(own.astype(int) - true).max(axis=2) <= ALIKE
        self.solved += bool(near.mean() >= 0.99)
        self.errors.append(float(np.sqrt(((oklab(own) - oklab(true)) ** 2).sum(axis=2)).mean()))
        details = _details(true)
        self.details += int(details.sum())
        self.kept += int((details & near).sum())

    def merged(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(**{name: getattr(self, name) + getattr(other, name) for name in vars(self)})

    def row(self, name: str) -> str:
        """One line of the table."""
        wrong = self.count - self.exact
        unsure = f"{self.wrong_unsure} of {wrong}", f"{self.right_unsure} of {self.exact}"
        error = 100 * float(np.mean(self.errors)) if self.errors else 0.0
        return (
            f"{name:10}{self.count:6}{self.exact:7}{self.solved:8}{error:8.2f}"
            f"{self.kept:8}/{self.details:<7}{unsure[0]:>10}{unsure[1]:>11}"
            f"{self.seconds / max(1, self.count):8.3f}"
        )


def _laid_over(own: Pixels, truth: Pixels) -> tuple[Pixels, Pixels]:
    """Both where they overlap best, at most one pixel moved."""
    if own.shape == truth.shape:
        return own, truth
    best = (-1.0, own, truth)
    for y in (-1, 0, 1):
        for x in (-1, 0, 1):
            one, other = own[max(0, -y) :, max(0, -x) :], truth[max(0, y) :, max(0, x) :]
            height, width = np.minimum(one.shape[:2], other.shape[:2])
            one, other = one[:height, :width], other[:height, :width]
            alike = float((np.abs(one.astype(int) - other).max(axis=2) <= ALIKE).mean())
            best = max(best, (alike, one, other), key=lambda each: each[0])
    return best[1], best[2]


def _details(truth: Pixels) -> NDArray[np.bool_]:
    padded = np.pad(truth.astype(int), ((1, 1), (1, 1), (0, 0)), mode="edge")
    middle = padded[1:-1, 1:-1]
    around = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    alone = [np.abs(middle - one).max(axis=2) > ALIKE for one in around]
    return np.logical_and.reduce(alone)


def _in_folder(folder: Path) -> Iterator[Case]:
    for name, told in json.loads((folder / "truth.json").read_text(encoding="utf-8")).items():
        picture, truth = (
            np.asarray(Image.open(folder / part / f"{name}.png").convert("RGB"))
            for part in ("in", "truth")
        )
        yield told["kind"], picture, truth


def _drawn(generator: dict[str, Any], seed: int, count: int, tiles: Path | None) -> Iterator[Case]:
    sprites = np.load(tiles)["pixels"] if tiles else ()
    for fake in generator["fakes"](seed, count, sprites):
        yield fake.kind, fake.picture, fake.truth


def _blobs(generator: dict[str, Any], seed: int) -> Iterator[Case]:
    """60 blobs: clean, fractional, degraded; and eight of 1024x1024 with 64 to 128 cells."""
    for kind in ("int", "frac", "degraded"):
        for number in range(20):
            random = np.random.default_rng([seed, number, len(kind)])
            truth = generator["blob"](random)
            yield f"60 {kind}", generator["enlarge"](truth, kind, random)[0], truth
    for number in range(8):
        random = np.random.default_rng([seed, number, 1024])
        cells = int(random.integers(64, 129))
        truth = generator["blob"](random, cells)
        picture = Image.fromarray(truth).resize((1024, 1024), Image.Resampling.NEAREST)
        yield "1024", np.asarray(picture), truth


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--folder", type=Path, help="in/, truth/ and truth.json")
    parser.add_argument("--drawn", type=int, default=0, help="fakes of each kind to draw")
    parser.add_argument("--blobs", action="store_true", help="60 blobs and eight of 1024x1024")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--tiles", type=Path, help="an NPZ with sprites: pixels [n, h, w, 4]")
    given = parser.parse_args()
    generator = runpy.run_path(str(ROOT / "tests" / "unit" / "fake_grids.py"))
    cases: Iterable[Case]
    if given.folder:
        cases = _in_folder(given.folder)
    elif given.blobs:
        cases = _blobs(generator, given.seed)
    else:
        cases = _drawn(generator, given.seed, given.drawn or 20, given.tiles)
    tallies: dict[str, Tally] = defaultdict(Tally)
    for kind, picture, truth in cases:
        tallies[kind].add(kind.split()[-1], picture, truth)
    print(
        "kind       count  exact  solved   error   details        wrong unsure right unsure   CPU"
    )
    whole = Tally()
    for kind, tally in tallies.items():
        print(tally.row(kind))
        whole = whole.merged(tally)
    print(whole.row("all"))


if __name__ == "__main__":
    main()
