"""A set of frames for the tests of sheets, and how each is to look on the ground."""

from __future__ import annotations

import numpy as np

from comfy_nodes.ops.frames import Animation, Bytes, Direction, Frame
from comfy_nodes.ops.sheet import ground

SOURCE = 24, 32
PIVOT = 11.0, 30.0


def _drawn(seed: int, box: tuple[int, int, int, int]) -> Bytes:
    """A picture of the size of SOURCE with noise in x, y, width, height, and holes in it."""
    random = np.random.default_rng(seed)
    whole = np.zeros((SOURCE[1], SOURCE[0], 4), np.uint8)
    x, y, width, height = box
    inside = random.integers(0, 256, (height, width, 4), dtype=np.uint8)
    inside[..., 3] = np.where(random.random((height, width)) < 0.8, 255, 0)
    inside[[0, -1], :, 3] = 255
    inside[:, [0, -1], 3] = 255
    inside[inside[..., 3] == 0] = 0
    whole[y : y + height, x : x + width] = inside
    return whole


def frames() -> tuple[Frame, ...]:
    """Eight frames: other boxes and durations, one twice, one of another size and ground point."""
    boxes = [(5, 3, 13, 27), (4, 4, 15, 26), (6, 2, 12, 28), (1, 5, 20, 25)]
    durations = [100, 150, 50, 100]
    walk = [
        Frame.whole(f"walk_{index + 1}", _drawn(index, box), PIVOT, duration)
        for index, (box, duration) in enumerate(zip(boxes, durations, strict=True))
    ]
    idle = [
        Frame.whole("idle_1", _drawn(10, (7, 6, 9, 24)), PIVOT, 200),
        Frame.whole("idle_2", _drawn(0, boxes[0]), PIVOT, 300),
    ]
    large = np.zeros((40, 44, 4), np.uint8)
    large[2:34, 10:34] = _drawn(20, (2, 0, 21, 30))
    hit = [
        Frame.whole("hit_1", large, (21.0, 32.0), 80),
        Frame.whole("hit_2", _drawn(21, (3, 9, 18, 21)), PIVOT, 120),
    ]
    return (*walk, *idle, *hit)


def animations() -> tuple[Animation, ...]:
    return (
        Animation("walk", tuple(f"walk_{index}" for index in (1, 2, 3, 4)), Direction.PINGPONG),
        Animation("idle", ("idle_1", "idle_2")),
        Animation("hit", ("hit_1", "hit_2"), Direction.REVERSE, loop=False),
    )


def on_ground(frame: Frame, size: tuple[int, int], point: tuple[int, int]) -> Bytes:
    """uint8 [H, W, 4] of `size`, with the frame's ground point at `point`."""
    board = np.zeros((size[1], size[0], 4), np.uint8)
    pivot = ground(frame)
    x = point[0] - int(pivot[0]) + frame.offset[0]
    y = point[1] - int(pivot[1]) + frame.offset[1]
    height, width = frame.picture.shape[:2]
    board[y : y + height, x : x + width] = frame.picture
    return board
