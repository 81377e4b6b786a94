"""Measures of what is laid side by side: tiles, the cells of a sheet, panels to be stretched."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...errors import BadInput
from .. import tile_edges
from .subject import Subject


def seam(subject: Subject) -> float | None:
    """How a tile's opposite edges differ, as a multiple of how neighbours inside it do."""
    return tile_edges.seam(subject.picture)


def bleed(subject: Subject) -> float | None:
    """How many cells of a sheet have pixels at a border with another cell that is not their own.

    Where they are there on one side only, the neighbour's are drawn into the cell when a texture is
    scaled; padding or repeated edges keep them apart. Raises BadInput where the sheet is not whole
    cells.
    """
    if subject.asked.cell is None:
        return None
    height, width = subject.picture.shape[:2]
    across, down = subject.asked.cell
    if across < 1 or down < 1 or width % across or height % down:
        raise BadInput(f"A sheet of {width}x{height} is not whole cells of {across}x{down}.")
    there = subject.visible.reshape(height // down, down, width // across, across)
    touching = np.zeros(there.shape[::2], dtype=np.bool_)
    touching[:-1] |= there[:-1, -1].any(axis=-1)
    touching[1:] |= there[1:, 0].any(axis=-1)
    touching[:, :-1] |= there[:, :, :-1, -1].any(axis=1)
    touching[:, 1:] |= there[:, :, 1:, 0].any(axis=1)
    return float(touching.sum())


def nine_slice(subject: Subject) -> float | None:
    """How far a panel's stretched parts vary along the axis they are stretched on, of 255.

    The parts between the left and right guides are stretched across, those between the top and
    bottom ones down. Raises BadInput where the guides leave nothing between them.
    """
    if subject.asked.guides is None:
        return None
    height, width = subject.picture.shape[:2]
    left, right, top, bottom = subject.asked.guides
    if min(subject.asked.guides) < 0 or left + right >= width or top + bottom >= height:
        raise BadInput(
            f"The guides {left}, {right}, {top}, {bottom} leave nothing to stretch in a panel of "
            f"{width}x{height}."
        )
    shown = _shown(subject)
    rows, columns = slice(top, height - bottom), slice(left, width - right)
    return float(max(np.ptp(shown[rows], axis=0).max(), np.ptp(shown[:, columns], axis=1).max()))


def _shown(subject: Subject) -> NDArray[np.int16]:
    """[H, W, 4]: colours and alpha, where what is hidden has no colour."""
    alpha = subject.alpha[..., None]
    return np.concatenate([np.where(alpha > 0, subject.rgb, 0), alpha], axis=-1).astype(np.int16)
