"""One picture as the measures look at it: what several of them need is worked out once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ...errors import BadInput
from ..arrays import Bytes, Flags, Floats
from ..color import oklab, pack, unpack
from ..true_pixels import Snapped, snap
from .measure import NOTHING_ASKED, Asked

# alpha from which a pixel counts as there
_VISIBLE = 128
# Touching at an edge or a corner.
AROUND = np.ones((3, 3), dtype=np.bool_)
# The nine shades of one plain colour, as a decoded JPEG has them, are within this in OKLab.
_PLAIN = 0.04


@dataclass(frozen=True, eq=False)
class Subject:
    """A picture, uint8 [H, W, 3 or 4], and what is known of it. Raises BadInput for another."""

    picture: Bytes
    asked: Asked = NOTHING_ASKED

    def __post_init__(self) -> None:
        shape = self.picture.shape
        if self.picture.dtype != np.uint8 or len(shape) != 3 or shape[2] not in (3, 4):
            raise BadInput("Expected a picture as bytes of shape [H, W, 3 or 4].")
        if 0 in shape:
            raise BadInput("A picture without pixels cannot be measured.")

    @cached_property
    def rgb(self) -> Bytes:
        """[H, W, 3]."""
        return self.picture[..., :3]

    @cached_property
    def alpha(self) -> Bytes:
        """[H, W]; 255 where the picture has no fourth channel."""
        if self.picture.shape[2] == 4:
            return self.picture[..., 3]
        return np.full(self.picture.shape[:2], 255, dtype=np.uint8)

    @cached_property
    def visible(self) -> Flags:
        """[H, W]: alpha 128 or more."""
        return self.alpha >= _VISIBLE

    @cached_property
    def is_cut_out(self) -> bool:
        """Whether something can be seen, and something is left out."""
        return bool(self.visible.any() and not self.visible.all())

    @cached_property
    def _counted(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        packed, index, counts = np.unique(
            pack(self.rgb[self.visible]), return_inverse=True, return_counts=True
        )
        return packed, index.reshape(-1), counts

    @property
    def _index(self) -> NDArray[np.int64]:
        """For each visible pixel, where its colour is in `tally`."""
        return self._counted[1]

    @property
    def tally(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The visible colours as 0xRRGGBB, sorted, and how many pixels each has."""
        return self._counted[0], self._counted[2]

    @cached_property
    def tally_lab(self) -> Floats:
        """OKLab [N, 3] of the colours of `tally`."""
        return oklab(unpack(self.tally[0]))

    @cached_property
    def lightness(self) -> Floats:
        """OKLab lightness [H, W] of the visible pixels, 0 to 1; 0 elsewhere."""
        light = np.zeros(self.visible.shape)
        light[self.visible] = self.tally_lab[self._index, 0]
        return light

    @cached_property
    def border(self) -> Flags:
        """[H, W]: the visible pixels that touch what is left out, edge to edge.

        The picture's own edge is no border: what it cuts goes on behind it.
        """
        inside = ndimage.binary_erosion(self.visible, border_value=1)
        return self.visible & ~np.asarray(inside, dtype=np.bool_)

    @cached_property
    def snapped(self) -> Snapped:
        """What a snap gives."""
        return snap(self.picture)

    @cached_property
    def key_color(self) -> tuple[int, int, int] | None:
        """The background's colour, where it is given or can be told.

        It is that of the hidden pixels, where a mask lies over a picture that has its background
        still: most of them have one colour, which is not the black that says nothing. Where nothing
        is left out it is that of the picture's edge, if that is plain.
        """
        if self.asked.key is not None:
            return self.asked.key
        if not self.visible.all():
            hidden = _plain(self.rgb[self.alpha == 0], 0.5)
            return hidden if hidden != (0, 0, 0) else None
        return _plain(self.edge, 0.8)

    @cached_property
    def key(self) -> Floats | None:
        """The same in OKLab, [3]."""
        color = self.key_color
        return None if color is None else oklab(np.array(color, dtype=np.uint8))

    @cached_property
    def edge(self) -> Bytes:
        """The colours along the picture's four sides, [N, 3]."""
        rgb = self.rgb
        return np.concatenate([rgb[0], rgb[-1], rgb[1:-1, 0], rgb[1:-1, -1]])

    def near(self, color: Floats, distance: float) -> Flags:
        """[H, W]: the visible pixels within a distance of a colour in OKLab."""
        close = ((self.tally_lab - color) ** 2).sum(axis=1) <= distance**2
        flags = np.zeros(self.visible.shape, dtype=np.bool_)
        flags[self.visible] = close[self._index]
        return flags


def _plain(colors: Bytes, share: float) -> tuple[int, int, int] | None:
    """The colour that at least a share of the colours [N, 3] have, or nearly have, or None."""
    packed, counts = np.unique(pack(colors), return_counts=True)
    if not len(packed):
        return None
    lab = oklab(unpack(packed))
    first = int(counts.argmax())
    alike = ((lab - lab[first]) ** 2).sum(axis=1) <= _PLAIN**2
    if counts[alike].sum() < share * counts.sum():
        return None
    red, green, blue = unpack(packed[first]).tolist()
    return red, green, blue
