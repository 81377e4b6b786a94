"""Sets of drawings as arrays."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from .colours import COLOURS
from .draw import SIZES, SUBJECTS, draw

SUBJECT_NAMES = tuple(SUBJECTS)
COLOUR_NAMES = tuple(COLOURS)


@dataclass(frozen=True)
class DrawingSet:
    """Drawings with their labels as indices into the name tables."""

    pixels: NDArray[np.uint8]
    """(count, 32, 32, 3) RGB."""
    subjects: NDArray[np.int64]
    colours: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.pixels)

    def batch(self, indices: NDArray[np.int64]) -> torch.Tensor:
        """(n, 3, 32, 32) float32 in -1 to 1."""
        return torch.from_numpy(self.pixels[indices]).permute(0, 3, 1, 2).float() / 127.5 - 1.0


def draw_set(count: int, seed: int, report: bool = False) -> DrawingSet:
    """Draw ``count`` sprites with subjects, colours and sizes in even shares.

    Args:
        seed: sets of different seeds share no drawing.
        report: print progress every 5,000 drawings.
    """
    rng = random.Random(seed)
    pairs = [(s, c) for s in range(len(SUBJECT_NAMES)) for c in range(len(COLOUR_NAMES))]
    pixels = np.empty((count, 32, 32, 3), dtype=np.uint8)
    labels = np.empty((2, count), dtype=np.int64)
    for index in range(count):
        if index % len(pairs) == 0:
            rng.shuffle(pairs)
        subject, colour = pairs[index % len(pairs)]
        size = rng.randrange(len(SIZES))
        drawing = draw(
            SUBJECT_NAMES[subject], COLOUR_NAMES[colour], seed * 10_000_000 + index, SIZES[size]
        )
        pixels[index] = drawing.pixels
        labels[:, index] = subject, colour
        if report and (index + 1) % 5000 == 0:
            print(f"drawn {index + 1} of {count}", flush=True)
    return DrawingSet(pixels, labels[0], labels[1])
