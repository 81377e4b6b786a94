"""The files that a plan was made from, and whether they are still the same."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...workflow.graph import sha256_of


class Sources:
    """Reads files for a plan and keeps what it saw, so that a resume need not plan again.

    Texts are known by their hash; pictures, of which there may be thousands, by size and time.
    """

    def __init__(self, folder: Path) -> None:
        # patterns are seen from here
        self._folder = folder
        self._seen: dict[str, str] = {}
        self._found: dict[str, list[str]] = {}

    def read(self, path: Path) -> str:
        """The text of a UTF-8 file, without a byte order mark; raises OSError and ValueError."""
        text = _text(path)
        self._seen[_text_name(path)] = sha256_of(text)
        return text

    def content(self, path: Path) -> bytes:
        """The content of a file, a text or not; raises OSError."""
        found = path.read_bytes()
        try:
            self._seen[_text_name(path)] = sha256_of(found.decode("utf-8-sig"))
        except UnicodeDecodeError:
            self.add_file(path)
        return found

    def add_file(self, path: Path) -> None:
        """Count on a file that somebody else reads."""
        self._seen[f"file:{path.resolve()}"] = _stamp(path)

    def find(self, pattern: str) -> list[str]:
        """The files that match `pattern` (`*`, `?`, `[a-z]`, `**` for folders), sorted."""
        if pattern not in self._found:
            found = _matches(self._folder, pattern)
            self._found[pattern] = found
            self._seen[f"find:{pattern}"] = _stamps(found)
        return self._found[pattern]

    def digest(self, path: Path) -> str:
        """SHA-256 of a picture that goes in, 64 hex digits; raises OSError."""
        self.add_file(path)
        return file_sha256(path)

    def seen(self) -> dict[str, str]:
        """What was seen so far, to be kept with the plan."""
        return dict(self._seen)

    def unchanged(self, manifest: Path, seen: Mapping[str, str]) -> bool:
        """True where all that a plan of this manifest saw, see `seen`, is still so."""
        return _text_name(manifest) in seen and all(
            self._now(name) == stamp for name, stamp in seen.items()
        )

    def _now(self, name: str) -> str:
        kind, _, rest = name.partition(":")
        if kind == "find":
            return _stamps(_matches(self._folder, rest))
        try:
            return _stamp(Path(rest)) if kind == "file" else sha256_of(_text(Path(rest)))
        except (OSError, ValueError):
            return ""


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits; raises OSError."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            sha.update(chunk)
    return sha.hexdigest()


def text_of(error: Exception) -> str:
    """Why a file could not be read, in words."""
    if isinstance(error, UnicodeDecodeError):
        return "it is no UTF-8 text"
    return str(getattr(error, "strerror", None) or error)


def _text_name(path: Path) -> str:
    return f"text:{path.resolve()}"


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8-sig")


def _matches(folder: Path, pattern: str) -> list[str]:
    whole = os.path.join(glob.escape(str(folder.resolve())), pattern)
    return sorted(path for path in glob.glob(whole, recursive=True) if os.path.isfile(path))


def _stamps(paths: Sequence[str]) -> str:
    return sha256_of("\n".join(f"{path} {_stamp(Path(path))}" for path in paths))


def _stamp(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return "gone"
    return f"{status.st_size} {status.st_mtime_ns}"
