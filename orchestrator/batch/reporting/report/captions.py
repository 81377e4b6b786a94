"""What stands under a picture: its prompt, without what all prompts of the batch have in common."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass

# Characters that all prompts begin or end with, from which on they are left out: "a " stays.
_WORTH = 16


@dataclass(frozen=True, kw_only=True)
class Captions:
    """The ends that all prompts share, such as a manifest's `style`, as numbers of characters."""

    before: int = 0
    after: int = 0

    @classmethod
    def of(cls, prompts: Iterable[str]) -> Captions:
        """What is common to prompts; whole words only, and nothing where all are the same."""
        distinct = {one for one in prompts if one}
        if len(distinct) < 2:
            return cls()
        shortest = min(map(len, distinct))
        first = _shared(distinct)
        before = _end(first)
        last = _shared({one[before:][::-1] for one in distinct})
        after = _end(last)
        return cls(before=before, after=after) if before + after < shortest else cls()

    def of_prompt(self, prompt: str) -> str:
        """A prompt's caption."""
        if not prompt or not (self.before or self.after):
            return prompt
        own = prompt[self.before : len(prompt) - self.after].strip(" ,")
        return f"… {own}" if self.before else own


def _shared(texts: Set[str]) -> str:
    """What texts begin with."""
    low, high = min(texts), max(texts)
    pairs = enumerate(zip(low, high, strict=False))
    return low[: next((place for place, (a, b) in pairs if a != b), len(low))]


def _end(shared: str) -> int:
    """How much of what is shared is left out: to its last comma, or else to its last word."""
    lengths = (shared.rfind(mark) + 1 for mark in (",", " "))
    return next((length for length in lengths if length >= _WORTH), 0)
