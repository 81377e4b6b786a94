"""What a run leaves in its output folder: all of it, or nothing.

Files are gathered in a temporary folder beside the output folder, on the same disk, and moved in
when everything is there; run.json comes last.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from ..client.client import writing

RUN_FILE = "run.json"

# ComfyUI's own numbering: prefix_00001_.png
_NUMBERED = re.compile(r"(?P<stem>.*_)(?P<number>\d{5,})(?P<rest>_\.[^.]*)")


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """One file that a run made. `width` and `height` are in px, None for what is no picture."""

    file: str
    sha256: str
    node: str
    width: int | None
    height: int | None
    # None where no single seed made it
    seed: int | None


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """One downloaded file that waits in the staging folder."""

    path: Path
    # as the server calls it, without folders
    name: str
    node: str
    seed: int | None


class Outputs:
    """The output folder of one run and its staging folder."""

    def __init__(self, folder: Path, staging: Path) -> None:
        self.folder = folder
        self.staging = staging

    def place(self, files: Sequence[Gathered]) -> list[Artifact]:
        """Choose each file's final name; nothing is moved yet."""
        taken: dict[str, str] = {}
        return [self._artifact(file, taken) for file in files]

    def publish(self, files: Sequence[Gathered], result: dict[str, Any]) -> None:
        """Move everything in, the record of the run last; on an error nothing stays."""
        record = self.staging / RUN_FILE
        with writing(self.folder):
            text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
            record.write_text(text, encoding="utf-8")
            self.folder.mkdir(parents=True, exist_ok=True)
            moved: list[Path] = []
            try:
                for file, artifact in zip(files, result["artifacts"], strict=True):
                    target = self.folder / artifact["file"]
                    if not target.exists():
                        moved.append(target)
                    os.replace(file.path, target)
                os.replace(record, self.folder / RUN_FILE)
            except BaseException:
                for path in moved:
                    path.unlink(missing_ok=True)
                raise

    def _artifact(self, file: Gathered, taken: dict[str, str]) -> Artifact:
        digest = sha256_of_file(file.path)
        for name in names(file.name):
            known = taken.get(name) or _sha256_if_there(self.folder / name)
            # The same content under the same name is the same file: a repeated run.
            if known is None or (known == digest and name not in taken):
                break
        taken[name] = digest
        width, height = size_of(file.path)
        return Artifact(
            file=name, sha256=digest, node=file.node, width=width, height=height, seed=file.seed
        )


@contextmanager
def outputs(folder: Path) -> Iterator[Outputs]:
    """Open an output folder for a run; raises OutputError at once where it cannot be written."""
    folder = folder.absolute()
    existing = next(path for path in (folder.parent, *folder.parents) if path.exists())
    with writing(folder):
        if folder.exists() and not folder.is_dir():
            raise FileExistsError(None, "it is a file, not a folder")
        parent = folder if folder.is_dir() else existing
        staging = Path(tempfile.mkdtemp(prefix=".spriteworks-", dir=parent))
    try:
        yield Outputs(folder, staging)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def plain_name(name: str) -> str:
    """The last part of a name from outside, which then cannot leave the output folder."""
    last = PureWindowsPath(PurePosixPath(name).name).name
    return last if last not in ("", ".", "..") else "file"


def names(name: str) -> Iterator[str]:
    """Yield `name`, then the next ones to try where it is taken, without end."""
    yield name
    numbered = _NUMBERED.fullmatch(name)
    if numbered:
        stem, number, rest = numbered.group("stem", "number", "rest")
        width = len(number)
        count = int(number)
        while True:
            count += 1
            yield f"{stem}{count:0{width}}{rest}"
    stem, dot, suffix = name.rpartition(".") if "." in name else (name, "", "")
    count = 1
    while True:
        count += 1
        yield f"{stem}-{count}{dot}{suffix}"


def sha256_of_file(path: Path) -> str:
    """The lower-case hexadecimal SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def size_of(path: Path) -> tuple[int | None, int | None]:
    """(width, height) of a picture in px; (None, None) for what is none."""
    # 50 ms to import; the engine's start hides it.
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None, None


def _sha256_if_there(path: Path) -> str | None:
    return sha256_of_file(path) if path.is_file() else None
