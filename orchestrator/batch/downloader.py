"""Brings pictures home beside the thread that feeds the server.

A disk may take 50 ms to say that a picture is on it, and a slow line longer to bring it; while that
goes on, the server must already have its next job.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ..client.client import Client
from ..errors import JobError, OutputError, ServerError, SpriteworksError
from ..protocol import HistoryRecord
from .collecting import fetch, look_at, place
from .dispatcher import Assignment, Dispatcher, Rejection
from .fleet import Server
from .gates import Picture
from .jobs import Artifact, Job, Timing
from .retry import Rung, classify

# Graphs whose pictures may wait to be brought home; then the server waits, too.
_BACKLOG = 8


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What was measured of a picture."""

    # why it is rejected; "" where it passes
    reason: str = ""
    # {gate: value}
    measured: Mapping[str, float] = field(default_factory=dict)


class Judge(Protocol):
    """Who looks at pictures and knows what could be made easier about a job."""

    def rungs(self, assignment: Assignment) -> Sequence[Rung]:
        """What could be made easier about an assignment."""

    def judge(self, job: Job, picture: Picture) -> Judgement:
        """What is measured of a job's picture, and why it is rejected."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """An attempt that ended well, and whose pictures are still on its server."""

    assignment: Assignment
    record: HistoryRecord
    # s from submission to the end
    seconds: float
    spans: tuple[Timing, ...]


class Downloader(threading.Thread):
    """One server's carrier of pictures. What cannot be fetched now goes to `returned`."""

    def __init__(self, server: Server, dispatcher: Dispatcher, judge: Judge, folder: Path) -> None:
        super().__init__(name=f"{server.name} downloader", daemon=True)
        self.returned: queue.SimpleQueue[Assignment] = queue.SimpleQueue()
        self._server = server
        self._dispatcher = dispatcher
        self._judge = judge
        self._folder = folder
        self._loads: queue.Queue[Load | None] = queue.Queue(maxsize=_BACKLOG)
        # its own connection, which never meets those of the feeding thread
        self._client: Client | None = None

    def carry(self, load: Load) -> None:
        """Take over an attempt; waits where too many wait already."""
        self._put(load)

    def drain(self) -> None:
        """Wait until all that was handed over is home, or was returned."""
        with self._loads.all_tasks_done:
            while self._loads.unfinished_tasks and self.is_alive():
                self._loads.all_tasks_done.wait(1.0)

    def finish(self) -> None:
        """Carry what waits to its end, and then no more."""
        self._put(None)
        self.join()

    def _put(self, load: Load | None) -> None:
        while self.is_alive():
            try:
                return self._loads.put(load, timeout=1.0)
            except queue.Full:
                # It may have ended by a fault; then nobody makes room any more.
                continue
        return None

    def run(self) -> None:
        """Work until `finish`; never raises."""
        try:
            while (load := self._loads.get()) is not None:
                self._bring(load)
                self._loads.task_done()
        except SpriteworksError as error:
            self._dispatcher.stop(error)
        except Exception as error:  # noqa: BLE001  (the last place before the thread ends)
            self._dispatcher.stop(fault(error, self.name))
        finally:
            self._drop_connection()

    def _bring(self, load: Load) -> None:
        try:
            if self._client is None:
                self._client = self._server.connected()
            self._bring_home(self._client, load)
        except (JobError, OutputError) as error:
            possible = self._judge.rungs(load.assignment)
            self._dispatcher.failed(load.assignment, classify(error), str(error), possible=possible)
        except ServerError:
            # A process of ours that is started anew has another address.
            self._drop_connection()
            self.returned.put(load.assignment)
            self._dispatcher.nudge()

    def _drop_connection(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _bring_home(self, client: Client, load: Load) -> None:
        began = time.monotonic()
        assignment = load.assignment
        parts = fetch(client, assignment, load.record)
        fetched = time.monotonic()
        artifacts: list[Artifact] = []
        rejections: list[Rejection] = []
        for part in parts:
            picture = look_at(part)
            judgement = self._judge.judge(part.job, picture)
            if judgement.reason:
                rejections.append(Rejection(key=part.job.key, reason=judgement.reason))
            else:
                measured = judgement.measured
                artifacts.append(place(part, picture, measured, assignment, self._folder))
        spans = [
            *load.spans,
            Timing(span="transfer", seconds=fetched - began),
            Timing(span="store", seconds=time.monotonic() - fetched),
        ]
        self._dispatcher.done(assignment, artifacts, rejections, seconds=load.seconds, spans=spans)


def fault(error: Exception, where: str) -> SpriteworksError:
    """An error that should not have happened, as one of ours."""
    wrapped = SpriteworksError(
        f"this is a fault of Spriteworks ({type(error).__name__}: {error}) at {where}; please "
        "report it"
    )
    wrapped.__cause__ = error
    return wrapped
