"""Pictures of fake pixels whose true ones are known: from a folder, or drawn."""

from __future__ import annotations

import json
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]

Pixels = NDArray[np.uint8]


class FakeCase(NamedTuple):
    """One picture [H, W, 3] and its true pixels [h, w, 3]; see fake_grids.py for the kinds."""

    kind: str
    picture: Pixels
    truth: Pixels


def generator() -> dict[str, Any]:
    """The names of tests/unit/fake_grids.py, which draws them."""
    return runpy.run_path(str(ROOT / "tests" / "unit" / "fake_grids.py"))


def in_folder(folder: Path) -> Iterator[FakeCase]:
    """Those of a folder with in/, truth/ and truth.json."""
    for name, told in json.loads((folder / "truth.json").read_text(encoding="utf-8")).items():
        picture, truth = (
            np.asarray(Image.open(folder / part / f"{name}.png").convert("RGB"))
            for part in ("in", "truth")
        )
        yield FakeCase(told["kind"], picture, truth)


def drawn(seed: int, count: int, tiles: Path | None = None) -> Iterator[FakeCase]:
    """`count` of each kind; `tiles` is an NPZ with sprites: pixels [n, h, w, 4]."""
    sprites = np.load(tiles)["pixels"] if tiles else ()
    for fake in generator()["fakes"](seed, count, sprites):
        yield FakeCase(fake.kind, fake.picture, fake.truth)


def blobs(seed: int) -> Iterator[FakeCase]:
    """60 blobs: 20 clean, 20 fractional, 20 degraded."""
    names = generator()
    for kind in ("int", "frac", "degraded"):
        for number in range(20):
            random = np.random.default_rng([seed, number, len(kind)])
            truth = names["blob"](random)
            yield FakeCase(kind, names["enlarge"](truth, kind, random)[0], truth)


def large(seed: int) -> Iterator[FakeCase]:
    """Eight of 1024x1024 with 64 to 128 cells."""
    names = generator()
    for number in range(8):
        random = np.random.default_rng([seed, number, 1024])
        truth = names["blob"](random, int(random.integers(64, 129)))
        picture = Image.fromarray(truth).resize((1024, 1024), Image.Resampling.NEAREST)
        yield FakeCase("1024", np.asarray(picture), truth)
