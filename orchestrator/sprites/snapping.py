"""From pictures of fake pixels to their true ones, by the file; what `spriteworks snap` does."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comfy_nodes.errors import BadInput
from comfy_nodes.ops.true_pixels import Colour, Snapped, snap_sequence

from ..errors import InputError, UsageError
from .files import (
    Names,
    PictureResult,
    Report,
    each_picture,
    failed,
    named,
    pictures_in,
    read_picture,
    targets_in,
    write_picture,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Size = tuple[int, int | None]


@dataclass(frozen=True, kw_only=True)
class SnappedFile(PictureResult):
    """What became of one picture; `saved` are its true pixels."""

    # of a cell, on x and y, in px of the picture
    pitch: tuple[float, float] = (1.0, 1.0)
    # of the first border inside, on x and y, in px
    offset: tuple[float, float] = (0.0, 0.0)
    # true pixels
    width: int = 0
    height: int = 0
    # 0 to 1, that the size is right
    confidence: float = 0.0
    # False where a person should look, or give the size
    sure: bool = False
    # that are seen
    colours: int = 0
    # whether each pixel is there or is not, none half
    alpha_binary: bool = True

    def to_json(self) -> dict[str, Any]:
        """Shape for programs."""
        if self.saved is None:
            return {"file": str(self.file), "error": self.error}
        return {
            "file": str(self.file),
            "pitch": [round(side, 4) for side in self.pitch],
            "offset": [round(side, 4) for side in self.offset],
            "width": self.width,
            "height": self.height,
            "confidence": round(self.confidence, 4),
            "sure": self.sure,
            "colours": self.colours,
            "alpha_binary": self.alpha_binary,
        }


def snap(
    pictures: Names,
    out: str | os.PathLike[str],
    *,
    size: int | Size | None = None,
    pitch: float | None = None,
    scale: int = 1,
    colour: str = "median",
    sequence: bool = False,
    report: Report[SnappedFile] | None = None,
) -> list[SnappedFile]:
    """Find the grid of each picture, and write its true pixels as NAME.png in the folder `out`.

    `pictures` are files and folders. `size` is the true width in pixels, or width and height,
    `pitch` the side of a fake pixel in px, where they are known. `scale` enlarges each true pixel.
    `colour` is how a cell gets its own: "median", "mode" or "k-centroid". With `sequence` all
    pictures are frames of one animation, of one size, and get one pitch, phase and size. `report`
    is called with each result, how many there are by now, and of how many.

    A picture that cannot be snapped is told in its result, and the others go on. Raises UsageError
    before anything is written, and OutputError where a result cannot be.
    """
    options = _Options.of(size, pitch, scale, colour)
    if sequence:
        return _as_sequence(pictures, Path(out), options, report)

    def work(picture: NDArray[np.uint8], file: Path, target: Path) -> SnappedFile:
        return _kept(file, target, options.applied([picture])[0])

    return each_picture(pictures, out, work, SnappedFile, report)


@dataclass(frozen=True)
class _Options:
    """What is known, and wanted."""

    size: Size | None
    pitch: float | None
    scale: int
    colour: Colour

    @classmethod
    def of(cls, size: int | Size | None, pitch: float | None, scale: int, colour: str) -> _Options:
        """Raises UsageError for what no picture could be snapped with."""
        try:
            chosen = Colour(colour)
        except ValueError:
            known = ", ".join(one.value for one in Colour)
            raise UsageError(f"there is no colour {colour!r}; there are {known}") from None
        if size is not None and pitch is not None:
            raise UsageError("give the size or the pitch: each follows from the other")
        return cls((size, None) if isinstance(size, int) else size, pitch, scale, chosen)

    def applied(self, frames: Sequence[NDArray[np.uint8]]) -> list[Snapped]:
        """Raises BadInput."""
        return snap_sequence(
            frames, size=self.size, pitch=self.pitch, colour=self.colour, scale=self.scale
        )


def _as_sequence(
    pictures: Names, out: Path, options: _Options, report: Report[SnappedFile] | None
) -> list[SnappedFile]:
    """All files as frames of one animation; one that cannot be read is left out of it."""
    files = pictures_in(named(pictures))
    targets = targets_in(files, out)
    frames: dict[Path, NDArray[np.uint8]] = {}
    wrong: dict[Path, SnappedFile] = {}
    for file in files:
        try:
            frames[file] = read_picture(file)
        except InputError as error:
            wrong[file] = failed(SnappedFile, file, error)
    found: dict[Path, Snapped] = {}
    if frames:
        try:
            found = dict(zip(frames, options.applied(list(frames.values())), strict=True))
        except BadInput as error:
            wrong |= {file: failed(SnappedFile, file, error) for file in frames}
    results: list[SnappedFile] = []
    for file, target in zip(files, targets, strict=True):
        results.append(wrong[file] if file in wrong else _kept(file, target, found[file]))
        if report is not None:
            report(results[-1], len(results), len(files))
    return results


def _kept(file: Path, target: Path, found: Snapped) -> SnappedFile:
    write_picture(found.picture, target)
    return SnappedFile(
        file=file,
        saved=target,
        pitch=found.pitch,
        offset=found.offset,
        width=found.width,
        height=found.height,
        confidence=found.confidence,
        sure=found.sure,
        colours=found.colours,
        alpha_binary=found.alpha_binary,
    )
