"""What all sheet formats share: pages as PNG, JSON as text, and how the files are named."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from typing import Any

from PIL import Image

from ...ops.arrays import Bytes
from ...ops.sheet import Sheet

Files = dict[str, bytes]
"""What is in each file, by its name, without folders."""


def png(picture: Bytes) -> bytes:
    """A PNG of uint8 [H, W, 4]."""
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "PNG", optimize=True)
    return content.getvalue()


def page_names(sheet: Sheet, name: str) -> list[str]:
    """The pages' files: NAME.png, or NAME-0.png, NAME-1.png, ... where there are several."""
    if len(sheet.pages) == 1:
        return [f"{name}.png"]
    return [f"{name}-{index}.png" for index in range(len(sheet.pages))]


def pages(sheet: Sheet, name: str) -> Files:
    """The pages as files."""
    return {
        file: png(page) for file, page in zip(page_names(sheet, name), sheet.pages, strict=True)
    }


def as_json(value: Any) -> bytes:
    """JSON of ASCII, for readers that do not know which encoding they read."""
    return (json.dumps(value, indent=1) + "\n").encode("ascii")


def number(value: float) -> float | int:
    """Without ".0", and not finer than a millionth."""
    rounded = round(value, 6)
    return int(rounded) if rounded == int(rounded) else rounded


def unit(durations: Sequence[int]) -> int:
    """The largest time, in ms, that all durations are whole multiples of."""
    return math.gcd(*durations)
