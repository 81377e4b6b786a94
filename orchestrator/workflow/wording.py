"""Names in messages: the ones that there are, and the ones that a person may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

# More choices than this are counted in a message instead of listed, as ComfyUI does.
_LISTED = 20
# Characters of a text that are shown in a message.
_SHOWN = 200
# Characters of a name that are compared.
_COMPARED = 200


def did_you_mean(name: str, known: Iterable[Any]) -> str:
    """', did you mean ...' with up to three names similar to `name`, or an empty string."""
    # A longer one is no slip of the pen, and comparing it takes the square of its length.
    name = name[:_COMPARED]
    folded = {str(entry).casefold(): str(entry) for entry in known}
    close = difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=0.6)
    return f", did you mean {_either(repr(folded[entry]) for entry in close)}?" if close else ""


def listed(names: Iterable[Any]) -> str:
    """The names that there are, for a message: all of them, or the first twenty and a count."""
    texts = [str(name) for name in names]
    if not texts:
        return "none"
    rest = len(texts) - _LISTED
    return ", ".join(texts[:_LISTED]) + (f" and {rest} more" if rest > 0 else "")


def shown(text: str) -> str:
    """A text in a message: where it is long, its beginning and its length."""
    if len(text) <= _SHOWN:
        return text
    return f"{text[: _SHOWN - 20]}... ({len(text):,} characters)"


def _either(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last
