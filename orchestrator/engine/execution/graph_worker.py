"""The one thread that runs jobs; nothing that a node does ends it."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable

from ...protocol import Executing, ExecutionError, event_data, event_name
from .executor import Executor
from .graph_progress import Audience
from .jobs import GraphJob, GraphQueue, Report
from .validation import Nodes, type_name

logger = logging.getLogger(__name__)

# how long a stop waits for the step that runs, in s: all ends within 5, and clients had 1 of them
_STOP_SECONDS = 3.0


class GraphWorker:
    """Takes jobs from the queue, runs them, and writes their records."""

    def __init__(self, queue: GraphQueue, nodes: Callable[[], Nodes], audience: Audience) -> None:
        self._queue = queue
        self._audience = audience
        self._executor = Executor(nodes, audience)
        self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Interrupt the running job, and wait a while for the thread to end."""
        self._queue.close()
        self._thread.join(_STOP_SECONDS)

    def _work(self) -> None:
        while not self._queue.closed:
            job = self._queue.take()
            if job is not None:
                self._run(job)
            if self._queue.must_free():
                self._executor.free()

    def _run(self, job: GraphJob) -> None:
        started = time.perf_counter()
        # A dead worker would strand every job, so nothing gets past here.
        try:
            report = self._executor.run(job)
        except BaseException as error:
            logger.exception("job %s failed outside its nodes", job.prompt_id)
            report = self._failure(job, error)
        # The record exists before the event that says the run is over; clients rely on it.
        self._queue.done(job, report)
        if job.client_id is not None:
            self._audience.send(Executing(prompt_id=job.prompt_id, node=None), job.client_id)
        logger.info("job %s took %.2f s", job.prompt_id, time.perf_counter() - started)

    def _failure(self, job: GraphJob, error: BaseException) -> Report:
        node_id = job.outputs[0]
        event = ExecutionError(
            prompt_id=job.prompt_id,
            node_id=node_id,
            node_type=job.graph[node_id]["class_type"],
            exception_message=str(error) or type(error).__name__,
            exception_type=type_name(type(error)),
            traceback=tuple(traceback.format_tb(error.__traceback__)),
            timestamp=int(time.time() * 1000),
        )
        self._audience.send(event, job.client_id)
        messages = [[event_name(event), event_data(event)]]
        return Report(success=False, outputs={}, meta={}, messages=messages)
