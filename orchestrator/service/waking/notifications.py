"""Hints by PostgreSQL's LISTEN and NOTIFY, over connections of their own.

A hint is told outside of the transaction that wrote the jobs: transactions that notify commit one
after the other (https://www.postgresql.org/docs/current/sql-notify.html). A pooler between us and
the database must keep a connection for its client (pgbouncer: pool_mode=session), as LISTEN is one
connection's.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from ...batch.execution.store.database import engine_of
from .coalescing import Coalescer
from .wakeups import ANY, Models, names_in

logger = logging.getLogger(__name__)

CHANNEL = "spriteworks_wake"
# A payload must be shorter than 8,000 bytes; one of this text is for all models.
_LONGEST, _EVERYTHING = 7000, ""
# s between two looks whether to end, after which a silent line is tried, and until a lost one is
# made anew
_TURN, _SILENCE, _REST = 0.5, 10.0, 1.0


class Notifications:
    """Tells and hears hints over a PostgreSQL database."""

    def __init__(self, url: str) -> None:
        self._engine = engine_of(url).execution_options(isolation_level="AUTOCOMMIT")
        self._speaking: sa.Connection | None = None
        self._sender = Coalescer(self._tell, "notify", "hints to other processes")

    def call(self, models: Iterable[str]) -> None:
        """Tell that jobs wait which need these models; see `Wakeups`."""
        self._sender.put(models)

    @contextmanager
    def listen(self, arrived: Callable[[], None], models: Models | None = None) -> Iterator[None]:
        """Call `arrived` when something waits; see `Wakeups`."""
        listener = _Listener(self._engine, arrived, models)
        listener.start()
        try:
            yield
        finally:
            listener.end()

    def close(self) -> None:
        """Tell nothing more."""
        self._sender.close()
        self._hang_up()
        self._engine.dispose()

    def _tell(self, models: frozenset[str]) -> None:
        if self._speaking is None:
            self._speaking = self._engine.connect()
        try:
            self._speaking.execute(sa.select(sa.func.pg_notify(CHANNEL, payload_of(models))))
        except BaseException:
            self._hang_up()
            raise

    def _hang_up(self) -> None:
        connection, self._speaking = self._speaking, None
        if connection is not None:
            connection.invalidate()
            connection.close()


class _Listener(threading.Thread):
    """Listens over one connection, and makes a new one where it breaks."""

    def __init__(
        self, engine: sa.Engine, arrived: Callable[[], None], models: Models | None
    ) -> None:
        super().__init__(name="listen", daemon=True)
        self._engine = engine
        self._models = models
        # `arrived` may wait for the dispatcher, and the line must not wait for it.
        self._hand_on = Coalescer(lambda _: arrived(), "arrived")
        self._ending = threading.Event()
        self._trouble = ""

    def end(self) -> None:
        """Hear nothing more."""
        self._ending.set()
        self.join()
        self._hand_on.close()

    def run(self) -> None:
        """Listen until it ends; a database that is away is waited for."""
        while not self._ending.is_set():
            try:
                with self._engine.connect() as connection:
                    self._hear(connection.connection.driver_connection)
            except Exception as error:  # noqa: BLE001  (whatever a driver raises, hints may be lost)
                self._ill(str(error).splitlines()[0])
            self._ending.wait(_REST)

    def _hear(self, line: Any) -> None:
        line.execute(f"LISTEN {CHANNEL}")
        self._well()
        # What was told before is not told again.
        self._hand_on.put([ANY])
        tried = time.monotonic()
        while not self._ending.is_set():
            for one in line.notifies(timeout=_TURN):
                tried = time.monotonic()
                if concerns(one.payload, self._models):
                    self._hand_on.put([ANY])
            if time.monotonic() - tried > _SILENCE:
                line.execute("SELECT 1")
                tried = time.monotonic()

    def _well(self) -> None:
        if self._trouble:
            self._trouble = ""
            logger.info("hints of other processes are heard again")

    def _ill(self, error: str) -> None:
        if not self._trouble:
            logger.warning("hints of other processes are not heard for now: %s", error)
        self._trouble = error


def payload_of(models: Collection[str]) -> str:
    """What is sent for models; short enough, if need be by saying that it is for all."""
    names = sorted({name for model in models for name in names_in(model)})
    text = json.dumps(names)
    return text if len(text.encode()) <= _LONGEST else _EVERYTHING


def concerns(payload: str, models: Models | None) -> bool:
    """Say whether a hint is for somebody who has these models; one that is not ours is for all."""
    if models is None or payload == _EVERYTHING:
        return True
    try:
        wanted = set(map(str, json.loads(payload)))
    except (ValueError, TypeError):
        return True
    return ANY in wanted or not wanted.isdisjoint(models())
