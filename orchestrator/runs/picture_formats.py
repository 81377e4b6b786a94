"""The formats of picture files that count, and how their files are named."""

from __future__ import annotations

from collections.abc import Mapping

# Pillow's name of a format -> the suffix of its files
SUFFIXES: Mapping[str, str] = {
    "PNG": ".png",
    "JPEG": ".jpg",
    "WEBP": ".webp",
    "GIF": ".gif",
    "BMP": ".bmp",
    "TIFF": ".tif",
}
# Endings of names that say that a file is a picture of these formats.
NAMED = frozenset({*SUFFIXES.values(), ".jpeg", ".tiff"})
# the same, for people
FORMATS = "PNG, JPEG, WebP, GIF, BMP or TIFF"
