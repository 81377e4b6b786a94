"""The plots of docs/scaling.md, as PNG files."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from .figures import ClusterFigures

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 760, 380, 90, 190, 56, 62
_INK, _FAINT, _RULE, _PAPER = "#1d2733", "#6c7a89", "#e3e8ed", "#ffffff"
_COLOURS = ("#2f7ed8", "#c9803a", "#3f9b5b", "#a54fb0", "#b03a48", "#5b6b7b")


@dataclass(frozen=True, kw_only=True)
class PlotLine:
    """One line of a plot: points (x, y) and what they are."""

    name: str
    points: Sequence[tuple[float, float]]


def draw(found: Mapping[str, Sequence[ClusterFigures]], folder: Path) -> None:
    """Write one plot for each series that was swept; the folder is there."""
    if series := found.get("sprites"):
        day: Callable[[ClusterFigures], float] = lambda one: one.cluster.sprites_a_day / 1e6  # noqa: E731
        wanted = PlotLine(name="posted", points=[(one, one) for one in sorted({*map(day, series)})])
        rules = {"made": False, "newcomers first": True}
        made = [
            _line(name, chosen, day, lambda one: one.done * 0.0864)
            for name, first in rules.items()
            if (chosen := [one for one in series if one.cluster.newcomers_first is first])
        ]
        _write(
            folder / "scaling-throughput.png",
            "Sprites made, in millions a day",
            "posted, in millions a day",
            [wanted, *made],
        )
    if series := found.get("workers"):
        workers: Callable[[ClusterFigures], float] = lambda one: float(one.cluster.workers)  # noqa: E731
        _write(
            folder / "scaling-database.png",
            "Cores of the database's machine that are busy",
            "worker processes",
            [
                _line("together", series, workers, lambda one: sum(one.cores.values())),
                _line("who waits?", series, workers, lambda one: one.cores["owners"]),
                _line("reading jobs", series, workers, _reading),
                _line("claims, ends", series, workers, _working),
                _line("leases", series, workers, _keeping),
            ],
        )


def _reading(one: ClusterFigures) -> float:
    return one.cores["read"] + one.cores["rows"] + one.cores["still"]


def _working(one: ClusterFigures) -> float:
    return sum(one.cores[kind] for kind in ("claim", "late", "submitted", "done"))


def _keeping(one: ClusterFigures) -> float:
    return one.cores["renew"] + one.cores["called_off"]


def _line(
    name: str,
    series: Sequence[ClusterFigures],
    x: Callable[[ClusterFigures], float],
    y: Callable[[ClusterFigures], float],
) -> PlotLine:
    """The mean of all seeds at each place."""
    places = sorted({x(one) for one in series})
    return PlotLine(
        name=name,
        points=[(place, _mean([y(one) for one in series if x(one) == place])) for place in places],
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _write(path: Path, title: str, below: str, lines: Sequence[PlotLine]) -> None:
    image = Image.new("RGB", (_WIDTH, _HEIGHT), _PAPER)
    pen = ImageDraw.Draw(image)
    most_x = max(x for line in lines for x, _ in line.points)
    most_y = _round_up(max(y for line in lines for _, y in line.points))

    def at(x: float, y: float) -> tuple[float, float]:
        across, up = (_WIDTH - _LEFT - _RIGHT) * x / most_x, (_HEIGHT - _TOP - _BOTTOM) * y / most_y
        return _LEFT + across, _HEIGHT - _BOTTOM - up

    _text(pen, (_LEFT, 18), title, _INK, 17)
    _text(pen, (_LEFT, _HEIGHT - 28), below, _FAINT, 14)
    for part in range(5):
        value = most_y * part / 4
        pen.line([at(0, value), at(most_x, value)], fill=_RULE)
        _text(pen, (18, at(0, value)[1] - 9), f"{value:g}", _FAINT, 14)
    for place, _ in lines[0].points:
        x, y = at(place, 0)
        _text(pen, (x - 8, y + 8), f"{place:g}", _FAINT, 14)
    names = _apart([at(*line.points[-1])[1] for line in lines])
    for line, colour, name_y in zip(lines, _COLOURS, names, strict=False):
        points = [at(*point) for point in line.points]
        pen.line(points, fill=colour, width=3)
        for x, y in points:
            pen.ellipse((x - 4, y - 4, x + 4, y + 4), fill=colour)
        _text(pen, (points[-1][0] + 14, name_y - 9), line.name, colour, 15)
    image.save(path)


def _apart(heights: Sequence[float], least: float = 19.0) -> list[float]:
    """The same heights in pixels, moved as little as it takes for words not to touch."""
    order = sorted(range(len(heights)), key=lambda number: -heights[number])
    found, last = list(heights), float("inf")
    for number in order:
        found[number] = last = min(heights[number], last - least)
    return found


def _round_up(value: float) -> float:
    """The next of 1, 2, 4 and 8 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * step for step in (1, 2, 4, 8, 10) if power * step >= value)


def _text(pen: Any, place: tuple[float, float], words: str, colour: str, size: int) -> None:
    pen.text(place, words, fill=colour, font=ImageFont.load_default(size))
