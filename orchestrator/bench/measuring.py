"""One graph, run once on a server and measured."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..client.client import Client
from ..client.timings import Timings, ran_seconds
from ..memory import MemoryUse, Meter, Phase, phases_of
from ..protocol import Event, Graph, StepProgress, SystemStats
from ..runs.fetching import fetch, wanted
from ..runs.submission import Submission
from ..workflow.catalogue import Catalogue
from ..workflow.signatures import Signatures


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What one run gave. Times are in s."""

    # from the server's start of the job to its end, on the server's clock
    seconds: float
    # bringing the pictures here
    transfer: float
    # steps of all samplers, and the time that those nodes took; 0 where nothing sampled
    steps: int
    sampling: float
    # by phase, where the server's messages told
    phases: dict[str, float]
    memory: MemoryUse
    # files as the server saved them
    pictures: tuple[bytes, ...]


class Steps:
    """Counts the steps that samplers do, from their own progress."""

    def __init__(self) -> None:
        self._most: dict[str, float] = {}

    def observe(self, event: Event) -> None:
        """Note an event."""
        if isinstance(event, StepProgress):
            self._most[event.node] = max(self._most.get(event.node, 0), event.max)

    def of(self, nodes: Sequence[str]) -> int:
        """Steps of these nodes together."""
        return int(sum(self._most.get(node, 0) for node in nodes))


def measure(
    client: Client, graph: Graph, info: Catalogue, stats: SystemStats, timeout: float | None = None
) -> Sample:
    """Run a graph to its end; raises what the client raises."""
    submission, steps = Submission(graph=graph), Steps()
    watch = submission.watch
    assert watch is not None
    with (
        Meter(client.url, graph, info, stats) as meter,
        submission.cancelled_on_departure(client),
        client.at_most(timeout),
    ):
        submission.observers += [steps.observe, meter.observe]
        began = time.monotonic()
        submission.submit(client)
        record = submission.wait(client)
        ended = time.monotonic()
        meter.stop()
        pictures, sent = [], Signatures(graph)
        for one in wanted(record):
            with watch.transfer():
                pictures.append(fetch(client, one, sent).content)
    timings = watch.timings(record)
    phases = phases_of(graph, info)
    samplers = [node for node, phase in phases.items() if phase is Phase.SAMPLE]
    by_phase = _by_phase(timings, phases)
    return Sample(
        seconds=ran_seconds(record) or ended - began,
        transfer=timings.transfer_s,
        steps=steps.of(samplers),
        sampling=by_phase.get(Phase.SAMPLE.value, 0.0),
        phases=by_phase,
        memory=meter.use(),
        pictures=tuple(pictures),
    )


def _by_phase(timings: Timings, phases: dict[str, Phase]) -> dict[str, float]:
    found: dict[str, float] = {}
    for node in timings.nodes:
        if node.seconds is not None and not node.cached:
            name = phases[node.id].value
            found[name] = found.get(name, 0.0) + node.seconds
    return found


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Several measurements of one thing."""

    median: float
    low: float
    high: float
    values: tuple[float, ...] = field(default=())

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of one value or more."""
        return cls(
            median=statistics.median(values),
            low=min(values),
            high=max(values),
            values=tuple(values),
        )

    def to_json(self) -> dict[str, Any]:
        """Shape for files; rounded to 0.1 ms."""
        return {
            "median": round(self.median, 4),
            "low": round(self.low, 4),
            "high": round(self.high, 4),
            "values": [round(value, 4) for value in self.values],
        }
