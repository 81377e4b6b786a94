"""Which way the processes of a record wake one another."""

from __future__ import annotations

from pathlib import Path

from ...batch.execution.store.database import read_url
from ...errors import UsageError
from .wakeups import Polling, Wakeups


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


def check_broker(url: str) -> None:
    """Raise UsageError where a broker is no Redis, or Celery is missing; "" is without one."""
    if not url:
        return
    kind, separator, _ = url.partition("://")
    if not separator or kind not in ("redis", "rediss", "redis+socket"):
        raise UsageError("--broker is a Redis, as redis://HOST:6379/0")
    # Only now: it takes 0.3 s to load.
    from . import celery_wakeups  # noqa: F401
