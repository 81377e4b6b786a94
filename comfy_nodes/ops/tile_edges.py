"""How the opposite edges of a tile meet, as a figure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .arrays import Bytes, Floats
from .frames import with_opacity, without_hidden

# of 255; a picture whose neighbours differ by less is flat, and any seam would divide by nothing
_FLAT = 0.5


def seam(picture: Bytes) -> float | None:
    """How the opposite edges of a tile, uint8 [H, W, 3 or 4], differ; None below 3 px a side.

    The mean step across the edge, over the median of the mean steps from line to line, on the axis
    where it is larger. 1: as if there were no edge.
    """
    if min(picture.shape[:2]) < 3:
        return None
    seen = shown(picture)
    return max(seam_along(seen), seam_along(seen.swapaxes(0, 1)))


def seam_along(lines: NDArray[np.int16]) -> float:
    """The same between the last and the first of lines along axis 0, as `shown` gives them."""
    across = np.abs(lines[0] - lines[-1]).mean()
    return float(across / usual_step(steps(lines)))


def shown(picture: Bytes) -> NDArray[np.int16]:
    """[H, W, 4]: colours and alpha, where what is hidden has no colour."""
    return without_hidden(with_opacity(picture)).astype(np.int16)


def steps(lines: NDArray[np.int16]) -> Floats:
    """The mean step, of 255, from each line to the next; [lines - 1]."""
    found: Floats = np.abs(np.diff(lines, axis=0)).mean(axis=(1, 2))
    return found


def usual_step(of_lines: Floats) -> float:
    """The median of `steps`, and never 0."""
    return max(float(np.median(of_lines)), _FLAT)
