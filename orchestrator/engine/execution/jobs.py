"""The queue of jobs and the history of those that are over."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...protocol import Graph

# as many as ComfyUI keeps; a record holds its whole graph
MAX_HISTORY = 10_000


@dataclass(frozen=True, kw_only=True)
class GraphJob:
    """One accepted graph."""

    # lower runs first; equal ones by id, as in ComfyUI
    number: float
    prompt_id: str
    graph: Graph
    extra_data: Mapping[str, Any]
    # the output nodes to run
    outputs: tuple[str, ...]
    # set to stop the job; belongs to the job, so that a late stop never hits the next one
    stop: threading.Event = field(default_factory=threading.Event, compare=False)

    @property
    def client_id(self) -> str | None:
        """The client that gets the events of this job."""
        found = self.extra_data.get("client_id")
        return None if found is None else str(found)

    def to_json(self) -> list[Any]:
        """The five items that queue and history give."""
        return [
            self.number,
            self.prompt_id,
            self.graph,
            dict(self.extra_data),
            list(self.outputs),
        ]


@dataclass(frozen=True, kw_only=True)
class Report:
    """How a job ended, as its history record says it."""

    success: bool
    # {node id: {"images": [...]}}
    outputs: dict[str, Any]
    meta: dict[str, Any]
    # [event name, its data with a timestamp in ms]
    messages: list[Any]

    def to_json(self, job: GraphJob) -> dict[str, Any]:
        """The history record."""
        return {
            "prompt": job.to_json(),
            "outputs": self.outputs,
            "status": {
                "status_str": "success" if self.success else "error",
                "completed": self.success,
                "messages": self.messages,
            },
            "meta": self.meta,
        }


class GraphQueue:
    """Jobs that wait, the one that runs, and the records of those that are over. Thread-safe."""

    def __init__(self, changed: Callable[[], None], max_history: int = MAX_HISTORY) -> None:
        """`changed` is called after every change of the queue's length."""
        self._changed = changed
        self._max_history = max_history
        # its lock may be taken again by the thread that holds it
        self._condition = threading.Condition()
        self._pending: list[GraphJob] = []
        self._running: GraphJob | None = None
        self._history: dict[str, dict[str, Any]] = {}
        self._next_number = 0
        self._free = False
        self._closed = False

    def take_number(self, front: bool = False) -> int:
        """The number of a job that names none; one for the front is negative."""
        with self._condition:
            number = self._next_number
            self._next_number += 1
        return -number if front else number

    def put(self, job: GraphJob) -> None:
        with self._condition:
            self._pending.append(job)
            self._pending.sort(key=lambda each: (each.number, each.prompt_id))
            self._condition.notify_all()
        self._changed()

    def take(self) -> GraphJob | None:
        """Wait for the next job and mark it as running; None to free memory or to end."""
        with self._condition:
            self._condition.wait_for(lambda: self._pending or self._free or self._closed)
            if self._closed or not self._pending:
                return None
            self._running = job = self._pending.pop(0)
        self._changed()
        return job

    def done(self, job: GraphJob, report: Report) -> None:
        """Write the record of the job that ran."""
        with self._condition:
            self._running = None
            # the same id again replaces the record, and counts as the newest
            self._history.pop(job.prompt_id, None)
            self._history[job.prompt_id] = report.to_json(job)
            while len(self._history) > self._max_history:
                del self._history[next(iter(self._history))]
        self._changed()

    def snapshot(self) -> tuple[list[GraphJob], list[GraphJob]]:
        """(running, pending), the latter in the order in which they run."""
        with self._condition:
            running = [] if self._running is None else [self._running]
            return running, list(self._pending)

    def overview(self) -> tuple[list[GraphJob], list[GraphJob], dict[str, Any]]:
        """(running, pending, records) of one moment: no job is in two of them, or in none."""
        with self._condition:
            return *self.snapshot(), dict(self._history)

    def remaining(self) -> int:
        """How many jobs wait or run."""
        running, pending = self.snapshot()
        return len(running) + len(pending)

    def delete(self, prompt_ids: Collection[str]) -> None:
        """Drop waiting jobs; the one that runs goes on, and no record is written."""
        gone = set(prompt_ids)
        with self._condition:
            self._pending = [job for job in self._pending if job.prompt_id not in gone]
        self._changed()

    def clear(self) -> None:
        """Drop every waiting job."""
        with self._condition:
            self._pending = []
        self._changed()

    def cancel(self, prompt_id: str) -> bool:
        """Take a job out that waits, or stop it where it runs; False where it does neither."""
        with self._condition:
            if self._running is not None and self._running.prompt_id == prompt_id:
                self._running.stop.set()
                return True
            waiting = next((job for job in self._pending if job.prompt_id == prompt_id), None)
            if waiting is None:
                return False
            self._pending.remove(waiting)
        self._changed()
        return True

    def interrupt(self, prompt_id: str | None = None) -> None:
        """Stop the job that runs; with an id only if it is that one."""
        with self._condition:
            job = self._running
            if job is not None and prompt_id in (None, job.prompt_id):
                job.stop.set()

    def history(self, max_items: int | None = None, offset: int = -1) -> dict[str, Any]:
        """Records, the oldest first; the newest `max_items`, or that many from `offset` on."""
        with self._condition:
            records = list(self._history.items())
        if max_items is not None and offset < 0:
            offset = len(records) - max_items
        records = records[max(offset, 0) :]
        return dict(records if max_items is None else records[: max(max_items, 0)])

    def record(self, prompt_id: str) -> dict[str, Any]:
        """`{id: record}`, or `{}` where there is none."""
        with self._condition:
            record = self._history.get(prompt_id)
            return {} if record is None else {prompt_id: record}

    def delete_history(self, prompt_ids: Collection[str]) -> None:
        with self._condition:
            for prompt_id in prompt_ids:
                self._history.pop(prompt_id, None)

    def clear_history(self) -> None:
        with self._condition:
            self._history.clear()

    def ask_to_free(self) -> None:
        """Have the worker free memory before the next job."""
        with self._condition:
            self._free = True
            self._condition.notify_all()

    def must_free(self) -> bool:
        """Say once whether somebody asked to free memory."""
        with self._condition:
            asked, self._free = self._free, False
            return asked

    def close(self) -> None:
        """Stop the running job and let the worker end."""
        with self._condition:
            self._closed = True
            if self._running is not None:
                self._running.stop.set()
            self._condition.notify_all()

    @property
    def closed(self) -> bool:
        return self._closed
