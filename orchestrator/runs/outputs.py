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

from ..client.client import writing
from .fetching import Fetched, store
from .made import Made, Picture, TemporaryFolder

RUN_FILE = "run.json"

# ComfyUI's own numbering: prefix_00001_.png; a sheet's folder is prefix_00001_
_NUMBERED = re.compile(r"(?P<stem>.*_)(?P<number>\d{5,})(?P<rest>_(\.[^.]*)?)")


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """One file of a run that waits in the staging folder."""

    path: Path
    # as the server calls it, without folders, with the suffix of what it is
    name: str
    # lower-case hexadecimal, of the file
    sha256: str
    # px; None for what is no picture
    width: int | None
    height: int | None
    node: str
    seed: int | None
    # what it goes into in the output folder, without folders; "" for none. All files of one node in
    # one folder keep their names, as they name each other
    folder: str = ""


class Outputs:
    """The output folder of one run and its staging folder."""

    def __init__(self, folder: Path, staging: Path, held: object = None) -> None:
        self._held = held
        self._gathered = 0
        self.folder = folder
        self.staging = staging

    def place(self, files: Sequence[Gathered]) -> list[Picture]:
        """Choose each file's final name; nothing is moved yet."""
        taken: dict[str, str] = {}
        folders: dict[tuple[str, str], str] = {}
        for file in files:
            if file.folder and (file.node, file.folder) not in folders:
                own = [one for one in files if (one.node, one.folder) == (file.node, file.folder)]
                used = set(folders.values())
                folders[file.node, file.folder] = self._free_folder(file.folder, own, used)
        return [
            self._in_folder(file, folders[file.node, file.folder])
            if file.folder
            else self._picture(file, taken)
            for file in files
        ]

    def gather(
        self, fetched: Fetched, name: str, node: str, seed: int | None, folder: str = ""
    ) -> Gathered:
        """Keep a file that came under its server's `name`; raises OutputError."""
        self._gathered += 1
        path = self.staging / f"{self._gathered:06}"
        store(fetched.content, f"{path}.part", str(path))
        found = fetched.look
        return Gathered(
            path=path,
            name=str(Path(plain_name(name)).with_suffix(fetched.suffix)),
            sha256=fetched.sha256,
            width=found.width if found else None,
            height=found.height if found else None,
            node=node,
            seed=seed,
            folder=plain_name(folder) if folder else "",
        )

    def publish(self, files: Sequence[Gathered], made: Made) -> None:
        """Move everything in, the record of the run last; on an error nothing stays."""
        record = self.staging / RUN_FILE
        with writing(self.folder):
            text = json.dumps(made.to_json(), indent=2, ensure_ascii=False) + "\n"
            record.write_text(text, encoding="utf-8")
            self.folder.mkdir(parents=True, exist_ok=True)
            moved: list[Path] = []
            made_folders: list[Path] = []
            try:
                for file, picture in zip(files, made.pictures, strict=True):
                    if not picture.path.parent.exists():
                        picture.path.parent.mkdir()
                        made_folders.append(picture.path.parent)
                    if not picture.path.exists():
                        moved.append(picture.path)
                    os.replace(file.path, picture.path)
                os.replace(record, self.folder / RUN_FILE)
            except BaseException:
                for path in moved:
                    path.unlink(missing_ok=True)
                for path in made_folders:
                    path.rmdir()
                raise

    def _picture(self, file: Gathered, taken: dict[str, str]) -> Picture:
        digest = file.sha256
        for name in names(file.name):
            known = taken.get(name) or _sha256_if_there(self.folder / name)
            # The same content under the same name is the same file: a repeated run.
            if known is None or (known == digest and name not in taken):
                break
        taken[name] = digest
        return self._placed(file, name)

    def _free_folder(self, folder: str, files: Sequence[Gathered], used: set[str]) -> str:
        """The first folder name in which no file is in the way of one of these."""
        for name in names(folder):
            place = self.folder / name
            there = [_sha256_if_there(place / file.name) for file in files]
            clear = all(
                known in (None, file.sha256) for known, file in zip(there, files, strict=True)
            )
            if name not in used and clear and (place.is_dir() or not place.exists()):
                return name
        raise AssertionError("names() has no end")

    def _in_folder(self, file: Gathered, folder: str) -> Picture:
        return self._placed(file, f"{folder}/{file.name}")

    def _placed(self, file: Gathered, name: str) -> Picture:
        return Picture(
            name=name,
            path=self.folder / name,
            sha256=file.sha256,
            node=file.node,
            width=file.width,
            height=file.height,
            seed=file.seed,
            held=self._held,
        )


@contextmanager
def outputs(folder: Path | None) -> Iterator[Outputs]:
    """Open an output folder for a run; raises OutputError at once where it cannot be written.

    None makes a temporary one, which is there for as long as a picture of the run is kept.
    """
    held = None
    if folder is None:
        held = TemporaryFolder()
        folder = held.path
    folder = folder.absolute()
    existing = next(path for path in (folder.parent, *folder.parents) if path.exists())
    with writing(folder):
        if folder.exists() and not folder.is_dir():
            raise FileExistsError(None, "it is a file, not a folder")
        parent = folder if folder.is_dir() else existing
        staging = Path(tempfile.mkdtemp(prefix=".spriteworks-", dir=parent))
    try:
        yield Outputs(folder, staging, held)
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


def _sha256_if_there(path: Path) -> str | None:
    return sha256_of_file(path) if path.is_file() else None
