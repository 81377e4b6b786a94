"""Where the time of a batch goes: percentiles, rates and idle shares; pure, from the store's rows.

All spans are of *graphs*: one that makes several pictures is one sample. Durations come from
monotonic clocks; the wall clock only tells on which stretch of the day the batch was worked on.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...logic.jobs import Outcome

# Bins of a spread in each decade of seconds.
BINS_A_DECADE = 8
# s; shorter spans are counted as this long, so that they have a place among the bins.
SHORTEST = 1e-4
# Spans that every attempt has, in the order in which they follow one another.
SPANS = ("queued", "load", "run", "transfer", "store")
# s without a job on any server that still belong to the work, such as those between two runs.
PAUSE = 60.0
_IDLE, _LOAD, _RUN = "idle", "load", "run"
# What spans of nodes are called, before the node's id.
NODE = "node:"


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """One measured span of an attempt."""

    attempt: int
    # "queued", "run", "idle", "node:<id>", "transfer", "store"
    name: str
    node_class: str
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Tried:
    """What statistics and reports look at of an attempt."""

    id: int
    server: str
    # pictures that it was to give, and those of them that are there
    size: int
    pictures: int
    # s since the epoch by the wall clock
    started_at: float
    # None while it is open
    ended_at: float | None
    # on a monotonic clock; None where it failed
    seconds: float | None
    outcome: Outcome | None
    failure: str = ""
    error: str = ""
    degraded: Mapping[str, Any] = field(default_factory=dict)

    @property
    def interval(self) -> tuple[float, float] | None:
        """When a server had it, s since the epoch; None while it is open.

        Counted back from the end on the monotonic clock where that is known: an attempt may have
        waited over a weekend for the next run, and the wall clock may have been set meanwhile.
        """
        if self.ended_at is None:
            return None
        if self.seconds is not None:
            return self.ended_at - self.seconds, self.ended_at
        return min(self.started_at, self.ended_at), self.ended_at


@dataclass(frozen=True, kw_only=True)
class DurationSpread:
    """How the durations of one span are spread, in s."""

    count: int
    p50: float
    p90: float
    p99: float
    # {n: how many lie from 10^(n/BINS_A_DECADE) s up to the next bin}
    bins: Mapping[int, int]

    def to_json(self) -> dict[str, Any]:
        """Counts and percentiles, in s to the tenth of a ms."""
        shares = {name: round(getattr(self, name), 4) for name in ("p50", "p90", "p99")}
        return {"count": self.count, **shares}


@dataclass(frozen=True, kw_only=True)
class ServerFigures:
    """What was measured of one server, or of all together."""

    pictures: int
    attempts: int
    # attempts that did not give their pictures, but for those taken back or never sent
    failures: int
    # s with a job on a server, pauses of up to PAUSE included
    worked: float
    # share of the servers' time that they waited for us while there was work, 0 to 1; by their own
    # clocks, None before any has run two jobs in a row
    idle_share: float | None
    # {"queued": ..., "load": ..., "run": ..., "transfer": ..., "store": ...}, those that are known
    spans: Mapping[str, DurationSpread]
    # {node class: ...}, those that took the most time in all first
    nodes: Mapping[str, DurationSpread]

    @property
    def pictures_per_hour(self) -> float | None:
        """The rate over the time that was worked; None before anything was."""
        return self.pictures / self.worked * 3600 if self.worked > 0 else None

    def to_json(self) -> dict[str, Any]:
        """As `batch status --json` shows it."""
        rate, idle = self.pictures_per_hour, self.idle_share
        return {
            "pictures": self.pictures,
            "attempts": self.attempts,
            "failures": self.failures,
            "worked_s": round(self.worked, 1),
            "pictures_per_hour": None if rate is None else round(rate, 2),
            "idle_share": None if idle is None else round(idle, 5),
            "spans": {name: spread.to_json() for name, spread in self.spans.items()},
            "nodes": {name: spread.to_json() for name, spread in self.nodes.items()},
        }


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Figures of a batch: of all servers together, and of each."""

    total: ServerFigures
    servers: Mapping[str, ServerFigures]

    def to_json(self) -> dict[str, Any]:
        """As `batch status --json` shows it."""
        servers = {name: figures.to_json() for name, figures in self.servers.items()}
        return {**self.total.to_json(), "servers": servers}


def statistics(attempts: Iterable[Tried], spans: Iterable[Span]) -> Statistics:
    """Sum up a batch; spans of attempts that are not among `attempts` are passed over."""
    server_counts: dict[str, _Tally] = defaultdict(_Tally)
    total = _Tally()
    servers: dict[int, str] = {}
    for attempt in attempts:
        servers[attempt.id] = attempt.server
        for counts_of in (total, server_counts[attempt.server]):
            counts_of.add_attempt(attempt)
    for span in with_loads(spans):
        server = servers.get(span.attempt)
        if server is not None:
            for counts_of in (total, server_counts[server]):
                counts_of.add_span(span)
    return Statistics(
        total=total.figures(),
        servers={name: server_counts[name].figures() for name in sorted(server_counts)},
    )


def with_loads(spans: Iterable[Span]) -> Iterator[Span]:
    """The spans of attempts, and for each attempt that has none the span "load".

    Loading is what the loader nodes took; a server that has the model still does not run them.
    """
    loads: dict[int, float] = defaultdict(float)
    told: set[int] = set()
    for span in spans:
        if span.name == _LOAD:
            told.add(span.attempt)
        elif span.name.startswith(NODE) and "Loader" in span.node_class:
            loads[span.attempt] += span.seconds
        yield span
    for attempt, seconds in loads.items():
        if attempt not in told:
            yield Span(attempt=attempt, name=_LOAD, node_class="", seconds=seconds)


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which `share` (0 to 1) of ascending values lie, between two interpolated.

    The same as numpy's default, type 7 of Hyndman and Fan (1996), "Sample quantiles in statistical
    packages".
    """
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def spread(values: Iterable[float]) -> DurationSpread:
    """The spread of at least one duration."""
    ordered = sorted(values)
    bins = Counter(bin_of(value) for value in ordered)
    return DurationSpread(
        count=len(ordered),
        p50=percentile(ordered, 0.5),
        p90=percentile(ordered, 0.9),
        p99=percentile(ordered, 0.99),
        bins=dict(bins),
    )


def bin_of(seconds: float) -> int:
    """The bin in which a duration is counted, see `DurationSpread.bins`."""
    return math.floor(place_of(seconds))


def place_of(seconds: float) -> float:
    """Where a duration lies on the logarithmic axis of the bins."""
    return math.log10(max(seconds, SHORTEST)) * BINS_A_DECADE


def stretches(
    intervals: Iterable[tuple[float, float]], pause: float = PAUSE
) -> list[tuple[float, float]]:
    """Join intervals that overlap or are at most `pause` s apart; ascending."""
    joined: list[tuple[float, float]] = []
    for begin, end in sorted(intervals):
        if joined and begin - joined[-1][1] <= pause:
            joined[-1] = joined[-1][0], max(joined[-1][1], end)
        else:
            joined.append((begin, end))
    return joined


class _Tally:
    """Collects what becomes `ServerFigures`."""

    def __init__(self) -> None:
        self._pictures = self._attempts = self._failures = 0
        self._intervals: list[tuple[float, float]] = []
        self._spans: dict[str, array[float]] = defaultdict(lambda: array("d"))
        self._nodes: dict[str, array[float]] = defaultdict(lambda: array("d"))
        self._idle: list[float] = []

    def add_attempt(self, attempt: Tried) -> None:
        self._attempts += 1
        self._pictures += attempt.pictures
        self._failures += attempt.outcome in (Outcome.FAILED, Outcome.REJECTED)
        if attempt.interval is not None and attempt.outcome is not Outcome.NEVER_SENT:
            self._intervals.append(attempt.interval)

    def add_span(self, span: Span) -> None:
        if span.name == _IDLE:
            self._idle.append(span.seconds)
        elif span.name.startswith(NODE):
            self._nodes[span.node_class or span.name].append(span.seconds)
        else:
            self._spans[span.name].append(span.seconds)

    def figures(self) -> ServerFigures:
        idle, busy = math.fsum(self._idle), math.fsum(self._spans.get(_RUN, ()))
        nodes = sorted(self._nodes, key=lambda name: -math.fsum(self._nodes[name]))
        known = [*SPANS, *sorted(self._spans.keys() - set(SPANS))]
        return ServerFigures(
            pictures=self._pictures,
            attempts=self._attempts,
            failures=self._failures,
            worked=math.fsum(end - begin for begin, end in stretches(self._intervals)),
            idle_share=idle / (idle + busy) if self._idle and idle + busy > 0 else None,
            spans={name: spread(self._spans[name]) for name in known if name in self._spans},
            nodes={name: spread(self._nodes[name]) for name in nodes},
        )
