"""Where the bytes of files lie: a folder, or a bucket, each content once, named by its BLAKE3 hash.

What comes is written to a part file on a local disk, hashed and counted on the way, so that neither
its length nor its hash need be believed and none of it is held in memory. Only when it is whole, it
gets its name: in a folder by a rename on the same disk, in a bucket by an upload. What a killed
process leaves behind is a part, never half a content. A rename itself is not waited for, no more
than the record waits for its disk: a power cut may take both back.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from ..errors import BadValue, NotFound, OutputError, SpriteworksError, TooLarge, UsageError
from ..extras import install_line, needed

if TYPE_CHECKING:
    from blake3 import blake3

# bytes that are read at a time
CHUNK = 256 * 1024
# Before the hash in every name of a content; Comfy API v2 has no other.
ALGORITHM = "blake3"

_PARTS = ".parts"
_HASH = re.compile(f"{ALGORITHM}:([0-9a-f]{{64}})")
_NAME = re.compile("[0-9a-f]{64}")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
# s after which a part is a dead process's
ABANDONED = 3600.0


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A content that is kept."""

    # "blake3:" and 64 lower-case hexadecimal digits
    hash: str
    # bytes
    size: int


def checked_hash(text: str) -> str:
    """A hash as it is written here; raises BadValue for anything else, such as a path."""
    if _HASH.fullmatch(text) is None:
        raise BadValue("a hash is written blake3: and 64 lower-case hexadecimal digits")
    return text


class PendingContent:
    """A content on its way: written on, then kept under its hash or dropped.

        with storage.receive(limit) as part:
            part.write(b"...")
            stored = storage.keep(part)

    It is not for several threads at once.
    """

    def __init__(self, stream: BinaryIO, path: Path, limit: int | None) -> None:
        self.path = path
        self.size = 0
        # whether its content is kept already
        self.is_prepared = False
        self._stream = stream
        self._limit = limit
        self._hasher: blake3 = _hasher()
        self._start = b""

    def write(self, chunk: bytes) -> None:
        """Add bytes; raises TooLarge before the limit is passed, OutputError for a full disk."""
        if self._limit is not None and self.size + len(chunk) > self._limit:
            raise TooLarge(f"that is more than the {self._limit:,} bytes that a file may have")
        with _written(self.path):
            # all of it: the stream has no buffer that would be lost with an error at its end
            left = memoryview(chunk)
            while left:
                left = left[self._stream.write(left) :]
        self._hasher.update(chunk)
        self.size += len(chunk)

    @property
    def hash(self) -> str:
        """Of what was written so far."""
        return f"{ALGORITHM}:{self._hasher.hexdigest()}"

    def finish(self) -> None:
        """See that every byte is on the disk itself; nothing more may be written."""
        if not self._stream.closed:
            with _written(self.path):
                os.fsync(self._stream.fileno())
                self._stream.close()

    def drop(self) -> None:
        """Remove what is left of it."""
        self._stream.close()
        self.path.unlink(missing_ok=True)


class Chunks(Iterator[bytes]):
    """The bytes of a content from one place to another, opened already; close it when done."""

    def __init__(self, stream: Any, left: int, name: str) -> None:
        self._stream = stream
        self._left = left
        self._name = name

    def __next__(self) -> bytes:
        if self._left <= 0:
            self.close()
            raise StopIteration
        with _read(self._name):
            chunk = bytes(self._stream.read(min(CHUNK, self._left)))
        if not chunk:
            self.close()
            raise OutputError(f"{self._name} ends {self._left} bytes early; it is damaged")
        self._left -= len(chunk)
        return chunk

    def close(self) -> None:
        self._stream.close()

    def __enter__(self) -> Chunks:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Place(Protocol):
    """Where contents lie, by the 64 digits of their hashes."""

    # where parts are written
    parts: Path
    is_far: bool

    def size(self, name: str) -> int | None: ...

    def adopt(self, part: Path, name: str) -> None: ...

    def open(self, name: str) -> Any: ...

    def delete(self, name: str) -> bool: ...

    def names(self, older_than: float) -> Iterable[str]: ...


class Storage:
    """The contents at a URL: a folder, `file://`, `s3://BUCKET/PREFIX`, or what else fsspec knows.

    Safe for several threads and processes at one place. Raises UsageError for a URL that cannot be
    used, OutputError for a folder that cannot be written; `options` go to fsspec.
    """

    def __init__(self, url: str | Path, **options: Any) -> None:
        text = str(url)
        scheme = _SCHEME.match(text)
        if isinstance(url, Path) or scheme is None:
            self._place: _Place = _Folder(Path(url))
        elif scheme[1].lower() == "file":
            self._place = _Folder(Path(text[len(scheme[0]) :]))
        else:
            self._place = _Remote(text, options)
        self.url = text

    # ----------------------------------------------------------------------- in

    def receive(self, limit: int | None = None) -> AbstractContextManager[PendingContent]:
        """A part to write on, of at most `limit` bytes; dropped at the end where it is not kept."""
        return self._received(limit)

    @contextmanager
    def _received(self, limit: int | None) -> Iterator[PendingContent]:
        with _written(self._place.parts):
            number, path = tempfile.mkstemp(dir=self._place.parts)
            part = PendingContent(os.fdopen(number, "wb", buffering=0), Path(path), limit)
        try:
            yield part
        finally:
            part.drop()

    @property
    def folder(self) -> Path | None:
        """The folder where the contents lie; None where that is none of this machine's."""
        return self._place.root if isinstance(self._place, _Folder) else None

    @property
    def is_far(self) -> bool:
        """Whether keeping a part and asking for a content take a network's time, not a rename's."""
        return self._place.is_far

    def keep(self, part: PendingContent) -> Stored:
        """Give a part its name, or drop it where the content is there already.

        Raises OutputError where that fails, and then nothing has changed.
        """
        part.finish()
        stored = Stored(hash=part.hash, size=part.size)
        name = _name(stored.hash)
        # A file of another length is a damaged one, which the right one takes the place of.
        if self._place.size(name) != part.size:
            self._place.adopt(part.path, name)
        return stored

    def put(self, source: bytes | BinaryIO | Iterable[bytes], limit: int | None = None) -> Stored:
        """Keep the bytes of a source; raises TooLarge where there are more than `limit`."""
        with self.receive(limit) as part:
            for chunk in chunks_of(source):
                part.write(chunk)
            return self.keep(part)

    # ---------------------------------------------------------------------- out

    def open(self, hash: str, start: int = 0, stop: int | None = None) -> Chunks:
        """The bytes from `start` to before `stop`, or to the end.

        What is opened can be read to its end although it is deleted meanwhile, where it lies in a
        folder. Raises NotFound where nothing of that hash is there.
        """
        name = _name(checked_hash(hash))
        size = self._place.size(name)
        if size is None:
            raise NotFound(f"there is no content {hash}")
        end = size if stop is None else min(stop, size)
        with _read(hash):
            stream = self._place.open(name)
            stream.seek(start)
        return Chunks(stream, end - start, hash)

    def read(self, hash: str) -> bytes:
        """All of a content."""
        with self.open(hash) as chunks:
            return b"".join(chunks)

    def has(self, hash: str) -> bool:
        return self.size(hash) is not None

    def size(self, hash: str) -> int | None:
        """Bytes of a content; None where it is not there."""
        return self._place.size(_name(checked_hash(hash)))

    def delete(self, hash: str) -> bool:
        """Remove a content that is there or not; False where it must be tried again later.

        Windows removes no file that somebody reads.
        """
        return self._place.delete(_name(checked_hash(hash)))

    def clear_parts(self) -> None:
        """Remove the parts of processes that died: those that nobody has written to for an hour."""
        before = time.time() - ABANDONED
        for path in self._place.parts.iterdir():
            if _older(path, before):
                path.unlink(missing_ok=True)

    def old(self) -> Iterator[str]:
        """The hashes of contents that have been here for an hour and more."""
        for name in self._place.names(time.time() - ABANDONED):
            yield f"{ALGORITHM}:{name}"


def chunks_of(source: bytes | BinaryIO | Iterable[bytes]) -> Iterator[bytes]:
    """The bytes of a source, in pieces."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        yield bytes(source)
    elif hasattr(source, "read"):
        while chunk := source.read(CHUNK):
            yield chunk
    else:
        yield from source


def hash_of(chunks: Iterable[bytes]) -> str:
    """The hash of bytes, as it is written here."""
    hasher = _hasher()
    for chunk in chunks:
        hasher.update(chunk)
    return f"{ALGORITHM}:{hasher.hexdigest()}"


# ------------------------------------------------------------------------------- places


class _Folder:
    """A folder of this machine, or one that several machines have mounted."""

    is_far = False

    def __init__(self, root: Path) -> None:
        self.root = root
        self.parts = root / _PARTS
        with _written(root):
            self.parts.mkdir(parents=True, exist_ok=True)

    def _path(self, name: str) -> Path:
        # 256 folders: some file systems are slow with 100,000 files in one
        return self.root / name[:2] / name

    def size(self, name: str) -> int | None:
        with _read(name):
            try:
                return self._path(name).stat().st_size
            except FileNotFoundError:
                return None

    def adopt(self, part: Path, name: str) -> None:
        target = self._path(name)
        with _written(target):
            target.parent.mkdir(exist_ok=True)
            try:
                os.replace(part, target)
            except PermissionError:
                # Windows replaces no file that somebody reads; then it is there already.
                if self.size(name) != part.stat().st_size:
                    raise

    def open(self, name: str) -> BinaryIO:
        return open(self._path(name), "rb", buffering=0)

    def delete(self, name: str) -> bool:
        path = self._path(name)
        try:
            path.unlink(missing_ok=True)
        except PermissionError as error:
            if os.name == "nt":
                return False
            raise _unwritten(path, error) from error
        except OSError as error:
            raise _unwritten(path, error) from error
        return True

    def names(self, older_than: float) -> Iterable[str]:
        for path in self.root.glob("??/*"):
            if _NAME.fullmatch(path.name) and _older(path, older_than):
                yield path.name


class _Remote:
    """What fsspec reaches: a bucket, or another machine's folder."""

    is_far = True

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        scheme = url.partition("://")[0]
        try:
            import fsspec

            self._files, root = fsspec.url_to_fs(url, use_listings_cache=False, **options)
        except ImportError as error:
            hint = install_line("s3") if scheme == "s3" else "install it"
            raise UsageError(f"{scheme}:// needs a package that is missing: {hint}") from error
        except ValueError as error:
            raise UsageError(f"files cannot be kept at {scheme}:// ({error})") from error
        self._root = str(root).rstrip("/")
        self.parts = Path(tempfile.mkdtemp(prefix="spriteworks-parts-"))
        # What may not be written is said at the start, not at the first picture of the night.
        with _written(Path(self._root)):
            self._files.pipe_file(f"{self._root}/.probe", b"")
            self._files.rm_file(f"{self._root}/.probe")

    def _path(self, name: str) -> str:
        return f"{self._root}/{name[:2]}/{name}"

    def size(self, name: str) -> int | None:
        with _read(name):
            try:
                return int(self._files.info(self._path(name))["size"])
            except FileNotFoundError:
                return None

    def adopt(self, part: Path, name: str) -> None:
        path = self._path(name)
        with _written(Path(path)):
            # A bucket shows an object when all of it is there.
            self._files.put_file(str(part), path)

    def open(self, name: str) -> Any:
        return self._files.open(self._path(name), "rb", block_size=CHUNK, cache_type="readahead")

    def delete(self, name: str) -> bool:
        path = self._path(name)
        with _written(Path(path)):
            try:
                self._files.rm_file(path)
            except FileNotFoundError:
                return True
        return True

    def names(self, older_than: float) -> Iterable[str]:
        with _read(self._root):
            found = self._files.find(self._root, detail=True)
        for path, info in found.items():
            name = path.rpartition("/")[2]
            changed = info.get("LastModified") or info.get("created")
            at = changed.timestamp() if hasattr(changed, "timestamp") else changed
            if _NAME.fullmatch(name) and at is not None and at < older_than:
                yield name

    def __del__(self) -> None:
        parts = getattr(self, "parts", None)
        if parts is not None:
            shutil.rmtree(parts, ignore_errors=True)


# ------------------------------------------------------------------------------- inside


def _hasher() -> blake3:
    with needed("service", "the service"):
        from blake3 import blake3
    return blake3()


def _name(hash: str) -> str:
    return hash.rpartition(":")[2]


def _older(path: Path, moment: float) -> bool:
    try:
        return path.stat().st_mtime < moment
    except FileNotFoundError:
        return False


@contextmanager
def _written(target: Path) -> Iterator[None]:
    """Turn whatever a file system or a bucket raises into an OutputError."""
    try:
        yield
    except SpriteworksError:
        raise
    except Exception as error:  # each kind of bucket has errors of its own
        raise _unwritten(target, error) from error


@contextmanager
def _read(name: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound(f"{name} is no longer there") from error
    except SpriteworksError:
        raise
    except Exception as error:
        raise OutputError(f"{name} cannot be read ({_reason(error)})") from error


def _unwritten(target: Path, error: Exception) -> OutputError:
    return OutputError(
        f"{target} cannot be written ({_reason(error)}); make room, check its permissions, or give "
        "another place for files"
    )


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
