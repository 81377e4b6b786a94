"""Where the time of a run goes: queue, each node, transfer. Measured from what a client hears.

All spans are measured on the client's own monotonic clock, or are differences of two stamps of the
server's clock; the two clocks are never compared.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..protocol import (
    Event,
    Executing,
    ExecutionCached,
    ExecutionStart,
    Graph,
    HistoryRecord,
    NodeProgress,
    ProgressState,
)
from ..workflow.graph import owner, title


@dataclass(frozen=True, kw_only=True)
class NodeTiming:
    """What one node of the submitted graph took."""

    id: str
    class_type: str
    title: str
    # 0 for a cached node; None where the server's messages did not reach us
    seconds: float | None
    cached: bool


@dataclass(frozen=True, kw_only=True)
class Timings:
    """Where a run's time went, in s."""

    # from submission until the server began
    queued_s: float
    # from the first upload or the submission until the last file was here
    total_s: float
    # uploads and downloads
    transfer_s: float
    nodes: tuple[NodeTiming, ...]

    def to_json(self) -> dict[str, Any]:
        """Shape for run.json; seconds are rounded to ms."""
        return {
            "queued_s": round(self.queued_s, 3),
            "total_s": round(self.total_s, 3),
            "transfer_s": round(self.transfer_s, 3),
            "nodes": [
                {**vars(node), "seconds": None if node.seconds is None else round(node.seconds, 3)}
                for node in self.nodes
            ],
        }


class _Span:
    """Time during which at least one of several parts runs."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._running: set[str] = set()
        self._since = 0.0

    def begin(self, part: str, now: float) -> None:
        if not self._running:
            self._since = now
        self._running.add(part)

    def end(self, part: str, now: float) -> None:
        if part not in self._running:
            return
        self._running.remove(part)
        if not self._running:
            self.seconds += now - self._since


class Stopwatch:
    """Measures one run: hand it what happens, in order, then ask for `timings`."""

    def __init__(self, graph: Graph, clock: Callable[[], float] = time.monotonic) -> None:
        self._graph = graph
        self._clock = clock
        self._began = clock()
        self._submitted = self._began
        self._started: float | None = None
        self._ended: float | None = None
        self._transfer = 0.0
        self._cached: set[str] = set()
        # by progress_state, which is exact; and by the order of `executing`, for older servers
        self._spans: dict[str, _Span] = {}
        self._turns: dict[str, _Span] = {}
        self._turn: str | None = None

    def submitted(self) -> None:
        """Note that the job is about to be submitted."""
        self._submitted = self._clock()

    def observe(self, event: Event) -> None:
        """Note an event of the job at the moment it is heard."""
        now = self._clock()
        match event:
            case ExecutionStart():
                self._started = self._started or now
            case ExecutionCached():
                self._cached.update(event.nodes)
            case ProgressState():
                for node in event.nodes:
                    self._observe_node(node, now)
            case Executing():
                self._observe_turn(event, now)

    def ended(self) -> None:
        """Note that the history record was found."""
        self._ended = self._clock()

    @contextmanager
    def transfer(self) -> Iterator[None]:
        """Measure an upload or a download."""
        began = self._clock()
        try:
            yield
        finally:
            self._transfer += self._clock() - began

    def timings(self, record: HistoryRecord) -> Timings:
        """Sum up, now that everything is here."""
        told = (record.message("execution_cached") or {}).get("nodes")
        cached = self._cached | set(map(str, told if isinstance(told, list) else ()))
        return Timings(
            queued_s=self._queued(record),
            total_s=self._clock() - self._began,
            transfer_s=self._transfer,
            nodes=tuple(self._node(node_id, cached) for node_id in self._graph),
        )

    def _observe_node(self, node: NodeProgress, now: float) -> None:
        ours = owner(self._graph, node.node_id, node.real_node_id, node.display_node_id)
        if ours is None:
            return
        span = self._spans.setdefault(ours, _Span())
        if node.state == "running":
            span.begin(node.node_id, now)
        else:
            span.end(node.node_id, now)

    def _observe_turn(self, event: Executing, now: float) -> None:
        if self._turn is not None:
            self._turns[self._turn].end(self._turn, now)
        self._turn = event.node and owner(self._graph, event.node, event.display_node)
        if self._turn is not None:
            self._turns.setdefault(self._turn, _Span()).begin(self._turn, now)

    def _node(self, node_id: str, cached: Iterable[str]) -> NodeTiming:
        span = self._spans.get(node_id) or self._turns.get(node_id)
        seconds = span.seconds if span else None
        is_cached = node_id in cached
        return NodeTiming(
            id=node_id,
            class_type=str(self._graph[node_id]["class_type"]),
            title=title(self._graph, node_id),
            seconds=0.0 if is_cached and seconds is None else seconds,
            cached=is_cached,
        )

    def _queued(self, record: HistoryRecord) -> float:
        ended = self._clock() if self._ended is None else self._ended
        ran = ran_seconds(record)
        if ran is not None:
            # A fast job's start is heard late, so take the server's own measure of the run.
            return max(0.0, ended - self._submitted - ran)
        return max(0.0, (ended if self._started is None else self._started) - self._submitted)


def ran_seconds(record: HistoryRecord) -> float | None:
    """Seconds between the server's first and last message of a run, on the server's clock.

    None where the stamps do not say it.
    """
    stamps = [_stamp(data) for _, data in record.messages]
    known = [stamp for stamp in stamps if stamp is not None]
    if len(known) < 2 or known[-1] < known[0]:
        return None
    return (known[-1] - known[0]) / 1000


# In ms: the year 5138. What is beyond is no time, and would spoil every sum.
_LAST_STAMP = 1e14


def _stamp(data: Mapping[str, Any]) -> float | None:
    stamp = data.get("timestamp")
    if not isinstance(stamp, int | float) or not 0 <= stamp <= _LAST_STAMP:
        return None
    return float(stamp)
