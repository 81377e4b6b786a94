"""Where an attempt's time went on its server, as the store keeps it."""

from __future__ import annotations

from ...client.timings import Stopwatch
from ...protocol import HistoryRecord
from ..logic.jobs import Timing


class SpanTaker:
    """Measures one server's attempts, one after the other.

    "run" is from the server's first to its last message, by its own clock; "idle" is from the end
    of the attempt before to the start of this one, where this one could have come at once.
    """

    def __init__(self) -> None:
        # ms on the server's clock at which it was done with the job before; None after a pause
        self._free_since: float | None = None

    def take(
        self, record: HistoryRecord, watch: Stopwatch | None, *, paused: bool = False
    ) -> list[Timing]:
        """The spans of an attempt that ended well; without a watch those of its record.

        `paused` says that before it the server had nothing of ours to do, or was away.
        """
        if paused:
            self._free_since = None
        spans = self._by_the_server(record)
        if watch is not None:
            timings = watch.timings(record)
            spans.append(Timing(span="queued", seconds=timings.queued_s))
            spans += [
                Timing(span=f"node:{node.id}", seconds=node.seconds, node_class=node.class_type)
                for node in timings.nodes
                if node.seconds is not None and not node.cached
            ]
        return spans

    def _by_the_server(self, record: HistoryRecord) -> list[Timing]:
        began, ended = _stamp(record, "execution_start"), _stamp(record, "execution_success")
        free_since, self._free_since = self._free_since, ended
        if began is None or ended is None:
            return []
        spans = [Timing(span="run", seconds=(ended - began) / 1000)]
        if free_since is not None:
            spans.append(Timing(span="idle", seconds=max(0.0, began - free_since) / 1000))
        return spans


def _stamp(record: HistoryRecord, name: str) -> float | None:
    """When a message came, in ms on the server's clock; None where it does not say."""
    stamp = (record.message(name) or {}).get("timestamp")
    return float(stamp) if isinstance(stamp, int | float) else None
