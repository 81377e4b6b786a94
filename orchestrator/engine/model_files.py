"""Which model files something was made of, so that it is made anew when one is exchanged."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeAlias

# What differs between a file, or the files of a folder, and others that take their place.
Stamp: TypeAlias = tuple[Any, ...]

_noting: ContextVar[dict[Path, Stamp] | None] = ContextVar("model files", default=None)


@contextmanager
def noted() -> Iterator[dict[Path, Stamp]]:
    """Gather what is read while the block runs: {file or folder: how it was}."""
    found: dict[Path, Stamp] = {}
    token = _noting.set(found)
    try:
        yield found
    finally:
        _noting.reset(token)


def reads(path: Path) -> None:
    """Note a file, or a folder with all in it, that is about to be read, or looked for in vain."""
    found = _noting.get()
    if found is not None:
        # One that is exchanged while it is read differs from what is noted here.
        found.setdefault(path, _stamp(path))


def changed(read: Mapping[Path, Stamp]) -> bool:
    """Say whether something of what was read is another by now."""
    return any(_stamp(path) != stamp for path, stamp in read.items())


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError:
        return ()
    if not path.is_dir():
        return found.st_mtime_ns, found.st_size, found.st_ino
    inside = (os.path.join(base, name) for base, _, names in os.walk(path) for name in names)
    return tuple((name, *_stamp(Path(name))) for name in sorted(inside))
