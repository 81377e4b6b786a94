"""Whether a text was there before, for millions of them; with no I/O."""

from __future__ import annotations

import hashlib
from typing import Generic, TypeVar

_Who = TypeVar("_Who")

# Of so many it is remembered whose they are; any more is for nobody to read.
_REMEMBERED = 50_000


class Seen(Generic[_Who]):
    """Texts that were there, and whose the first of them were.

    Later ones are kept as 60 bits of a hash, 70 bytes each: among a million texts two are taken for
    one with a chance of 1 in 2,000,000.
    """

    def __init__(self) -> None:
        self._first: dict[str, _Who] = {}
        self._rest: set[int] = set()

    def __len__(self) -> int:
        return len(self._first) + len(self._rest)

    def add(self, text: str, who: _Who) -> bool:
        """Note a text; False where it was there before."""
        if text in self._first:
            return False
        if len(self._first) < _REMEMBERED:
            self._first[text] = who
            return True
        before = len(self._rest)
        digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
        self._rest.add(int.from_bytes(digest, "big") >> 4)
        return len(self._rest) > before

    def whose(self, text: str) -> _Who | None:
        """Who came first with a text; None where that is not remembered."""
        return self._first.get(text)
