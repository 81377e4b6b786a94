"""Brings pictures home beside the thread that feeds the server.

A disk may take 50 ms to say that a picture is on it, and a slow line longer to bring it; while that
goes on, the server must already have its next job.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from ...client.client import Client, raise_for_state
from ...client.timings import Stopwatch
from ...errors import JobError, OutputError, ResultWrong, ServerError, SpriteworksError
from ...protocol import Graph, HistoryRecord
from ...runs.fetching import Fetched, sent_as_told
from ...workflow.signatures import Signatures
from ..logic.assignments import Assignment, Rejection
from ..logic.gates import CUT, GRAPH, JudgedPicture, pixels_sha256
from ..logic.jobs import Job, Timing
from ..logic.messages import fault
from ..logic.retry import Rung, classify
from .collecting import CollectedPicture, Collector
from .dispatcher import Dispatcher, Fate
from .endings import Finished
from .fleet import FleetServer
from .spans import SpanTaker

# Graphs whose pictures go home together at most, and s that the first waits for others.
_TOGETHER, _LINGER = 16, 0.25
# Graphs whose pictures may wait to be brought home; then the server waits, too.
_BACKLOG = 2 * _TOGETHER
# Times that what an attempt made may fail to come from a server that answers otherwise.
_FETCHES = 3


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What was measured of a picture."""

    # why it is rejected; "" where it passes
    reason: str = ""
    # {gate: value}
    measured: Mapping[str, float] = field(default_factory=dict)
    # whether it is rejected for what its server did, so that another seed would change nothing
    is_servers_fault: bool = False


class Judge(Protocol):
    """Who looks at pictures and knows what could be made easier about a job."""

    def rungs(self, assignment: Assignment) -> Sequence[Rung]:
        """What could be made easier about an assignment."""

    def needs_pixels(self, job: Job) -> bool:
        """Say whether anybody wants to see a job's picture."""

    def judge(self, job: Job, picture: JudgedPicture) -> Judgement:
        """What is measured of a job's picture, and why it is rejected."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """An attempt that ended well, and whose pictures are still on its server."""

    assignment: Assignment
    # None where the server only said so; then it is looked for with the pictures
    record: HistoryRecord | None
    watch: Stopwatch | None
    # as it was sent; None for an attempt of an earlier run, of which only the server can tell
    graph: Graph | None = None
    # s from submission to the end
    seconds: float
    # before it the server had nothing of ours to do, or was away
    paused: bool = False
    # False where more will be handed over soon, with which it may go
    urgent: bool = True


@dataclass(kw_only=True)
class _Home:
    """The pictures of a load, here and judged, and not in the folder yet."""

    load: Load
    spans: list[Timing]
    kept: list[tuple[CollectedPicture, Judgement, str]] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)


class Downloader(threading.Thread):
    """One server's carrier of pictures. What cannot be fetched now goes to `returned`.

    Several loads go together where they come fast: one awakening, one transaction.
    """

    def __init__(
        self, server: FleetServer, dispatcher: Dispatcher, judge: Judge, collector: Collector
    ) -> None:
        super().__init__(name=f"{server.name} downloader", daemon=True)
        self.returned: queue.SimpleQueue[Load] = queue.SimpleQueue()
        self._server = server
        self._dispatcher = dispatcher
        self._judge = judge
        self._collector = collector
        self._spans = SpanTaker()
        self._changed = threading.Condition()
        self._loads: deque[Load] = deque()
        # loads that were taken up and are not home yet
        self._under_way = 0
        # whether what waits shall go without waiting for more
        self._urgent = False
        self._finished = False
        # its own connection, which never meets those of the feeding thread
        self._client: Client | None = None
        # whether that leads to a server that has gone
        self._stale = False
        # times that what an attempt made could not be fetched, by prompt_id
        self._misses: Counter[str] = Counter()
        # oddities of its pictures that were told of
        self._told: set[str] = set()

    def carry(self, load: Load) -> None:
        """Take over an attempt; waits where too many wait already."""
        with self._changed:
            while len(self._loads) >= _BACKLOG and self.is_alive():
                self._changed.wait(1.0)
            self._loads.append(load)
            self._urgent = self._urgent or load.urgent
            # Between the first and the last of a group there is nothing to wake up for.
            if self._urgent or len(self._loads) in (1, _TOGETHER):
                self._changed.notify_all()

    def drain(self) -> None:
        """Wait until all that was handed over is home, or was returned; the server may go then."""
        with self._changed:
            while (self._loads or self._under_way) and self.is_alive():
                self._urgent = True
                self._changed.notify_all()
                self._changed.wait(1.0)
            # A server of ours that is started anew has another address.
            self._stale = True

    def finish(self) -> None:
        """Carry what waits to its end, and then no more."""
        with self._changed:
            self._finished = True
            self._changed.notify_all()
        self.join()

    def abandon(self) -> None:
        """From any thread: wait no longer for the server."""
        client = self._client
        if client is not None:
            client.abort()

    def run(self) -> None:
        """Work until `finish`; never raises."""
        try:
            while loads := self._next():
                self._bring(loads)
        except SpriteworksError as error:
            self._dispatcher.stop(error)
        except Exception as error:  # noqa: BLE001  (the last place before the thread ends)
            self._dispatcher.stop(fault(error, self.name))
        finally:
            self._drop_connection()

    def _next(self) -> list[Load]:
        """The loads to bring home together; none after `finish`."""
        with self._changed:
            self._under_way = 0
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._loads or self._finished)
            self._changed.wait_for(self._is_time, _LINGER)
            taken = [self._loads.popleft() for _ in range(min(len(self._loads), _TOGETHER))]
            self._under_way = len(taken)
            self._urgent = self._urgent and bool(self._loads)
            # There is room again.
            self._changed.notify_all()
            return taken

    def _is_time(self) -> bool:
        return self._urgent or self._finished or len(self._loads) >= _TOGETHER

    def _bring(self, loads: Sequence[Load]) -> None:
        homes: list[_Home] = []
        left = deque(loads)
        if self._stale:
            self._stale = False
            self._drop_connection()
        try:
            if self._client is None:
                self._client = self._server.connected()
            while left:
                home = self._dispatcher.patiently(partial(self._fetched, self._client, left[0]))
                left.popleft()
                homes += [home] if home else []
        except ServerError as error:
            # A process of ours that is started anew has another address.
            self._drop_connection()
            if self._is_hopeless(left[0], error):
                left.popleft()
            for load in left:
                self.returned.put(load)
            self._dispatcher.nudge()
        try:
            placed = (self._placed(home) for home in homes)
            finished = [one for one in placed if one is not None]
            if finished:
                self._finish(finished)
        finally:
            for home in homes:
                self._collector.release(home.load.assignment)

    def _finish(self, finished: Sequence[Finished]) -> None:
        """Let what is here count; one that gets no name stands in no other's way."""
        try:
            self._dispatcher.done(*finished)
        except OutputError as error:
            if len(finished) == 1:
                self._cannot_write(error)
                return
            for one in finished:
                self._finish([one])

    def _cannot_write(self, error: OutputError) -> None:
        """End the run: pictures cannot be written, which is no fault of their jobs."""
        if not self._dispatcher.stopping:
            self._dispatcher.say(f"the run stops: {error}", warning=True)
        self._dispatcher.stop(error)

    def _is_hopeless(self, load: Load, error: ServerError) -> bool:
        """Fail a load that a server has and does not bring, though it answers; True where so."""
        prompt_id = load.assignment.attempt.prompt_id
        self._misses[prompt_id] += 1
        if self._misses[prompt_id] < _FETCHES:
            return False
        del self._misses[prompt_id]
        words = f"what it made could not be fetched in {_FETCHES} tries: {error}"
        self._failed(load, ResultWrong(words))
        return True

    def _drop_connection(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _fetched(self, client: Client, load: Load) -> _Home | None:
        """Bring the pictures of a load here; None where that failed, or it was returned."""
        began = time.monotonic()
        try:
            record = load.record or client.history(load.assignment.attempt.prompt_id)
            if record is None:
                # What the server said and what it knows differ; the feeding thread finds out.
                self.returned.put(load)
                self._dispatcher.nudge()
                return None
            raise_for_state(record)
            home = _Home(load=load, spans=self._spans.take(record, load.watch, paused=load.paused))
            sent = Signatures(load.graph) if load.graph else sent_as_told(record)
            for part in self._collector.fetch(client, load.assignment, record, sent):
                self._look(part, home)
        except JobError as error:
            self._failed(load, error)
            return None
        rejected = {one.key for one in home.rejections}
        home.kept = [one for one in home.kept if one[0].job.key not in rejected]
        home.spans.append(Timing(span="transfer", seconds=time.monotonic() - began))
        return home

    def _look(self, part: CollectedPicture, home: _Home) -> None:
        judgement, pixels, look = Judgement(), "", part.fetched.look
        if look is not None and self._judge.needs_pixels(part.job):
            picture = JudgedPicture(rgba=look.rgba, has_graph=part.fetched.has_graph)
            judgement, pixels = self._judge.judge(part.job, picture), pixels_sha256(picture)
        if judgement.is_servers_fault:
            raise ResultWrong(f"what came for {part.job.name}: {judgement.reason}")
        if judgement.reason:
            home.rejections.append(Rejection(key=part.job.key, reason=judgement.reason))
            return
        self._tell_oddities(part.fetched)
        home.kept.append((part, judgement, pixels))

    def _tell_oddities(self, seen: Fetched) -> None:
        """Say what is odd about a server's pictures that count all the same, once each."""
        name, odd = self._server.name, {}
        if not seen.has_graph:
            odd["graph"] = (
                "sends pictures that carry no graph, so nobody can see that they are what was "
                "asked for; they count, and the gate `graph` would refuse them"
            )
        if seen.cut:
            odd["cut"] = (
                f"sends {seen.cut} bytes behind the end of a picture, as something that is no part "
                "of it; they are cut off"
            )
        for what, words in odd.items():
            if what not in self._told:
                self._told.add(what)
                self._dispatcher.say(f"{name} {words}", warning=True, server=name)

    def _placed(self, home: _Home) -> Finished | None:
        """Put the pictures of a load into the folder; None where that failed, or is not wanted.

        A failure is no fault of the job, and ends the run. The attempt stays open: its pictures
        are on the server, where the next run looks for them.
        """
        began = time.monotonic()
        assignment = home.load.assignment
        if not self._dispatcher.holds(assignment):
            return None
        if self._dispatcher.fate(assignment) is Fate.CALLED_OFF:
            self._dispatcher.give_back(assignment, "a person cancelled it")
            return None
        try:
            artifacts = [
                self._dispatcher.patiently(
                    partial(
                        self._collector.place,
                        part,
                        {**oddities(part.fetched), **judgement.measured},
                        pixels,
                        assignment,
                    )
                )
                for part, judgement, pixels in home.kept
            ]
        except OutputError as error:
            self._cannot_write(error)
            return None
        return Finished(
            assignment=assignment,
            artifacts=artifacts,
            rejections=home.rejections,
            seconds=home.load.seconds,
            spans=[*home.spans, Timing(span="store", seconds=time.monotonic() - began)],
            keep=self._collector.keep,
        )

    def _failed(self, load: Load, error: SpriteworksError) -> None:
        possible = self._judge.rungs(load.assignment)
        self._dispatcher.failed(load.assignment, classify(error), str(error), possible=possible)


def oddities(seen: Fetched) -> dict[str, float]:
    """What is noted of a picture that counts and is odd, beside what gates measured of it."""
    return {**({} if seen.has_graph else {GRAPH: 0.0}), **({CUT: seen.cut} if seen.cut else {})}
