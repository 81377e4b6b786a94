"""One graph on one server, from its submission to its end: run, bench and batch stand on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from ..client.client import Client
from ..client.timings import Stopwatch
from ..errors import JobError, JobTimedOut, ServerError
from ..protocol import Event, Graph, HistoryRecord, PromptAccepted, new_prompt_id

# s that cancelling may take: after a deadline, which holds to within a second, and after Ctrl-C.
_LATE, _LEAVING = 0.9, 2.0


def _nothing_to_do() -> None:
    """Take a turn and do nothing."""


class Submission:
    """One graph that is sent to one server, heard of, and timed.

    Everything that happens to the job reaches `observers`, the stopwatch first, in order; some
    events may be missing, for the WebSocket is a hint (docs/protocol.md).
    """

    def __init__(
        self,
        prompt_id: str = "",
        graph: Graph | None = None,
        *,
        watch: Stopwatch | None = None,
        extra_data: Mapping[str, Any] | None = None,
    ) -> None:
        """`graph` is None for a job that another process has sent: it can only be waited for.

        `watch` is a stopwatch that runs already, for uploads before the submission.
        """
        self.prompt_id = prompt_id or new_prompt_id()
        self.graph = graph
        self.watch = watch or (None if graph is None else Stopwatch(graph))
        self.observers: list[Callable[[Event], None]] = []
        # what pictures shall carry besides the graph
        self.extra_data = extra_data or {}

    def submit(self, client: Client) -> PromptAccepted:
        """Send it, once, whatever happens to the connection; raises what the client raises."""
        assert self.graph is not None, "a job of another process is not sent again"
        if self.watch is not None:
            self.watch.submitted()
        return client.submit(self.graph, prompt_id=self.prompt_id, extra_data=self.extra_data)

    def wait(
        self, client: Client, *, on_turn: Callable[[], None] = _nothing_to_do
    ) -> HistoryRecord:
        """Wait for its end and return its record; see `Client.wait`."""
        record = client.wait(self.prompt_id, on_event=self._happened, on_turn=on_turn)
        self._ended()
        return record

    def hear_out(
        self, client: Client, *, on_turn: Callable[[], None] = _nothing_to_do, gather: float = 0.0
    ) -> HistoryRecord | None:
        """Wait for its end as `Client.hear_out` does: None where the server's word is enough."""
        record = client.hear_out(
            self.prompt_id, on_event=self._happened, on_turn=on_turn, gather=gather
        )
        self._ended()
        return record

    @contextmanager
    def cancelled_on_departure(self, client: Client) -> Iterator[None]:
        """Take the job from the server where the block is left before the job has ended."""
        try:
            yield
        except JobTimedOut as error:
            try:
                client.cancel(self.prompt_id, within=_LATE)
            except ServerError as gone:
                words = f"{error}; it could not be cancelled there in time, and may go on"
                raise JobTimedOut(words) from gone
            raise
        except (JobError, ServerError):
            # It has ended, or the server has, and the job with it.
            raise
        except BaseException:
            # Where the server is gone the job is, too, and the first reason is the one to tell.
            with suppress(ServerError):
                client.cancel(self.prompt_id, within=_LEAVING)
            raise

    def _happened(self, event: Event) -> None:
        if self.watch is not None:
            self.watch.observe(event)
        for observe in self.observers:
            observe(event)

    def _ended(self) -> None:
        if self.watch is not None:
            self.watch.ended()
