"""Pictures that tests upload."""

from __future__ import annotations

import io

from PIL import Image


def picture(color: tuple[int, int, int] = (200, 30, 40), size: int = 24) -> bytes:
    """A small PNG of one colour."""
    stream = io.BytesIO()
    Image.new("RGB", (size, size), color).save(stream, "PNG")
    return stream.getvalue()
