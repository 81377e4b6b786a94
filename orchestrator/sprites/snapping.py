"""From pictures of fake pixels to their true ones, by the file; what `spriteworks snap` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comfy_nodes.ops.cutout import CutoutOptions as Cutout

from ..errors import UsageError
from .files import Names, PictureResult, Report
from .finishing import Finish, FinishedPicture, KnownGrid, Size, dithering
from .palettes import Source, check_own, hex_list, palette_or_count
from .together import Looked, finish_files

if TYPE_CHECKING:
    import os


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
    # what it was painted with, as "#1a2b3c"; None where with nothing
    palette: tuple[str, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """Shape for programs."""
        if self.saved is None:
            return {"file": str(self.file), "error": self.error}
        used = {} if self.palette is None else {"palette": list(self.palette)}
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
            **used,
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
    cutout: bool = False,
    palette: Source | int | None = None,
    dither: str = "none",
    own_palettes: bool = False,
    report: Report[SnappedFile] | None = None,
    looked: Looked | None = None,
    jobs: int = 1,
) -> list[SnappedFile]:
    """Find the grid of each picture, and write its true pixels as NAME.png in the folder `out`.

    `pictures` are files and folders. `size` is the true width in pixels, or width and height,
    `pitch` the side of a fake pixel in px, where they are known. `scale` enlarges each true pixel.
    `colour` is how a cell gets its own: "median", "mode" or "k-centroid". With `sequence` all
    pictures are frames of one animation, of one size, and get one pitch, phase and size.

    `cutout` takes away the background of the true pixels. `palette` paints them: one as
    `read_palette` takes it, or how many colours to find, which are the same for all pictures unless
    they are to have `own_palettes`. `dither` is "none", "bayer-2", "bayer-4", "bayer-8" or
    "floyd-steinberg".

    `report` is called with each result, how many there are by now, and of how many; `looked` before
    that, with how many pictures were looked at for a palette in common, and of how many.

    With several `jobs` as many processes work. They import the main script anew, so it must have
    its `if __name__ == "__main__"`. The frames of a sequence are one job.

    A picture that cannot be snapped is told in its result, and the others go on. Raises UsageError
    before anything is written, and OutputError where a result cannot be.
    """
    finish = Finish(
        grid=KnownGrid.of(size, pitch, colour),
        cutout=Cutout() if cutout else None,
        palette=None if palette is None else palette_or_count(palette),
        dither=dithering(dither),
        scale=scale,
    )
    check_own(finish, own_palettes)
    if own_palettes and sequence:
        raise UsageError("the frames of a sequence have one palette, or its colours would flicker")
    return finish_files(
        pictures,
        out,
        finish,
        snapped_file,
        SnappedFile,
        sequence=sequence,
        own_palettes=own_palettes,
        report=report,
        looked=looked,
        jobs=jobs,
    )


def snapped_file(file: Path, target: Path, one: FinishedPicture) -> SnappedFile:
    """What is told of a picture that went through the chain, and whose result is at `target`."""
    found = one.found
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
        palette=None if one.palette is None else hex_list(one.palette),
    )
