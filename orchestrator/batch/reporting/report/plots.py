"""The report's plots as inline SVG, and numbers in words; pure.

Every SVG is stretched to its place in the page, so it holds shapes only; texts are the page's own.
What is drawn is in a table beside it, too, so a screen reader passes the shapes over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from markupsafe import Markup

from .statistics import BINS_A_DECADE, DurationSpread, place_of
from .timeline import SLICES, Lane

# Colours that the page's style sheet has for servers; more servers take turns.
COLOURS = 8
_HEIGHT = 100


def strips(spreads: Mapping[str, DurationSpread]) -> dict[str, Markup]:
    """For each spread how often which duration came, all on one logarithmic axis."""
    low, high = axis(spreads.values())
    return {name: _strip(spread, low, high) for name, spread in spreads.items()}


def axis(spreads: Iterable[DurationSpread]) -> tuple[int, int]:
    """The first and last decade (exponent of 10 s) that holds all of some spreads."""
    bins = [number for spread in spreads for number in spread.bins]
    if not bins:
        return 0, 1
    return min(bins) // BINS_A_DECADE, max(bins) // BINS_A_DECADE + 1


def throughput(lanes: Sequence[Lane]) -> Markup:
    """Pictures that came over time, stacked by server."""
    highest = peak(lanes) or 1.0
    below = [0.0] * SLICES
    shapes = []
    for index, lane in enumerate(lanes):
        above = [one + more for one, more in zip(below, lane.pictures, strict=True)]
        shapes.append(_steps(below, above, highest, f"server-{index % COLOURS}"))
        below = above
    return _svg(SLICES, shapes, "throughput")


def peak(lanes: Sequence[Lane]) -> float:
    """The most pictures that came in one slice."""
    columns = zip(*(lane.pictures for lane in lanes), strict=True)
    return max(map(sum, columns), default=0.0)


def lane(one: Lane, colour: int) -> Markup:
    """When a server ran our jobs, when it waited although there was work, where jobs failed."""
    nothing = [0.0] * SLICES
    waited = [min(1.0, busy + idle) for busy, idle in zip(one.busy, one.idle, strict=True)]
    shapes = [
        _steps(one.busy, waited, 1.0, "idle"),
        _steps(nothing, one.busy, 1.0, f"server-{colour % COLOURS}"),
    ]
    # Failures come in crowds, and one mark a slice shows them.
    marks = sorted({round(at * SLICES) for at in one.failures})
    shapes += [
        Markup('<rect class="failure" x="{}" y="0" width="1" height="{}"/>').format(
            min(at, SLICES - 1), _HEIGHT
        )
        for at in marks
    ]
    return _svg(SLICES, shapes, "lane")


def duration(seconds: float | None) -> str:
    """A duration for people, with three digits: 3.25 ms, 1.24 s, 12 min 5 s, 3 h 20 min."""
    if seconds is None:
        return "–"
    if seconds < 0.9995:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 99.95:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def rate(each_hour: float | None) -> str:
    """A rate in the unit in which it is a handy number."""
    if each_hour is None:
        return "–"
    unit, value = "an hour", each_hour
    for finer in ("a minute", "a second"):
        if value >= 600:
            unit, value = finer, value / 60
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def percent(share: float | None) -> str:
    """A share for people."""
    return "–" if share is None else f"{share * 100:.2g} %"


def _strip(spread: DurationSpread, low: int, high: int) -> Markup:
    begin = low * BINS_A_DECADE
    width = (high - low) * BINS_A_DECADE
    most = max(spread.bins.values())
    shapes = [
        # The square root lets a tail of one in a hundred still be seen.
        Markup('<rect class="bin" x="{}" y="8" width="1" height="84" opacity="{:.2f}"/>').format(
            number - begin, 0.12 + 0.88 * (count / most) ** 0.5
        )
        for number, count in sorted(spread.bins.items())
    ]
    for name in ("p50", "p90", "p99"):
        at = place_of(getattr(spread, name)) - begin - 0.08
        shapes.append(
            Markup('<rect class="{}" x="{}" y="0" width=".16" height="100"/>').format(name, at)
        )
    return _svg(width, shapes, "strip")


def _steps(low: Sequence[float], high: Sequence[float], most: float, name: str) -> Markup:
    """The area between two lines of steps, each step one unit wide."""

    def y(value: float) -> str:
        return f"{_HEIGHT - value / most * _HEIGHT:.4g}"

    if list(low) == list(high):
        return Markup("")
    there = "".join(f"V{y(value)}H{index + 1}" for index, value in enumerate(high))
    back = "".join(f"V{y(low[index])}H{index}" for index in range(len(low) - 1, -1, -1))
    return Markup('<path class="{}" d="M0 {}{}{}Z"/>').format(name, y(low[0]), there, back)


def _svg(width: int, shapes: Iterable[Markup], name: str) -> Markup:
    head = Markup(
        '<svg class="{}" viewBox="0 0 {} {}" preserveAspectRatio="none" aria-hidden="true">'
    ).format(name, width, _HEIGHT)
    return head + Markup("").join(shapes) + Markup("</svg>")
