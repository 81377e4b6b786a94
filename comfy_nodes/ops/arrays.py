"""The arrays that the functions here take and give; each says what shape."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
"""Pictures and palettes: sRGB, and alpha where there is a fourth channel, 0 to 255."""

Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Labels = NDArray[np.int32]
"""Numbers of areas, from 1, as `scipy.ndimage.label` gives them; 0 is none."""
