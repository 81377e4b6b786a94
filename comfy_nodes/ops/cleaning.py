"""Taking away what the measures of a cut-out find: stray pixels, a fringe, pinholes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .arrays import Flags
from .measures.edges import enclosed_pixels, fringe_pixels
from .measures.measure import NOTHING_ASKED, Asked
from .measures.outline import orphan_pixels, pinhole_pixels, speck_pixels
from .measures.subject import Subject

# What is taken away can lay bare more of the kind; a fringe is no thicker than this.
_ROUNDS = 4


def cleaned(picture: NDArray[np.uint8], asked: Asked = NOTHING_ASKED) -> NDArray[np.uint8]:
    """A cut-out sprite, uint8 [H, W, 4], without fringe, specks and orphans, and without pinholes.

    See `measures` for what these are. Holes get the colour of the nearest pixel of the sprite; all
    else keeps its colours. A picture of which nothing is cut out comes back as it was.
    """
    if picture.shape[2] == 3:
        return picture
    cleaned = picture.copy()
    shows_nothing = not picture[picture[..., 3] == 0].any()
    for _ in range(_ROUNDS):
        stray = _stray(Subject(cleaned, asked))
        if not stray.any() or (stray | (cleaned[..., 3] == 0)).all():
            break
        cleaned[stray, 3] = 0
        if shows_nothing:
            # Behind a mask there can be the background, and what was hidden stays; else it is 0.
            cleaned[stray] = 0
    holes = pinhole_pixels(Subject(cleaned, asked))
    if holes is not None and holes.any():
        nearest = ndimage.distance_transform_edt(
            cleaned[..., 3] < 255, return_distances=False, return_indices=True
        )
        cleaned[holes] = cleaned[nearest[0][holes], nearest[1][holes]]
    return cleaned


def _stray(subject: Subject) -> Flags:
    stray = np.zeros(subject.visible.shape, dtype=np.bool_)
    for find in (fringe_pixels, enclosed_pixels, speck_pixels, orphan_pixels):
        found = find(subject)
        if found is not None:
            stray |= found
    return stray
