"""The part of a file that a Range header asks for (RFC 9110, section 14)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import RangeUnsatisfiable

_ONE = re.compile(r"[ \t]*([0-9]{0,20})-([0-9]{0,20})[ \t]*")


@dataclass(frozen=True)
class ByteRange:
    """The bytes of a file from `start` to before `stop`, of `size` in all."""

    start: int
    stop: int
    size: int

    @property
    def content_range(self) -> str:
        """The value of the header Content-Range."""
        return f"bytes {self.start}-{self.stop - 1}/{self.size}"


def range_of(header: str | None, size: int) -> ByteRange | None:
    """What a Range header asks for of a file of `size` bytes; None for the whole of it.

    A header that is no range, and one with several, is answered with the whole, as section 14.2
    allows: many small ranges are how a server is kept busy. Raises RangeUnsatisfiable where the
    range has no byte of the file.
    """
    unit, equals, wanted = (header or "").partition("=")
    found = _ONE.fullmatch(wanted)
    if unit.strip().casefold() != "bytes" or not equals or found is None:
        return None
    first, last = found.groups()
    if not first and not last:
        return None
    if not first:
        # the last so many bytes
        start, stop = max(size - int(last), 0), size
    else:
        start = int(first)
        stop = min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= stop:
        raise RangeUnsatisfiable(
            f"bytes {wanted.strip()} are asked for of a file that has {size}", size=size
        )
    return ByteRange(start, stop, size)
