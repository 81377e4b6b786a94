"""Tells the processes that work on one record that something waits, so that they look at once.

The record is the truth, and what is told here a hint: it may get lost, come twice or come late.
Every dispatcher looks by itself each second, so that without any hint a job waits a second longer
than it must. Hints come by PostgreSQL's NOTIFY, by changes of a SQLite file, or through a broker by
Celery where one is named.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol

from ...batch.store.database import read_url
from ...errors import UsageError

# What a hint for no certain model is for, such as a graph that loads none.
ANY = ""
# models that a listener's servers have; None is for all
Models = Callable[[], Collection[str]]


class Wakeups(Protocol):
    """Tells other processes that there is work, and hears it from them."""

    def call(self, models: Iterable[str]) -> None:
        """Tell that jobs wait which need these models, each as `Job.model` has it.

        Call it when the jobs are committed. It takes no time and never raises.
        """

    def listen(
        self, arrived: Callable[[], None], models: Models | None = None
    ) -> AbstractContextManager[None]:
        """Call `arrived`, from a thread of its own, whenever something waits, until the block ends.

        Where `models` says which models there are, only for jobs that need one of them, or none.
        """

    def close(self) -> None:
        """Tell nothing more."""


class Polling:
    """No hints at all: dispatchers look by themselves each second."""

    def call(self, models: Iterable[str]) -> None:
        """Tell nobody."""

    def listen(
        self, arrived: Callable[[], None], models: Models | None = None
    ) -> AbstractContextManager[None]:
        """Hear nothing."""
        return nullcontext()

    def close(self) -> None:
        """Nothing is open."""


def open_wakeups(database_url: str, broker_url: str = "", name: str = "") -> Wakeups:
    """How the processes of a record wake one another; nothing is connected yet.

    `database_url` is the record's, "" where nobody else works on it. A broker is a Redis, as
    redis://HOST:6379/0; `name` is what this process is called there. Raises UsageError where the
    broker is another one, or Celery is missing.
    """
    check_broker(broker_url)
    if broker_url:
        from .celery_wakeups import CeleryWakeups

        return CeleryWakeups(broker_url, name)
    if is_postgresql(database_url):
        from .notifications import Notifications

        return Notifications(database_url)
    if path := _file_of(database_url):
        from .file_changes import FileChanges

        return FileChanges(Path(path))
    return Polling()


def is_postgresql(url: str) -> bool:
    """Say whether a database speaks LISTEN and NOTIFY."""
    return bool(url) and read_url(url).get_backend_name() in ("postgres", "postgresql")


def _file_of(url: str) -> str:
    """The file that a database is; "" where it is none."""
    read = read_url(url) if url else None
    return (read.database or "") if read and read.get_backend_name() == "sqlite" else ""


def names_in(model: str) -> frozenset[str]:
    """The models in a `Job.model`, one name or several in JSON; {ANY} where there is none."""
    if model[:1] not in ('"', "[", "{"):
        return frozenset({model})
    try:
        found = frozenset(_texts(json.loads(model)))
    except ValueError:
        # a name that begins like JSON
        return frozenset({model})
    return found or frozenset({ANY})


def _texts(value: object) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)


def check_broker(url: str) -> None:
    """Raise UsageError where a broker is no Redis, or Celery is missing; "" is without one."""
    if not url:
        return
    kind, separator, _ = url.partition("://")
    if not separator or kind not in ("redis", "rediss", "redis+socket"):
        raise UsageError("--broker is a Redis, as redis://HOST:6379/0")
    # Only now: it takes 0.3 s to load.
    from . import celery_wakeups  # noqa: F401
