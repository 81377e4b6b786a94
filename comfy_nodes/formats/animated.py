"""What the writers of animated pictures ask of frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import BadInput
from ..ops.arrays import Bytes
from ..ops.frames import Frame, untrimmed, without_hidden

# Both formats count sides in 16 bits, or are read so.
_LONGEST_SIDE = 65_535


def pictures_of(frames: Sequence[Frame]) -> Bytes:
    """The whole frames, uint8 [N, H, W, 4], in which what is hidden has no colour.

    Raises BadInput where there is none, they differ in size, or a side is over 65,535 px.
    """
    sizes = sorted({frame.source for frame in frames})
    if len(sizes) != 1:
        if not sizes:
            raise BadInput("There are no frames to show.")
        listed = ", ".join(f"{width}x{height}" for width, height in sizes)
        raise BadInput(f"The frames of an animated picture have one size, and these have {listed}.")
    if max(sizes[0]) > _LONGEST_SIDE:
        raise BadInput(f"An animated picture has at most {_LONGEST_SIDE} px a side.")
    return np.stack([without_hidden(untrimmed(frame).picture) for frame in frames])
