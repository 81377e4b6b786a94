"""Processes that freeze, as those of a computer that sleeps."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path


def freeze(pid: int, record: Path) -> None:
    """Freeze a process that works on a record, in a file or elsewhere; SIGCONT thaws it.

    Never inside a transaction: in SQLite that keeps all others from writing for as long as it
    lasts, which docs/batch.md says, and is not what these tests are about.
    """
    if not record.is_file():
        os.kill(pid, signal.SIGSTOP)
        return
    with closing(sqlite3.connect(record, timeout=60.0, isolation_level=None)) as ours:
        ours.execute("BEGIN IMMEDIATE")
        os.kill(pid, signal.SIGSTOP)
        ours.execute("ROLLBACK")
