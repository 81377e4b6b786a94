"""JSON of a server as values, whatever the server sends."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import ProtocolError

# Lists and objects within each other. What ComfyUI sends stays below 30; what is much deeper
# decodes in some versions of Python, and then breaks whatever walks through it.
DEEPEST = 100
# What reading a value of the wrong shape raises.
MALFORMED = (
    KeyError,
    IndexError,
    TypeError,
    ValueError,
    AttributeError,
    OverflowError,
    RecursionError,
)
# What databases and other programs take for a whole number.
_LARGEST = 2**63 - 1
_BOM = b"\xef\xbb\xbf"


def decode_json(data: bytes | str, what: str = "a message") -> Any:
    """Decode JSON; raises ProtocolError, which names `what`, for all that is none or is abusive.

    NaN and infinities pass, as ComfyUI sends them.
    """
    try:
        # Not left to json, which would let halves of characters pass, and UTF-16.
        text = data if isinstance(data, str) else data.removeprefix(_BOM).decode()
        value = json.loads(text)
        whole = is_whole(text, value)
    # MemoryError: one answer is too large, and given up; nothing else was touched.
    except (ValueError, RecursionError, MemoryError) as error:
        raise ProtocolError(f"{what} is no JSON: {excerpt(data)!r}") from error
    if text.count("[") + text.count("{") > DEEPEST and not _is_shallow(value):
        raise ProtocolError(f"{what} is JSON nested more than {DEEPEST} deep: {excerpt(data)!r}")
    if not whole:
        raise ProtocolError(f"{what} is JSON with half a character in it: {excerpt(data)!r}")
    return value


def decode_body(data: bytes, what: str = "the body") -> Any:
    """Decode JSON that somebody sends us; raises ProtocolError also for NaN and infinities.

    JSON has neither, and what is made of them could not be sent on. A number like 1e400 is read as
    infinity, so it is refused, too.
    """
    value = decode_json(data, what)
    # Only a text with one of these letters can hold such a number.
    if any(letter in data for letter in (b"NaN", b"Infinity", b"e", b"E")) and not is_finite(value):
        raise ProtocolError(f"{what} has a number that is none, or too large")
    return value


def encode_json(value: Any) -> str:
    """JSON of a value of ours; what no JSON can say (NaN, infinities) becomes null."""
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False)


def is_finite(value: Any) -> bool:
    """Whether JSON can say all numbers of a value."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        # an object's key may be a number, too, and must not be null
        return {str(key): _finite(inner) for key, inner in value.items()}
    return list(map(_finite, value)) if isinstance(value, list | tuple) else value


def is_whole(text: str, value: Any) -> bool:
    """Say whether all texts of a value, decoded from `text`, can be written: no lone surrogates."""
    return not _may_have_half_characters(text) or _has_whole_characters(value)


def excerpt(data: bytes | str) -> str:
    """The beginning of an answer on one line, for a message."""
    head = data[:200]
    text = head.decode("utf-8", "replace") if isinstance(head, bytes) else head
    return " ".join(text.split())


def text(value: Any) -> str:
    """A text, or a whole number as one; raises TypeError for all else."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise TypeError("a text is expected")


def text_or_none(value: Any) -> str | None:
    """The same, or None."""
    return None if value is None else text(value)


def texts(value: Any) -> tuple[str, ...]:
    """A list of texts; raises TypeError for all else."""
    if not isinstance(value, list | tuple):
        raise TypeError("a list is expected")
    return tuple(map(text, value))


def number(value: Any) -> float:
    """A finite number; raises TypeError or ValueError for all else."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError("a number is expected")
    if not math.isfinite(value) or abs(value) > _LARGEST:
        raise ValueError("a number is too large, or none")
    return value


def whole(value: Any) -> int:
    """A number without its fraction; raises TypeError or ValueError for all else."""
    return int(number(value))


def mapping(value: Any) -> Mapping[str, Any]:
    """An object; raises TypeError for all else."""
    if not isinstance(value, dict):
        raise TypeError("an object is expected")
    return value


def listing(value: Any) -> list[Any]:
    """A list; raises TypeError for all else, also for texts, which Python would go through."""
    if not isinstance(value, list):
        raise TypeError("a list is expected")
    return value


def mappings(values: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """The values of an object that are objects themselves; those that are null are left out."""
    return (mapping(value) for value in values.values() if value is not None)


def _is_shallow(value: Any) -> bool:
    level = [value] if isinstance(value, dict | list) else []
    # One level after the other: a walk by recursion would be what is feared here.
    for _ in range(DEEPEST + 1):
        level = [
            child
            for parent in level
            for child in (parent.values() if type(parent) is dict else parent)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return True
    return False


def _may_have_half_characters(text: str) -> bool:
    return "\\ud" in text or "\\uD" in text


def _has_whole_characters(value: Any) -> bool:
    """Whether all texts can be written: the escape of a surrogate alone is half a character."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True
