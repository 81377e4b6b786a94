"""When servers worked and waited, in equal slices of the time that a batch was worked on; pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from ...logic.jobs import Outcome
from .statistics import PAUSE, Span, Tried, stretches

# Slices of a timeline; finer than most screens show of it.
SLICES = 240
# Pauses longer than this share of the work are cut out.
_SHORT_PAUSE = 0.02


@dataclass(kw_only=True)
class Lane:
    """What one server did in each slice."""

    # pictures that came
    pictures: list[float] = field(default_factory=lambda: [0.0] * SLICES)
    # share of the slice, 0 to 1, that it ran our jobs, and that it waited while there was work
    busy: list[float] = field(default_factory=lambda: [0.0] * SLICES)
    idle: list[float] = field(default_factory=lambda: [0.0] * SLICES)
    # where attempts failed, 0 to 1 on the timeline
    failures: list[float] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """The stretches of the day on which a batch was worked on, end to end, long pauses cut out."""

    # s since the epoch, ascending
    stretches: tuple[tuple[float, float], ...]
    lanes: dict[str, Lane]

    @property
    def seconds(self) -> float:
        """The length of all stretches together."""
        return sum(end - begin for begin, end in self.stretches)

    def place(self, at: float) -> float:
        """Where a moment lies, 0 to 1; one in a pause lies at the end of the stretch before."""
        passed = sum(max(0.0, min(at, end) - begin) for begin, end in self.stretches)
        return min(1.0, passed / self.seconds) if self.seconds else 0.0


def timeline(attempts: Iterable[Tried], spans: Iterable[Span]) -> Timeline:
    """Lay out what the attempts of a batch did."""
    ended = [
        (attempt, attempt.interval)
        for attempt in attempts
        if attempt.interval is not None and attempt.outcome is not Outcome.NEVER_SENT
    ]
    joined = stretches(interval for _, interval in ended if interval)
    total = sum(end - begin for begin, end in joined)
    joined = stretches(joined, max(PAUSE, _SHORT_PAUSE * total))
    made = Timeline(stretches=tuple(joined), lanes=defaultdict(Lane))
    measured: dict[int, dict[str, float]] = defaultdict(dict)
    for span in spans:
        if span.name in ("run", "idle", "transfer", "store"):
            measured[span.attempt][span.name] = span.seconds
    for attempt, interval in ended:
        if interval is not None:
            _enter(made, attempt, interval, measured.get(attempt.id, {}))
    return Timeline(stretches=made.stretches, lanes=dict(sorted(made.lanes.items())))


def _enter(
    made: Timeline, attempt: Tried, interval: tuple[float, float], measured: dict[str, float]
) -> None:
    lane, (begin, end) = made.lanes[attempt.server], interval
    if attempt.outcome is Outcome.FAILED:
        lane.failures.append(made.place(end))
        return
    lane.pictures[min(int(made.place(end) * SLICES), SLICES - 1)] += attempt.pictures
    stopped = end - measured.get("transfer", 0.0) - measured.get("store", 0.0)
    started = stopped - measured["run"] if "run" in measured else begin
    _fill(lane.busy, made, started, stopped)
    _fill(lane.idle, made, started - measured.get("idle", 0.0), started)


def _fill(slices: list[float], made: Timeline, begin: float, end: float) -> None:
    """Add a stretch of time to the shares of the slices that it covers."""
    low, high = made.place(begin) * SLICES, made.place(end) * SLICES
    for index in range(int(low), min(int(high), SLICES - 1) + 1):
        covered = min(high, index + 1) - max(low, index)
        slices[index] = min(1.0, slices[index] + max(0.0, covered))
