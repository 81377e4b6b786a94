"""The measurement as a picture: seconds for a picture and peak memory, one bar a row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..client.client import writing
from .record import BenchRecord, BenchRow
from .report import drift_words, peak_bytes, rows_to_draw, size_words, speed

_WIDTH, _ROW, _MARGIN = 1280, 30, 24
_NAMES, _BARS, _GAP = 300, 420, 40
_INK, _FAINT, _PAPER = "#1d2733", "#8a97a6", "#ffffff"
_TIME, _MEMORY, _BASE, _WARNING = "#2f7ed8", "#c9803a", "#9db4cc", "#b3261e"


def draw(record: BenchRecord, path: Path) -> None:
    """Write the plot as a PNG; nothing where no row has figures. Raises OutputError."""
    from PIL import Image, ImageDraw

    rows = rows_to_draw(record)
    if not rows:
        return
    drifted = drift_words(record)
    height = 2 * _MARGIN + _ROW * (len(rows) + 1 + (drifted is not None))
    image = Image.new("RGB", (_WIDTH, height), _PAPER)
    pen = ImageDraw.Draw(image)
    times = _MARGIN + _NAMES
    memory = times + _BARS + _GAP + 110
    _text(pen, times, _MARGIN, "seconds for one picture (median; line: lowest to highest)", _FAINT)
    _text(pen, memory, _MARGIN, "peak memory", _FAINT)
    longest = max(_high(row) for row in rows)
    largest = max((peak[0] for row in rows if (peak := peak_bytes(row))), default=1) or 1
    for number, row in enumerate(rows):
        y = _MARGIN + _ROW * (number + 1)
        _text(pen, _MARGIN, y, _name(row), _INK)
        _time_bar(pen, record, row, times, y, longest)
        _memory_bar(pen, row, memory, y, largest)
    if drifted is not None:
        _text(pen, _MARGIN, height - _MARGIN - _ROW, drifted, _WARNING)
    with writing(path):
        image.save(path, "PNG")


def _time_bar(pen: Any, record: BenchRecord, row: BenchRow, x: int, y: int, longest: float) -> None:
    assert row.seconds is not None
    scale = _BARS / longest / max(1, row.pictures)
    low, middle, high = (row.seconds[key] * scale for key in ("low", "median", "high"))
    colour = _BASE if row.name.startswith("baseline") else _TIME
    pen.rectangle((x, y + 4, x + max(1, middle), y + _ROW - 8), fill=colour)
    pen.line((x + low, y + _ROW / 2 - 2, x + high, y + _ROW / 2 - 2), fill=_INK, width=2)
    words = f"{row.seconds['median'] / max(1, row.pictures):.3g} s"
    times = speed(record, row)
    if times is not None and not row.name.startswith("baseline"):
        words += f", {times:.2f}x"
    _text(pen, x + int(max(middle, high)) + 8, y, words, _INK)


def _memory_bar(pen: Any, row: BenchRow, x: int, y: int, largest: int) -> None:
    peak = peak_bytes(row)
    if peak is None:
        return
    width = _WIDTH - x - _MARGIN - 90
    end = x + max(1, int(peak[0] / largest * width))
    pen.rectangle((x, y + 4, end, y + _ROW - 8), fill=_MEMORY)
    _text(pen, end + 8, y, size_words(peak[0]), _INK)


def _high(row: BenchRow) -> float:
    assert row.seconds is not None
    return float(row.seconds["high"]) / max(1, row.pictures)


def _name(row: BenchRow) -> str:
    batch = "" if row.batch_size is None else f"  x{row.batch_size}"
    name = row.name if len(row.name) <= 30 else f"{row.name[:28]}..."
    return f"{name}{batch}"


def _text(pen: Any, x: int, y: int, words: str, colour: str) -> None:
    from PIL import ImageFont

    pen.text((x, y + 3), words, fill=colour, font=ImageFont.load_default(15))
