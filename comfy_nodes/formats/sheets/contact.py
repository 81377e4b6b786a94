"""A picture to look at: a row for each animation, on a checkerboard, with the ground marked."""

from __future__ import annotations

import math

import numpy as np

from ...ops.arrays import Bytes
from ...ops.sheet import Sheet, on_one_canvas
from .files import Files, png

_LIGHT, _DARK = 204, 153  # the greys of the checkerboard
_MARK = (255, 0, 255)
_MOST = 4096  # px of the longest side


def write(sheet: Sheet, name: str) -> Files:
    """NAME.contact.png, enlarged by a whole number where the frames are small."""
    return {f"{name}.contact.png": png(picture(sheet))}


def picture(sheet: Sheet) -> Bytes:
    """uint8 [H, W, 4], opaque; frames that are in no animation stand below."""
    frames = on_one_canvas(sheet.frames)
    by_name = {frame.name: frame for frame in frames}
    shown = {frame for one in sheet.animations for frame in one.frames}
    rest = [name for name in by_name if name not in shown]
    side = max(1, math.isqrt(len(rest)), *(len(one.frames) for one in sheet.animations))
    lines = [one.frames for one in sheet.animations]
    lines += [tuple(rest[at : at + side]) for at in range(0, len(rest), side)]
    width, height = frames[0].source
    across, down = max(map(len, lines)) * width, len(lines) * height
    scale = max(1, min(8, 128 // max(width, height), _MOST // max(across, down)))
    board = _board(across * scale, down * scale)
    for row, line in enumerate(lines):
        for column, frame in enumerate(line):
            large = by_name[frame].picture.repeat(scale, axis=0).repeat(scale, axis=1)
            y, x = row * height * scale, column * width * scale
            cell = board[y : y + large.shape[0], x : x + large.shape[1]]
            alpha = large[..., 3:].astype(np.uint16)
            mixed = large[..., :3] * alpha + cell * (255 - alpha)
            cell[:] = ((mixed + 127) // 255).astype(np.uint8)
            _mark(cell, by_name[frame].pivot or (0, 0), scale)
    return np.dstack([board, np.full(board.shape[:2], 255, np.uint8)])


def _board(width: int, height: int) -> Bytes:
    y, x = np.ogrid[:height, :width]
    grey = np.where((x // 8 + y // 8) % 2, _DARK, _LIGHT).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def _mark(cell: Bytes, pivot: tuple[float, float], scale: int) -> None:
    """A short line on the ground, which may be the lower edge of the frame."""
    x, y = (int(side * scale) for side in pivot)
    row = min(max(y, 0), cell.shape[0] - 1)
    cell[row, max(x - 3, 0) : max(x + 4, 0)] = _MARK
