"""What nodes show on the canvas: small JSON in a node's `ui`, and pictures in the temp folder.

The pack's JavaScript (`web/`) draws it. It stands under one key, and its pictures have a "name"
where ComfyUI's own have a "filename": whatever has a "filename" is taken for a result of the run.
A run that nobody watches, as those of scripts and batches, gets none of it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from PIL import Image

from .ops.arrays import Bytes
from .ops.frames import Frame
from .ops.sheet import Sheet

Item = TypeVar("Item")

KEY = "spriteworks"

# What a node says of itself in /object_info, at its first input, so that there is room from the
# start for what it shows.
COMPARISON = {"shows": "comparison"}
RESULTS = {"shows": "results"}
ANIMATION = {"shows": "animation"}
MEASURES = {"shows": "measures"}

# Pictures of a batch that are shown; more of them are too small on a node to see.
MOST = 64
# px; larger ones are shown as every n-th pixel, so that true pixels stay what they are.
LARGEST = 1024


class ProgressBar(Protocol):
    """How far the running node is."""

    def update(self, done: int, total: int) -> None:
        """`done` of `total`, in any unit. Raises the host's own error once the run is to stop."""
        ...


class Canvas(Protocol):
    """What the nodes ask a host about whoever looks at the canvas."""

    def is_watched(self) -> bool:
        """Whether an editor that can show pictures waits for this run."""
        ...

    def temp_folder(self) -> Path:
        """Where pictures lie that are only looked at; the host empties it when it starts."""
        ...

    def progress_bar(self) -> ProgressBar:
        """That of the node which runs now."""
        ...


_installed: Canvas | None = None


def use(canvas: Canvas | None) -> None:
    """Install the host's canvas for this process; None goes back to ComfyUI's."""
    global _installed
    _installed = canvas


def current() -> Canvas:
    """The installed canvas, or ComfyUI's."""
    if _installed is not None:
        return _installed
    from .native.showing import ComfyCanvas

    return ComfyCanvas()


def counted(items: Sequence[Item]) -> Iterator[Item]:
    """Each item; before each the host is told how many are done, and may stop the run."""
    bar = current().progress_bar()
    for done, item in enumerate(items):
        bar.update(done, len(items))
        yield item


def compared(
    before: Sequence[Bytes], after: Sequence[Bytes], found: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any] | None:
    """`ui` of a node that changes pictures, uint8 [H, W, 3 or 4] each; None where nobody watches.

    `found` is what it found in each.
    """
    if not current().is_watched():
        return None
    told = {
        "kind": "compare",
        "before": [_kept(one) for one in before[:MOST]],
        "after": [_kept(one) for one in after[:MOST]],
        "found": [dict(one) for one in found[:MOST]],
        "count": len(after),
    }
    return {KEY: [told]}


def measured(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """`ui` of a node that judges pictures; a report for each. None where nobody watches."""
    if not current().is_watched():
        return None
    return {KEY: [{"kind": "quality", "pictures": [dict(one) for one in reports[:MOST]]}]}


def played(frames: Sequence[Frame], names: Mapping[str, Sequence[str]]) -> dict[str, Any] | None:
    """`ui` of a node that gives frames, by the animation; None where nobody watches."""
    if not current().is_watched():
        return None
    index = {frame.name: number for number, frame in enumerate(frames)}
    shown = {
        "kind": "animation",
        "pages": [_kept(frame.picture, largest=None) for frame in frames],
        "frames": [
            _frame(frame, page, 0, 0, frame.picture.shape[1], frame.picture.shape[0], False)
            for page, frame in enumerate(frames)
        ],
        "tags": [
            {
                "name": name,
                "frames": [index[one] for one in members],
                "loop": True,
            }
            for name, members in names.items()
        ],
    }
    return {KEY: [shown]}


def sheet_told(sheet: Sheet) -> dict[str, Any] | None:
    """What plays a sheet, whose pages are the node's pictures; None where nobody watches."""
    if not current().is_watched():
        return None
    index = {frame.name: number for number, frame in enumerate(sheet.frames)}
    return {
        "kind": "animation",
        "frames": [
            _frame(frame, at.page, at.x, at.y, at.width, at.height, at.rotated)
            for frame, at in zip(sheet.frames, sheet.placements, strict=True)
        ],
        "tags": [
            {
                "name": one.name,
                "frames": [index[name] for name in one.played],
                "loop": one.loop,
            }
            for one in sheet.animations
        ],
    }


def _frame(
    frame: Frame, page: int, x: int, y: int, width: int, height: int, rotated: bool
) -> dict[str, Any]:
    return {
        "name": frame.name,
        "page": page,
        "at": [x, y, width, height],
        "rotated": rotated,
        "offset": list(frame.offset),
        "size": list(frame.source),
        "ms": frame.duration,
    }


def _kept(picture: Bytes, largest: int | None = LARGEST) -> dict[str, Any]:
    """A picture in the temp folder, as the canvas asks for it, with its own size in px."""
    height, width = picture.shape[:2]
    step = 1 if largest is None else -(-max(height, width) // largest)
    folder = current().temp_folder()
    folder.mkdir(parents=True, exist_ok=True)
    name = f"spriteworks_{uuid.uuid4().hex}.png"
    shown = np.ascontiguousarray(picture[::step, ::step])
    Image.fromarray(shown).save(folder / name, "PNG", compress_level=1)
    return {"name": name, "subfolder": "", "type": "temp", "width": width, "height": height}
