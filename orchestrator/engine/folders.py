"""Where the server's files lie; names from outside never leave the folder they belong to."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..errors import InputError, ModelError, OutputError
from ..protocol.http import annotated
from ..workflow.wording import did_you_mean, listed

# pickles are listed only where a loader asks for them by their suffixes: one can hold code
MODEL_SUFFIXES = (".safetensors", ".sft")
# laid out like ComfyUI's models folder
MODEL_KINDS = ("checkpoints", "loras", "vae", "embeddings", "diffusers")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")

# letters of a name from outside that a message shows
_SHOWN = 200


class OutsideFolder(InputError):
    """A name from outside that points out of its folder."""


def inside(folder: Path, *parts: str) -> Path:
    """Join `parts` to `folder`; raises OutsideFolder where the result is not in it.

    So it does for what cannot be a file's name here, because it is too long or no text.
    """
    shown = repr("/".join(parts))[:_SHOWN]
    root = folder.resolve()
    try:
        "".join(parts).encode()
        path = root.joinpath(*(part.replace("\\", "/") for part in parts)).resolve()
        if not path.is_relative_to(root):
            raise OutsideFolder(f"the name {shown} leaves its folder; use a plain name")
        # The system alone knows how long names may be: all of it, and each, which is asked for in a
        # folder that is there, since it looks at no name in another.
        there = next(each for each in (root, *root.parents) if each.is_dir())
        for name in (str(path), *path.relative_to(there).parts):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                (there / name).lstat()
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "no file name"
        raise OutsideFolder(f"the name {shown} cannot be used: {reason}") from error
    return path


@dataclass(frozen=True, kw_only=True)
class Folders:
    """The folders of one server. `model_roots` are searched in order, kind by kind."""

    input: Path
    output: Path
    temp: Path
    model_roots: Sequence[Path] = ()
    # more folders of one kind, for example the bundled model under "diffusers"
    extra_models: Mapping[str, Sequence[Path]] = field(default_factory=dict)

    def resolved(self) -> Folders:
        """The same with absolute paths, so that a change of directory does not matter."""
        return replace(
            self,
            input=self.input.expanduser().resolve(),
            output=self.output.expanduser().resolve(),
            temp=self.temp.expanduser().resolve(),
            model_roots=[root.expanduser().resolve() for root in self.model_roots],
        )

    def create(self) -> None:
        """Make the three folders; raises OutputError, and leaves none, where one cannot be made."""
        made: list[Path] = []
        for folder in (self.input, self.output, self.temp):
            missing = [path for path in (folder, *folder.parents) if not path.exists()]
            made[:0] = missing
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                for path in made:
                    with contextlib.suppress(OSError):
                        path.rmdir()
                raise OutputError(
                    f"the folder {folder} cannot be made: {error.strerror}; name another one"
                ) from error

    def of_type(self, name: str) -> Path:
        """The folder called "input", "output" or "temp"; raises OutsideFolder for another name."""
        if name not in ("input", "output", "temp"):
            raise OutsideFolder(
                f"there is no folder of type {name[:_SHOWN]!r}: input, output or temp"
            )
        found: Path = getattr(self, name)
        return found

    def input_file(self, name: str) -> Path:
        """The path of an input picture "name" or "name [temp]"; raises InputError if missing."""
        plain, kind = annotated(name, "input")
        path = inside(self.of_type(kind), plain)
        if not path.is_file():
            raise InputError(f"there is no file {plain!r} in the {kind} folder; upload it first")
        return path

    def input_images(self) -> list[str]:
        """Names of the pictures in the input folder, without its subfolders."""
        if not self.input.is_dir():
            return []
        named = (path for path in self.input.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
        return sorted(path.name for path in filter(is_usable, named))

    def subfolder(self, folder: Path, kind: str) -> str:
        """A folder relative to the one of that type, as file references name it."""
        name = folder.relative_to(self.of_type(kind).resolve()).as_posix()
        return "" if name == "." else name

    def models(self, kind: str, suffixes: Collection[str] = MODEL_SUFFIXES) -> dict[str, Path]:
        """Every model of a kind ("checkpoints", "diffusers", ...): its name and its path."""
        found: dict[str, Path] = {}
        for folder in self.model_folders(kind):
            listed = _diffusers(folder) if kind == "diffusers" else _files(folder, suffixes)
            for path in listed:
                found.setdefault(path.relative_to(folder).as_posix(), path)
        return dict(sorted(found.items()))

    def model_folders(self, kind: str) -> list[Path]:
        """The folders in which models of a kind are looked for."""
        return [root / kind for root in self.model_roots] + list(self.extra_models.get(kind, ()))

    def find(self, kind: str, name: str) -> Path:
        """The path of a model; raises ModelError, which names the models there are."""
        found = self.models(kind)
        if name in found:
            return found[name]
        raise ModelError(
            f"there is no model {name!r} under {kind}{did_you_mean(name, found)}; there are: "
            f"{listed(found)}"
        )

    def next_image(self, prefix: str, kind: str, width: int, height: int) -> tuple[Path, str, int]:
        """Where the next numbered picture goes: (folder, file name without number, number).

        `prefix` may hold a subfolder and %width%, %height%, %year%, %month%, %day%, %hour%,
        %minute% and %second%, as in ComfyUI. Makes the folder.
        """
        root = self.of_type(kind)
        path = inside(root, _fill_in(prefix, width, height))
        folder, name = path.parent, path.name
        if path == root.resolve():
            raise OutsideFolder(f"the filename prefix {prefix!r} has no file name")
        folder.mkdir(parents=True, exist_ok=True)
        taken = re.compile(re.escape(name) + r"_(\d+)_?[^/]*", re.IGNORECASE)
        numbers = [int(match[1]) for match in map(taken.fullmatch, _names(folder)) if match]
        return folder, name, max(numbers, default=0) + 1


def is_usable(path: Path) -> bool:
    """Whether a name stands for a file with content: a regular one, or a link to one.

    What only looks so (a pipe, a socket, a device, a folder, a link to nothing) may keep who opens
    it waiting for ever. A name that is no text could not be sent to anybody.
    """
    try:
        str(path).encode()
        return path.is_file()
    except (OSError, ValueError):
        return False


def _names(folder: Path) -> Iterator[str]:
    return (path.name for path in folder.iterdir())


def _fill_in(prefix: str, width: int, height: int) -> str:
    values = {"width": str(width), "height": str(height)}
    for name, code in zip(
        ("year", "month", "day", "hour", "minute", "second"), "YmdHMS", strict=True
    ):
        values[name] = time.strftime(f"%{code}")
    for name, value in values.items():
        prefix = prefix.replace(f"%{name}%", value)
    return prefix


def _files(folder: Path, suffixes: Collection[str]) -> list[Path]:
    if not folder.is_dir():
        return []
    found = (path for path in folder.rglob("*") if path.suffix.lower() in suffixes)
    return list(filter(is_usable, found))


def _diffusers(folder: Path) -> list[Path]:
    # Two levels: "name" and "owner/name". Deeper ones would find the parts of a model.
    if not folder.is_dir():
        return []
    indices = [*folder.glob("*/model_index.json"), *folder.glob("*/*/model_index.json")]
    return [index.parent for index in indices if is_usable(index)]
