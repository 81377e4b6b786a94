"""Hints through a Redis by Celery: each listener is a Celery worker that is woken.

The one task, `spriteworks.wake`, only says that something waits; what is to be done stands in the
record. Each model has a queue, `spriteworks.MODEL`, and whoever has the model consumes it. The
queues are fanout ones (Redis: PUBLISH): every worker of a model is woken, also where the next one
is busy, and a hint that nobody hears leaves nothing behind in Redis. So Redis needs no persistence,
no result is kept, nothing is acknowledged late, and nothing is lost with it that matters.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from ...extras import needed
from .coalescing import Coalescer
from .wakeups import ANY, Models, names_in

with needed("worker", "--broker"):
    import redis  # noqa: F401  (kombu's own error would name no extra)
    from celery import Celery
    from celery.worker import WorkController, state
    from kombu import Exchange, Queue

logger = logging.getLogger(__name__)

TASK = "spriteworks.wake"
_PREFIX = "spriteworks."
# who has not said which models there are hears of everything
_ALL = "spriteworks"
# Redis makes it a part of the channel's name, and Celery puts one of its own where there is none.
_KEY = "wake"
# s between two looks which models there are, before a listener begins anew, and that it has to end
_LOOK, _PAUSE, _PARTING = 2.0, 0.5, 5.0
_CONFIGURATION = {
    "task_ignore_result": True,
    "task_acks_late": False,
    "task_publish_retry": False,
    "task_serializer": "json",
    "accept_content": ["json"],
    "worker_prefetch_multiplier": 1,
    # what Flower shows
    "worker_send_task_events": True,
    # The log is ours.
    "worker_hijack_root_logger": False,
    "worker_redirect_stdouts": False,
    # It asks to be told, and we have no such tasks.
    "worker_cancel_long_running_tasks_on_connection_loss": True,
    "broker_connection_retry_on_startup": True,
    # None is for ever: the broker may be away for a night.
    "broker_connection_max_retries": None,
    "broker_connection_timeout": 3.0,
    "broker_transport_options": {
        "socket_connect_timeout": 3.0,
        "socket_timeout": 5.0,
        "socket_keepalive": True,
        # a cut line is noticed within so many s
        "health_check_interval": 10,
        # Whoever publishes is told at once that the broker is away.
        "max_retries": 1,
        "interval_start": 0,
    },
}
# Two lines for each hint are too many.
for _loud in ("celery.worker.strategy", "celery.app.trace"):
    logging.getLogger(_loud).setLevel(logging.WARNING)
# Celery keeps in the module `state` whether its worker is to end, so there is one in a process.
_one_at_a_time = threading.Lock()


class CeleryWakeups:
    """Tells and hears hints through a broker."""

    def __init__(self, url: str, name: str = "") -> None:
        """`name` is what Flower calls this process, before the host's name."""
        self._app = Celery("spriteworks", broker=url, set_as_current=False)
        self._app.conf.update(_CONFIGURATION)
        self._name = name or f"spriteworks-{os.getpid()}"
        self._listener: _Listener | None = None
        self._app.task(name=TASK, shared=False, lazy=False)(self._woken)
        # over one connection of its own; None until there is one
        self._producer: Any = None
        self._sender = Coalescer(self._tell, "broker", "hints through the broker")

    def call(self, models: Iterable[str]) -> None:
        """Tell that jobs wait which need these models; see `Wakeups`."""
        self._sender.put(models)

    @contextmanager
    def listen(self, arrived: Callable[[], None], models: Models | None = None) -> Iterator[None]:
        """Call `arrived` when something waits; see `Wakeups`. One at a time in a process."""
        if not _one_at_a_time.acquire(blocking=False):
            raise RuntimeError("this process listens to a broker already")
        listener = self._listener = _Listener(self._app, self._name, arrived, models)
        listener.start()
        try:
            yield
        finally:
            self._listener = None
            listener.end()
            _one_at_a_time.release()

    def close(self) -> None:
        """Tell nothing more."""
        self._sender.close()
        self._hang_up()

    def _woken(self) -> None:
        """The task."""
        listener = self._listener
        if listener is not None:
            listener.woken()

    def _tell(self, models: frozenset[str]) -> None:
        names = {name for model in models for name in names_in(model)}
        if self._producer is None:
            self._producer = self._app.amqp.Producer(self._app.connection_for_write())
        try:
            for queue in [_ALL, *sorted(map(queue_of, names))]:
                self._app.send_task(
                    TASK, producer=self._producer, declare=[_fanout(queue)], **_address(queue)
                )
        except BaseException:
            self._hang_up()
            raise

    def _hang_up(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.connection.release()


class _Listener(threading.Thread):
    """A Celery worker in a thread: pool solo, for its task takes no time."""

    def __init__(
        self, app: Celery, name: str, arrived: Callable[[], None], models: Models | None
    ) -> None:
        super().__init__(name="celery", daemon=True)
        self._app = app
        self._host = f"{name}@{socket.gethostname()}"
        self._models = models
        # `arrived` may wait for the dispatcher, and Celery's heartbeat must not wait for it.
        self._hand_on = Coalescer(lambda _: arrived(), "arrived")
        self._ending = threading.Event()
        self._queues: list[str] = []

    def end(self) -> None:
        """Hear nothing more."""
        self._ending.set()
        late = time.monotonic() + _PARTING
        while self.is_alive() and time.monotonic() < late:
            # again, as a worker that ends meanwhile takes it back
            state.should_stop = 0
            self.join(_PAUSE)
        state.should_stop = None
        self._hand_on.close()

    def run(self) -> None:
        """Listen until it ends; a broker that is away is waited for."""
        # of this thread: it is where Celery looks for the task
        self._app.set_current()
        while not self._ending.is_set():
            self._queues = self._wanted()
            self._app.amqp.queues = self._app.amqp.Queues(map(_queue, self._queues))
            worker = WorkController(
                app=self._app,
                hostname=self._host,
                pool="solo",
                concurrency=1,
                task_events=True,
                without_mingle=True,
                without_gossip=True,
                ready_callback=self._ready,
            )
            worker.start()
            # It has ended because there are other models, or by an error that the log tells.
            state.should_stop = None
            self._ending.wait(_PAUSE)

    def woken(self) -> None:
        """Something waits."""
        self._hand_on.put([ANY])

    def _ready(self, consumer: Any) -> None:
        # What was told before is not told again.
        self.woken()
        if self._models is not None:
            consumer.timer.call_repeatedly(_LOOK, self._follow)

    def _follow(self) -> None:
        """Begin anew where there are other models: Redis subscribes when a worker begins."""
        if self._wanted() != self._queues:
            state.should_stop = 0

    def _wanted(self) -> list[str]:
        if self._models is None:
            return [_ALL]
        return sorted(map(queue_of, {ANY, *self._models()}))


def queue_of(model: str) -> str:
    """The queue of a model; a slash or an asterisk would mean something to Redis."""
    return _PREFIX + quote(model, safe="")


def _fanout(name: str) -> Exchange:
    return Exchange(name, type="fanout", durable=False)


def _address(name: str) -> dict[str, str]:
    return {"exchange": name, "exchange_type": "fanout", "routing_key": _KEY}


def _queue(name: str) -> Queue:
    return Queue(name, exchange=_fanout(name), routing_key=_KEY, durable=False, auto_delete=True)
