"""Waits for one job: looks into history and queue, and hears the WebSocket to know when to look."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from ..errors import JobLost, ProtocolError, ServerError, ServerLost
from ..protocol import (
    Event,
    Executing,
    ExecutionError,
    ExecutionInterrupted,
    ExecutionStart,
    ExecutionSuccess,
    HistoryRecord,
    JobState,
    Preview,
    QueueState,
    QueueStatus,
)
from .foreign import Reaction, judge
from .listener import Listener
from .wire import Timeouts

# How soon to look again for a history record whose job has ended, in s. ComfyUI writes the record
# some milliseconds after it says "success".
_SOON = 0.02
# How long at most to hear what was sent before a record was written, in s.
_REST = 1.0
# Looks in a second; a server that gives reason for more is made to wait for the rest of it.
_MOST_LOOKS = 50


def endless() -> float:
    """Say that there is no deadline."""
    return math.inf


def ignore(event: Event) -> None:
    """Take an event and do nothing."""


def state_in(queue: QueueState, prompt_id: str) -> JobState:
    """Say where a job is in the queue."""
    if prompt_id in queue.running:
        return JobState.RUNNING
    return JobState.PENDING if prompt_id in queue.pending else JobState.UNKNOWN


class Watch:
    """Waits for one job."""

    def __init__(
        self,
        listener: Listener,
        prompt_id: str,
        *,
        url: str,
        look: Callable[[str], HistoryRecord | None],
        queue: Callable[[], QueueState],
        timeouts: Timeouts,
        on_event: Callable[[Event], None],
        check: Callable[[], None],
        on_turn: Callable[[], None],
        left: Callable[[], float] = endless,
        gather: float = 0.0,
    ) -> None:
        """`left` says for how many s there is still time, and raises when there is none."""
        self._url = url
        self._look_in_history = look
        self._look_in_queue = queue
        self._listener = listener
        self._prompt_id = prompt_id
        self._on_event = on_event
        self._check = check
        self._on_turn = on_turn
        self._timeouts = timeouts
        self._gather = gather
        now = time.monotonic()
        self._left = left
        # looks in the second that began then
        self._looks, self._second = 0, now
        self._answered = now
        # when, and how often in a row, the job was neither in queue nor in history
        self._absent_since = now
        self._absent = 0
        self._started = False
        # whether the server's word of a success is enough
        self._trusting = False
        # whether the server spoke of the job since the last look
        self._told = False
        self._ended = False
        # whether the server has said that it went well, and its last word of the job
        self._succeeded = False
        self._over = False
        self._ours_runs = False
        # the connection over which all of the job's events come; None where some may have been lost
        self._connection: str | None = None

    def run(self, *, look_first: bool = True) -> HistoryRecord:
        """Wait until the record is there."""
        record = self._run(look_first)
        assert record is not None
        return record

    def hear_out(self) -> HistoryRecord | None:
        """Wait for a job that was just sent; None once the server has said that it went well.

        That is believed only where nothing can have been missed; its record is there then.
        """
        self._trusting = True
        return self._run(look_first=False)

    def _run(self, look_first: bool) -> HistoryRecord | None:
        soon = _SOON
        if not look_first and self._listener.connected:
            # Nothing of this job can have been missed, as long as the connection stands: its own
            # events tell when to look, which saves two requests in three for a fast job.
            self._connection = self._listener.client_id
            self._listen(self._timeouts.poll)
        while True:
            if self._is_sure():
                return None
            self._take_turns()
            record = self._look()
            if record is not None:
                self._hear_the_rest()
                return record
            self._left()
            self._on_turn()
            # Once the end is heard the record is milliseconds away; then ever less hurry.
            self._listen(min(soon, self._timeouts.poll) if self._ended else self._timeouts.poll)
            soon = 2 * soon if self._ended else _SOON

    def _look(self) -> HistoryRecord | None:
        try:
            record = self._look_in_history(self._prompt_id)
            state = JobState.RUNNING if self._told or record else self._state()
        except ServerError as error:
            self._no_answer(error)
            return None
        self._answered = time.monotonic()
        self._told = False
        self._note(state)
        return record

    def _state(self) -> JobState:
        state = state_in(self._look_in_queue(), self._prompt_id)
        if state is JobState.RUNNING and not self._started:
            self._tell(ExecutionStart(prompt_id=self._prompt_id))
        return state

    def _no_answer(self, error: ServerError) -> None:
        self._check()
        silent = time.monotonic() - self._answered
        if judge(error) is Reaction.FATAL:
            raise error
        if silent <= self._timeouts.lost_after:
            return
        if isinstance(error, ProtocolError):
            raise ProtocolError(
                f"what the server at {self._url} says of job {self._prompt_id} could not be read "
                f"for {silent:.0f} s; look at what runs there ({error})"
            ) from error
        raise ServerLost(
            f"the server at {self._url} has not answered for {silent:.0f} s while job "
            f"{self._prompt_id} was on it; look at its log, then run this again"
        ) from error

    def _note(self, state: JobState) -> None:
        now = time.monotonic()
        if state is not JobState.UNKNOWN:
            self._absent, self._absent_since = 0, now
            return
        self._absent += 1
        patience = self._timeouts.lost_polls * self._timeouts.poll
        if self._absent >= self._timeouts.lost_polls and now - self._absent_since >= patience:
            raise JobLost(
                f"job {self._prompt_id} is neither in the queue nor in the history of "
                f"{self._url}: the server was restarted, or someone deleted it; run it again"
            )

    def _take_turns(self) -> None:
        """Keep looks apart where a server floods us with reasons for them."""
        now = time.monotonic()
        if now - self._second >= 1.0:
            self._looks, self._second = 0, now
        self._looks += 1
        if self._looks > _MOST_LOOKS:
            self._pass_on(self._second + 1.0)

    def _pass_on(self, until: float) -> None:
        """Hear events until then, whatever they say."""
        while (left := until - time.monotonic()) > 0:
            event = self._listener.hear(min(left, self._left()))
            if event is not None:
                self._take(event)

    def _listen(self, seconds: float) -> None:
        """Hear events for `seconds`, or until one says that a look is worth while."""
        until = time.monotonic() + min(seconds, self._left())
        while (left := until - time.monotonic()) > 0:
            event = self._listener.hear(left, gather=self._gather)
            if event is not None and self._take(event):
                return
            if self._ended:
                until = min(until, time.monotonic() + _SOON)

    def _hear_the_rest(self) -> None:
        """Hear what was sent before the record was written: a fast job is done before we listen."""
        until = time.monotonic() + _REST
        while not self._over and self._listener.connected and time.monotonic() < until:
            event = self._listener.hear(min(_SOON, self._left()))
            if event is None:
                return
            self._take(event)

    def _take(self, event: Event) -> bool:
        """Pass an event on where it is the job's; say whether it is time to look."""
        if isinstance(event, QueueStatus):
            # After a reconnection only this still reaches us: some job came or went. It also comes
            # between the word of an end and the last one.
            ended = self._ended and not self._trusting
            return event.sid is None and (ended or self._may_have_missed())
        if isinstance(event, Preview) and event.prompt_id is None:
            if self._ours_runs:
                self._on_event(event)
            return False
        if isinstance(event, ExecutionStart | Executing):
            self._ours_runs = event.prompt_id == self._prompt_id
        if getattr(event, "prompt_id", None) != self._prompt_id:
            return False
        self._told = True
        self._tell(event)
        self._succeeded = self._succeeded or isinstance(event, ExecutionSuccess)
        self._over = isinstance(event, Executing) and event.node is None
        if _ends(event):
            self._ended = True
            # The record of a success comes after the word of it, and before the last event.
            return self._over or self._may_have_missed()
        return False

    def _is_sure(self) -> bool:
        """Say whether the server's word that the job went well is enough."""
        heard = self._trusting and self._succeeded and self._over
        return heard and not self._may_have_missed()

    def _may_have_missed(self) -> bool:
        return self._connection is None or self._connection != self._listener.client_id

    def _tell(self, event: Event) -> None:
        if isinstance(event, ExecutionStart):
            if self._started:
                return
            self._started = True
        self._on_event(event)


def _ends(event: Event) -> bool:
    match event:
        case ExecutionSuccess() | ExecutionInterrupted():
            return True
        case Executing(node=None):
            return True
        case ExecutionError():
            return event.terminal
    return False
