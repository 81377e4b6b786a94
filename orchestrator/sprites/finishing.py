"""The chain that makes a generated picture a sprite: true pixels, cut-out, palette. No I/O.

Pictures are uint8 [H, W, C] with C 3 (RGB) or 4 (RGBA). The order is fixed: a cut-out works on true
pixels, and the palette has the last word, so that no colour comes after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from comfy_nodes.errors import BadInput
from comfy_nodes.formats.palettes import Palette
from comfy_nodes.ops.arrays import Bytes
from comfy_nodes.ops.cutout import CutoutOptions as Cutout
from comfy_nodes.ops.cutout import cut_out
from comfy_nodes.ops.palette import LARGEST, Dither, paint, shared_palette
from comfy_nodes.ops.true_pixels import LARGEST_SCALE, Colour, Snapped, counted, snap_sequence

from ..errors import UsageError

Size = tuple[int, int | None]


@dataclass(frozen=True)
class KnownGrid:
    """What is known of the grid of fake pixels, and how a cell gets its colour."""

    # true width and height in cells; the height None where it follows
    size: Size | None = None
    # side of a cell in px
    pitch: float | None = None
    colour: Colour = Colour.MEDIAN

    @classmethod
    def of(
        cls, size: int | Size | None = None, pitch: float | None = None, colour: str = "median"
    ) -> KnownGrid:
        """Raises UsageError for what no picture could be snapped with."""
        try:
            chosen = Colour(colour)
        except ValueError:
            known = ", ".join(one.value for one in Colour)
            raise UsageError(f"there is no colour {colour!r}; there are {known}") from None
        if size is not None and pitch is not None:
            raise UsageError("give the size or the pitch: each follows from the other")
        return cls((size, None) if isinstance(size, int) else size, pitch, chosen)


@dataclass(frozen=True)
class FinishedPicture:
    """A picture at the end of the chain.

    `found` has its pixels, and what was found of its grid; a picture that was not to be snapped is
    taken to be at its true size. `palette` is the one that it was painted with, if with any.
    """

    found: Snapped
    palette: Palette | None = None

    @property
    def picture(self) -> Bytes:
        """Its pixels: uint8 [H, W, 3 or 4]."""
        return self.found.picture


@dataclass(frozen=True, kw_only=True)
class Finish:
    """What is done to pictures, in this order; None leaves a step out.

    After a palette all that can be seen is of it, and what is wholly transparent is (0, 0, 0, 0).
    Doing it again changes nothing, unless an outline is drawn or closed and then painted in other
    colours, or a palette makes a grid appear, or a result that was enlarged has at most 24 px,
    which is a true size. Raises UsageError for what cannot be done.
    """

    grid: KnownGrid | None = KnownGrid()
    cutout: Cutout | None = None
    # the colours there are, or how many to find, 1 to 256
    palette: Palette | int | None = None
    dither: Dither = Dither.NONE
    # enlarges each true pixel of a picture that shows a grid, at the very end
    scale: int = 1

    def __post_init__(self) -> None:
        if isinstance(self.palette, int) and not 1 <= self.palette <= LARGEST:
            raise UsageError(
                f"a palette of {self.palette} colours cannot be found; 1 to {LARGEST} can"
            )
        if self.palette is None and self.dither is not Dither.NONE:
            raise UsageError(f"there is nothing to dither ({self.dither.value}) without a palette")
        if not 1 <= self.scale <= LARGEST_SCALE:
            raise UsageError(f"the scale is a whole number of 1 to {LARGEST_SCALE}: {self.scale}")

    @property
    def finds_palette(self) -> bool:
        """Whether the palette is found in the pictures, and so depends on all that share it."""
        return isinstance(self.palette, int)

    def applied(self, frames: Sequence[Bytes]) -> list[FinishedPicture]:
        """The pictures, as frames of one animation: one pitch, phase, size and palette.

        Raises BadInput.
        """
        cut = self.cut(frames)
        palette = self.palette_of(one.picture for one in cut)
        return [self.painted(one, palette) for one in cut]

    def cut(self, frames: Sequence[Bytes]) -> list[Snapped]:
        """The first half: the true pixels, cut out, in the colours that they have.

        Raises BadInput.
        """
        found = [_as_it_is(frame) for frame in frames] if self.grid is None else self._snap(frames)
        return found if self.cutout is None else [_cut(one, self.cutout) for one in found]

    def _snap(self, frames: Sequence[Bytes]) -> list[Snapped]:
        assert self.grid is not None
        known = self.grid
        return snap_sequence(frames, size=known.size, pitch=known.pitch, colour=known.colour)

    def palette_of(self, pictures: Iterable[Bytes]) -> Palette | None:
        """The palette for pictures of the first half: the one given, or one for all of them.

        They are looked at one after another and not kept, and only if a palette is to be found.
        Wholly transparent pixels do not count. Raises BadInput where no pixel can be seen.
        """
        if not isinstance(self.palette, int):
            return self.palette
        return as_palette(shared_palette(pictures, self.palette))

    def painted(self, cut: Snapped, palette: Palette | None) -> FinishedPicture:
        """The second half: a picture of the first one in the colours of the palette, enlarged."""
        picture = cut.picture
        if palette is not None:
            picture = paint(picture, palette.array(), dither=self.dither)
        count, binary = counted(picture)
        if cut.confidence > 0 or cut.pitch != (1.0, 1.0):
            picture = picture.repeat(self.scale, axis=0).repeat(self.scale, axis=1)
        return FinishedPicture(
            replace(
                cut,
                picture=np.ascontiguousarray(picture),
                colours=count,
                alpha_binary=binary,
            ),
            palette,
        )


def dithering(name: str) -> Dither:
    """The dithering of that name. Raises UsageError for another, and says those there are."""
    try:
        return Dither(name)
    except ValueError:
        known = ", ".join(one.value for one in Dither)
        raise UsageError(f"there is no dithering {name!r}; there are {known}") from None


def as_palette(colours: Bytes, name: str = "") -> Palette:
    """Colours of `ops.palette`, uint8 [N, 3], as a palette."""
    return Palette(name, tuple((red, green, blue) for red, green, blue in colours.tolist()))


def _as_it_is(picture: Bytes) -> Snapped:
    """A picture that is at its true size, because somebody says so."""
    height, width = picture.shape[:2]
    if not height or not width:
        raise BadInput("A picture without pixels cannot be painted.")
    count, binary = counted(picture)
    return Snapped(
        picture=picture,
        pitch=(1.0, 1.0),
        offset=(0.0, 0.0),
        width=width,
        height=height,
        confidence=1.0,
        sure=True,
        colours=count,
        alpha_binary=binary,
        columns=np.arange(width + 1),
        rows=np.arange(height + 1),
    )


def _cut(found: Snapped, options: Cutout) -> Snapped:
    picture = cut_out(found.picture, options)
    count, binary = counted(picture)
    return replace(found, picture=picture, colours=count, alpha_binary=binary)
