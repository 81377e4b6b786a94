"""From pictures of fake pixels to their true ones, by the file; what `spriteworks snap` does."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comfy_nodes.errors import BadInput
from comfy_nodes.ops.true_pixels import Colour, Snapped, snap_sequence

from ..errors import InputError, UsageError
from .files import pictures_in, read_picture, targets_in, write_picture

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Size = tuple[int, int | None]


@dataclass(frozen=True, kw_only=True)
class SnappedFile:
    """What became of one picture."""

    file: Path
    # where its true pixels are; None where there is an error
    saved: Path | None = None
    # why not, in one sentence
    error: str = ""
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

    @property
    def ok(self) -> bool:
        """True where there are true pixels."""
        return self.saved is not None

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
    pictures: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    size: int | Size | None = None,
    pitch: float | None = None,
    scale: int = 1,
    colour: str = "median",
    sequence: bool = False,
    report: Callable[[SnappedFile, int, int], None] | None = None,
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
    named = [pictures] if isinstance(pictures, (str, os.PathLike)) else list(pictures)
    files = pictures_in([Path(one) for one in named])
    targets = targets_in(files, Path(out))
    options = _Options.of(size, pitch, scale, colour)
    results: list[SnappedFile] = []

    def done(result: SnappedFile) -> None:
        results.append(result)
        if report is not None:
            report(result, len(results), len(files))

    if sequence:
        for result in _as_sequence(files, targets, options):
            done(result)
        return results
    for file, target in zip(files, targets, strict=True):
        try:
            done(_kept(file, target, options.applied([read_picture(file)])[0]))
        except (InputError, BadInput) as error:
            done(_failed(file, error))
    return results


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
    files: Sequence[Path], targets: Sequence[Path], options: _Options
) -> Iterable[SnappedFile]:
    """All files as frames of one animation; one that cannot be read is left out of it."""
    frames: dict[Path, NDArray[np.uint8]] = {}
    failed: dict[Path, SnappedFile] = {}
    for file in files:
        try:
            frames[file] = read_picture(file)
        except InputError as error:
            failed[file] = _failed(file, error)
    found: dict[Path, Snapped] = {}
    if frames:
        try:
            found = dict(zip(frames, options.applied(list(frames.values())), strict=True))
        except BadInput as error:
            failed |= {file: _failed(file, error) for file in frames}
    for file, target in zip(files, targets, strict=True):
        yield failed[file] if file in failed else _kept(file, target, found[file])


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


def _failed(file: Path, error: Exception) -> SnappedFile:
    text = str(error)
    return SnappedFile(file=file, error=text if str(file) in text else f"{file}: {text}")
