"""From pictures on a plain background to sprites, by the file; what `spriteworks cutout` does."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comfy_nodes.errors import BadInput
from comfy_nodes.ops.color import hex_color
from comfy_nodes.ops.cutout import CutoutOptions, Outline
from comfy_nodes.ops.cutout import cut_out as cut_out_pixels

from ..errors import InputError, UsageError
from .background_model import background_model
from .files import Names, PictureResult, Report, each_picture, write_picture

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class CutFile(PictureResult):
    """What became of one picture; `saved` is its sprite."""

    # px
    width: int = 0
    height: int = 0
    # left, top, right and bottom of the sprite in px; right and bottom are the first beyond it
    box: tuple[int, int, int, int] = (0, 0, 0, 0)
    # share of the pixels that are there, 0 to 1
    there: float = 0.0
    # whether each pixel is there or is not, none half
    alpha_binary: bool = True

    def to_json(self) -> dict[str, Any]:
        """Shape for programs."""
        if self.saved is None:
            return {"file": str(self.file), "error": self.error}
        return {
            "file": str(self.file),
            "width": self.width,
            "height": self.height,
            "box": list(self.box),
            "there": round(self.there, 4),
            "alpha_binary": self.alpha_binary,
        }


def cut_out(
    pictures: Names,
    out: str | os.PathLike[str],
    *,
    tolerance: float = CutoutOptions.tolerance,
    smallest_hole: float = CutoutOptions.smallest_hole,
    keep_light: bool = CutoutOptions.keep_light,
    despill: bool = CutoutOptions.despill,
    smallest_part: float = CutoutOptions.smallest_part,
    soft: bool = CutoutOptions.soft,
    outline: str = CutoutOptions.outline.value,
    outline_colour: str | None = None,
    model: str | None = None,
    report: Report[CutFile] | None = None,
) -> list[CutFile]:
    """Cut the sprite out of each picture, and write it as NAME.png in the folder `out`.

    `pictures` are files and folders, of sprites at their true size. `tolerance` is how far a colour
    may be from the background's, in OKLab, 0 to 1; `smallest_hole` the share of the picture from
    which on enclosed background goes, and `keep_light` keeps what looks like a light part of the
    sprite. `despill` takes away pixels that are mixed with the background, `smallest_part` those
    parts that are a smaller share of the largest one. Alpha is 0 or 255, or between with `soft`.
    `outline` is "none", "close", "inside" or "outside", `outline_colour` its colour as hex, by
    default the sprite's own. `model` names a model of rembg, an extra, which then finds the
    background; the rest is done as to pictures that have transparent pixels. `report` is called
    with each result, how many there are by now, and of how many.

    A picture that cannot be cut out is told in its result, and the others go on. Raises UsageError
    and ModelError before anything is written, and OutputError where a result cannot be.
    """
    options = CutoutOptions(
        tolerance=tolerance,
        smallest_hole=smallest_hole,
        keep_light=keep_light,
        despill=despill,
        smallest_part=smallest_part,
        soft=soft,
        outline=_outline(outline),
        outline_colour=None if outline_colour is None else _colour(outline_colour),
    )
    try:
        options.check()
    except BadInput as error:
        raise UsageError(str(error)) from error
    masks = None if model is None else background_model(model)

    def work(picture: NDArray[np.uint8], file: Path, target: Path) -> CutFile:
        if masks is not None:
            picture = _masked(picture, masks(picture))
        return _kept(file, target, cut_out_pixels(picture, options))

    return each_picture(pictures, out, work, CutFile, report)


def _outline(name: str) -> Outline:
    try:
        return Outline(name)
    except ValueError:
        known = ", ".join(one.value for one in Outline)
        raise UsageError(f"there is no outline {name!r}; there are {known}") from None


def _colour(text: str) -> tuple[int, int, int]:
    colour = hex_color(text)
    if colour is None:
        raise UsageError(f"{text!r} is no hex colour; give 1a1c2c")
    return colour


def _masked(picture: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture with that alpha, and what was transparent before. Raises InputError."""
    import numpy as np

    if (alpha >= 128).all():
        raise InputError("the model sees no background in it")
    own = picture[..., 3] if picture.shape[2] == 4 else np.uint8(255)
    return np.dstack([picture[..., :3], np.minimum(alpha, own)])


def _kept(file: Path, target: Path, sprite: NDArray[np.uint8]) -> CutFile:
    import numpy as np

    write_picture(sprite, target)
    alpha = sprite[..., 3]
    rows, columns = (np.flatnonzero(alpha.any(axis=axis)) for axis in (1, 0))
    return CutFile(
        file=file,
        saved=target,
        width=alpha.shape[1],
        height=alpha.shape[0],
        box=(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1),
        there=float((alpha > 0).mean()),
        alpha_binary=bool(((alpha == 0) | (alpha == 255)).all()),
    )
