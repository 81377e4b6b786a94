"""What a run gives: its pictures, and all that run.json says of them."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..client.client import writing
from ..client.timings import Timings
from ..memory import MemoryUse
from ..workflow.values import Held

if TYPE_CHECKING:
    from PIL.Image import Image


class TemporaryFolder:
    """A folder that is removed with the last that refers to it, at the latest as Python ends."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="spriteworks-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)

    def __deepcopy__(self, memo: Any) -> TemporaryFolder:
        return self


@dataclass(frozen=True, kw_only=True)
class ServerInfo:
    """Which server made it."""

    url: str
    # "comfyui" or "spriteworks-engine"
    kind: str
    version: str
    # as the server names it, for example "cuda:0 NVIDIA H200" or "cpu"
    device: str


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One file that a run made, nearly always a picture."""

    # as the server named it; in an output folder perhaps with another number. Files of a sheet have
    # its folder before it, with /; all others none
    name: str
    # where it lies; without an output folder only as long as what the run gave is kept
    path: Path
    # lower-case hexadecimal, of the file
    sha256: str
    # the id of the node that saved it
    node: str
    # px; None for what is no picture, such as a film or a sound
    width: int | None
    height: int | None
    # None where no single seed made it
    seed: int | None
    # keeps the folder of `path` for as long as this is kept
    held: Any = field(default=None, repr=False, compare=False)

    def __copy__(self) -> Picture:
        return self

    def __deepcopy__(self, memo: Any) -> Picture:
        return self

    def __getstate__(self) -> dict[str, Any]:
        """For pickle: one in a temporary folder takes its file along, into another process."""
        content = None if self.held is None else self.content
        return {**vars(self), "held": content}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Put the file that came along into a temporary folder of its own."""
        content = state["held"]
        if content is not None:
            held = TemporaryFolder()
            path = held.path / state["name"]
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
            state = {**state, "held": held, "path": path}
        vars(self).update(state)

    @property
    def content(self) -> bytes:
        """The file, byte by byte, with the workflow in it as the server wrote it."""
        return self.path.read_bytes()

    def image(self) -> Image:
        """The picture, decoded; import Pillow to do more with it."""
        import PIL.Image

        with PIL.Image.open(self.path) as picture:
            picture.load()
            return picture

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the file, byte by byte, to `path`, whole or not at all; returns the path.

        A folder keeps the picture's own name. Raises OutputError where it cannot be written.
        """
        target = Path(path)
        target = target / self.name if target.is_dir() else target
        with writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            number, part = tempfile.mkstemp(prefix=".spriteworks-", dir=target.parent)
            os.close(number)
            try:
                shutil.copyfile(self.path, part)
                os.replace(part, target)
            except BaseException:
                Path(part).unlink(missing_ok=True)
                raise
        return target


@dataclass(frozen=True, kw_only=True)
class Made:
    """What a run gave. Times are in s, memory in bytes."""

    # the id of the job on its server
    id: str
    server: ServerInfo
    # the workflow's file, and the lower-case hexadecimal SHA-256 of its content
    workflow: Path
    workflow_sha256: str
    # what was left out or ignored, a sentence each
    notes: tuple[str, ...]
    # what each role had, for example {"prompt": "a potion", "seed": 7}; where nodes differ, a
    # value by "NODE.input"; None where the value follows the model and the server did not tell it
    parameters: Mapping[str, Held]
    pictures: tuple[Picture, ...]
    timings: Timings
    # None where it was not measured
    memory: MemoryUse | None = None
    # what SpriteworksMemoryReport nodes told: their labels, and figures in bytes
    reports: tuple[Mapping[str, str | int | None], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Shape of run.json."""
        memory = {} if self.memory is None else self.memory.to_json()
        return {
            "prompt_id": self.id,
            "server": vars(self.server),
            "workflow": {"file": str(self.workflow), "sha256": self.workflow_sha256},
            "notes": list(self.notes),
            "parameters": dict(self.parameters),
            "artifacts": [_artifact(picture) for picture in self.pictures],
            "timings": self.timings.to_json(),
            "memory": {**memory, "reports": [dict(report) for report in self.reports]},
        }


def _artifact(picture: Picture) -> dict[str, Any]:
    names = ("sha256", "node", "width", "height", "seed")
    return {"file": picture.name, **{name: getattr(picture, name) for name in names}}
