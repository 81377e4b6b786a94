"""The files that a plan was made from, and whether they are still the same."""

from __future__ import annotations

import codecs
import errno
import glob
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from ...workflow.graph import sha256_of

# A manifest or a workflow that is larger is none; item files may have any size.
MOST_BYTES = 1 << 30


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
        """The text of a file, see `encoding_of`; raises OSError and UnicodeDecodeError."""
        content = self.content(path)
        return content.decode(encoding_of(content))

    def content(self, path: Path) -> bytes:
        """The content of a file, a text or not; raises OSError, also where it is too large."""
        check_readable(path)
        if path.stat().st_size > MOST_BYTES:
            raise OSError(f"it is larger than {MOST_BYTES >> 20} MiB")
        found = path.read_bytes()
        self._seen[_text_name(path)] = hashlib.sha256(found).hexdigest()
        return found

    @contextmanager
    def opened(self, path: Path) -> Iterator[TextIO]:
        """A file of any size as a text, its line ends as they are; raises OSError."""
        check_readable(path)
        self._seen[_text_name(path)] = file_sha256(path)
        with path.open("rb") as file:
            encoding = encoding_of(file.read(4))
        with path.open(encoding=encoding, newline="") as text:
            yield text

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
            return _stamp(Path(rest)) if kind == "file" else file_sha256(Path(rest))
        except (OSError, ValueError):
            return ""


def encoding_of(begin: bytes) -> str:
    """The encoding that the first bytes of a text tell of: what its mark says, else UTF-8.

    Spreadsheets write UTF-16 where they say "Unicode text".
    """
    if begin.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if begin.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return "utf-8-sig"


def check_readable(path: Path) -> None:
    """Raise OSError where a path is no file that ends: opening a pipe would wait for ever."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder; name a file in it")
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is a pipe or a device, and no file")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits; raises OSError."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            sha.update(chunk)
    return sha.hexdigest()


def text_of(error: Exception) -> str:
    """Why a file could not be read, in words."""
    if isinstance(error, UnicodeError):
        return 'it is no UTF-8 text; save it as "CSV UTF-8", or as UTF-8 in an editor'
    return str(getattr(error, "strerror", None) or error)


def _text_name(path: Path) -> str:
    return f"text:{path.resolve()}"


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
