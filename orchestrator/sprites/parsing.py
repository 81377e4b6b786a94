"""What texts of options and manifests mean: sizes, ground points, names of sheets; with no I/O."""

from __future__ import annotations

import re

from comfy_nodes.formats.sheets import is_device

from ..errors import UsageError

Pivot = str | tuple[float, float]
"""Where frames stand: "bottom" or "center" of each, or x and y in px from its top left corner."""


def size_of(text: str) -> tuple[int, int] | None:
    """Width and height of a text such as 64x48; None where it is none."""
    found = re.fullmatch(r"([1-9]\d{0,4})[xX]([1-9]\d{0,4})", text.strip())
    return (int(found[1]), int(found[2])) if found else None


def is_name(text: str) -> bool:
    """Whether a sheet may be called so: the names of all its files are made of it."""
    return re.fullmatch(r"[\w-][\w -]*", text) is not None and not is_device(text)


def point_of(pivot: Pivot, size: tuple[int, int]) -> tuple[float, float]:
    """The ground point of a frame of that size. Raises UsageError for what is no point."""
    # in whole px, so that no engine draws pixel art between pixels
    if pivot == "bottom":
        return float(size[0] // 2), float(size[1])
    if pivot == "center":
        return float(size[0] // 2), float(size[1] // 2)
    if isinstance(pivot, tuple):
        return float(pivot[0]), float(pivot[1])
    number = r"\s*(-?\d{1,6}(?:\.\d{1,6})?)\s*"
    found = re.fullmatch(f"{number},{number}", pivot)
    if found is None:
        raise UsageError(f"--pivot {pivot} is no point; give bottom, center, or x,y in px")
    return float(found[1]), float(found[2])
