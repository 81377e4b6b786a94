"""JSON of a server as values, whatever the server sends."""

from __future__ import annotations

import json
from typing import Any

from ..errors import ProtocolError

# Lists and objects within each other. What ComfyUI sends stays below 30; what is much deeper
# decodes in some versions of Python, and then breaks whatever walks through it.
DEEPEST = 100
_BOM = b"\xef\xbb\xbf"


def decode_json(data: bytes | str, what: str = "a message") -> Any:
    """Decode JSON; raises ProtocolError, which names `what`, for all that is none or is abusive.

    NaN and infinities pass, as ComfyUI sends them.
    """
    try:
        # Not left to json, which would let halves of characters pass, and UTF-16.
        text = data if isinstance(data, str) else data.removeprefix(_BOM).decode()
        value = json.loads(text)
        whole = not _may_have_half_characters(text) or _has_whole_characters(value)
    # MemoryError: one answer is too large, and given up; nothing else was touched.
    except (ValueError, RecursionError, MemoryError) as error:
        raise ProtocolError(f"{what} is no JSON: {excerpt(data)!r}") from error
    if text.count("[") + text.count("{") > DEEPEST and not _is_shallow(value):
        raise ProtocolError(f"{what} is JSON nested more than {DEEPEST} deep: {excerpt(data)!r}")
    if not whole:
        raise ProtocolError(f"{what} is JSON with half a character in it: {excerpt(data)!r}")
    return value


def excerpt(data: bytes | str) -> str:
    """The beginning of an answer on one line, for a message."""
    head = data[:200]
    text = head.decode("utf-8", "replace") if isinstance(head, bytes) else head
    return " ".join(text.split())


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
