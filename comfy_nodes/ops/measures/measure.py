"""What a measure is: a number with a name, good bounds, and what mends a picture outside of them.

Nothing here needs numpy, so that names and bounds can be asked for at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Of(str, Enum):
    """What a measure is taken of."""

    PICTURE = "picture"  # one picture
    FRAMES = "frames"  # the frames of one animation
    SETS = "sets"  # several animations of one thing


class Needs(str, Enum):
    """What must be said of a picture before a measure means anything."""

    NOTHING = "nothing"
    TILE = "tile"  # that it is to be laid beside itself
    CELL = "cell"  # that it is a sheet, and of which cells
    GUIDES = "guides"  # that it is a panel to be stretched, and where
    PALETTE = "palette"  # in which colours it shall be


class Mend(str, Enum):
    """What brings a value back within its bounds."""

    SNAP = "snap"  # the true pixels of its grid
    CUT_OUT = "cut-out"  # a plain background taken away, alpha 0 or 255
    CLEAN = "clean"  # stray pixels taken away, pinholes filled
    OUTLINE = "outline"  # gaps in the outline closed
    PALETTE = "palette"  # the colours of a palette
    SHARED_PALETTE = "shared palette"  # one palette for all frames
    ALIGN = "align"  # the sprite moved within its frames
    CLOSE = "close"  # pixels from inside the tile along its edges
    DRAW = "draw"  # by hand
    NEW_SEED = "new seed"  # another picture


@dataclass(frozen=True)
class Asked:
    """What the caller says of a picture. Sizes are in px."""

    # it is to be laid beside itself
    tile: bool = False
    # width and height of a sheet's cells
    cell: tuple[int, int] | None = None
    # widths of a panel's fixed borders: left, right, top, bottom
    guides: tuple[int, int, int, int] | None = None
    # uint8 [N, 3], the colours to be used
    palette: NDArray[np.uint8] | None = None
    # the background's colour
    key: tuple[int, int, int] | None = None

    def has(self, needs: Needs) -> bool:
        """Whether what a measure needs was said."""
        return {
            Needs.NOTHING: True,
            Needs.TILE: self.tile,
            Needs.CELL: self.cell is not None,
            Needs.GUIDES: self.guides is not None,
            Needs.PALETTE: self.palette is not None,
        }[needs]


NOTHING_ASKED = Asked()
"""A picture of which nothing more is known."""


def within(value: float | None, minimum: float | None, maximum: float | None) -> bool:
    """Whether a value is within bounds, both inclusive, or does not apply.

    One that is not a number is within none.
    """
    if value is None:
        return True
    return (minimum is None or value >= minimum) and (maximum is None or value <= maximum)


@dataclass(frozen=True)
class Measure:
    """A number that can be taken of a picture, of frames, or of sets of frames.

    The bounds are inclusive; they are what good sprites have, and None where that depends on what
    is wanted. The function has the measure's name, and is in the module of this package that
    `module` names.
    """

    name: str
    # what the number is, for people
    about: str
    module: str
    mend: Mend
    minimum: float | None = None
    maximum: float | None = None
    of: Of = Of.PICTURE
    needs: Needs = Needs.NOTHING

    @property
    def function(self) -> Callable[[Any], float | None]:
        """From a Subject, a list of them, or a list of lists, to the number; None: not for this."""
        found: Callable[[Any], float | None] = getattr(
            import_module(f".{self.module}", __package__), self.name
        )
        return found

    def allows(self, value: float | None) -> bool:
        """Whether a value is within the bounds, or does not apply."""
        return within(value, self.minimum, self.maximum)
