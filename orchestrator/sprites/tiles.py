"""Closing the seams of tiles, by the file; what `spriteworks tile` does."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comfy_nodes.ops.measures.catalogue import SEAM_BOUND
from comfy_nodes.ops.tiles import close_seams as closed_seams

from .files import Names, PictureResult, Report, each_picture, write_picture

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class TileFile(PictureResult):
    """What became of one tile."""

    # the measure `seam` of the tile that was given, and of the one that is saved
    before: float | None = None
    after: float | None = None
    # the mean step across the cuts, as a multiple of the steps inside; 0 where none were made
    cut: float = 0.0
    # share of the pixels that are others now
    changed: float = 0.0

    @property
    def closed(self) -> bool:
        """Whether it goes on over its edges now."""
        return self.ok and (self.after is None or self.after <= SEAM_BOUND)

    def to_json(self) -> dict[str, Any]:
        """Shape for programs."""
        if self.saved is None:
            return {"file": str(self.file), "error": self.error}
        return {
            "file": str(self.file),
            "saved": str(self.saved),
            "closed": self.closed,
            "before": None if self.before is None else round(self.before, 4),
            "after": None if self.after is None else round(self.after, 4),
            "cut": round(self.cut, 4),
            "changed": round(self.changed, 4),
        }


def close_seams(
    pictures: Names,
    out: str | os.PathLike[str],
    *,
    report: Report[TileFile] | None = None,
) -> list[TileFile]:
    """Let each tile go on over its edges, and write it as NAME.png in the folder `out`.

    Where the measure `seam` is above 2, a strip along the edge is replaced by one from inside the
    tile, along cuts at which they differ least: no colour comes in, nothing is blurred, and the
    middle stays as it is. Other tiles stay as they are. `report` is called with each result, how
    many there are by now, and of how many.

    A tile that cannot be worked on is told in its result, and the others go on. Raises UsageError
    before anything is written, and OutputError where a result cannot be.
    """

    def work(picture: NDArray[np.uint8], file: Path, target: Path) -> TileFile:
        made = closed_seams(picture)
        write_picture(made.picture, target)
        return TileFile(
            file=file,
            saved=target,
            before=made.before,
            after=made.after,
            cut=made.cut,
            changed=made.changed,
        )

    return each_picture(pictures, out, work, TileFile, report)
