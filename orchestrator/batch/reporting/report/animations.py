"""The animations of a batch: pictures that its manifest makes frames of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...logic.manifest.manifest import Export, SheetExport
from ..export import exported_pictures
from .history import File

# Frames of which one is no animation.
_FEWEST = 2


@dataclass(frozen=True, kw_only=True)
class ReportAnimation:
    """Pictures that follow on each other."""

    name: str
    # of each frame: its path inside the batch folder, with "/", its width and height in px
    frames: Sequence[tuple[str, int, int]]
    # of a frame in ms
    duration: int
    # played there and back
    is_pingpong: bool
    # played again from its start
    is_loop: bool


def animations(folder: Path, export: Export | None, files: Iterable[File]) -> list[ReportAnimation]:
    """The animations among the pictures of a batch; none where its manifest makes no frames.

    Which pictures are one is said by their names, as the exported sheet has it. Frames are what the
    export made of them, where that is there.
    """
    if export is None or not (export.sheet or export.align or export.sequence):
        return []
    # 0.2 s to import
    from ....sprites.sheets import sources_in

    sheet = export.sheet or SheetExport.model_validate({"for": ["contact"]})
    known = {one.path: one for one in files}
    finished = exported_pictures(folder, known)
    groups: dict[str, list[tuple[str, int, int]]] = {}
    for source in sources_in(folder, known):
        path = source.file.relative_to(folder).as_posix()
        if source.group is not None:
            raw = (path, known[path].width, known[path].height)
            groups.setdefault(source.group, []).append(finished.get(path, raw))
    return [
        ReportAnimation(
            name=name,
            frames=frames,
            duration=round(1000 / sheet.fps),
            is_pingpong=name in sheet.pingpong,
            is_loop=name not in sheet.once,
        )
        for name, frames in groups.items()
        if len(frames) >= _FEWEST
    ]
