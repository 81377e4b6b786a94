"""Whether everything in a record can be read: its pages, its rows, their values.

SQLite keeps no sums of its pages, so a wrong byte in a value is only seen where the value makes no
sense. For a record that has shown itself to be odd, and for `batch recover`; all of it is read.
"""

from __future__ import annotations

import json
import sqlite3
from collections import namedtuple
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ...logic.jobs import Job, State
from ...logic.manifest.manifest import Manifest
from . import tables
from .condition import examine, integrity, reading
from .facts import MANIFEST, NUMBERS
from .place import FILE_NAME
from .rows import artifact_of, attempt_of, job_of


def fault_in(folder: Path) -> str:
    """What is wrong with the record of a folder, as a predicate; "" where nothing is found."""
    finding = examine(folder)
    if not finding.condition.is_usable:
        return finding.words
    path = folder / FILE_NAME
    if not path.is_file():
        return ""
    fault = integrity(path) or _fault_of_values(path)
    return f"is damaged ({fault})" if fault else ""


def _fault_of_values(path: Path) -> str:
    try:
        with reading(path) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
                return ""
            for table in tables.metadata.sorted_tables:
                _read_all(connection, table)
    except (sqlite3.Error, ValueError, TypeError, KeyError, AttributeError) as error:
        # Earlier versions had fewer columns, and are brought up to date when they are opened.
        return str(error).splitlines()[0] if str(error) else type(error).__name__
    return ""


def _read_all(connection: sqlite3.Connection, table: sa.Table) -> None:
    """Read every row of a table; raises what the first that makes no sense leads to."""
    there = {row[1] for row in connection.execute(f"PRAGMA table_info({table.name})")}
    names = [name for name in table.c.keys() if name in there]  # noqa: SIM118
    if not names:
        raise ValueError(f"there is no table {table.name}")
    Row: Any = namedtuple("Row", names)  # type: ignore[misc]
    columns = ", ".join(names)
    allowed = [_types(table.c[name]) for name in names]
    look = _LOOKS.get(table.name) if len(names) == len(table.c) else None
    for values in connection.execute(f"SELECT {columns} FROM {table.name}"):
        for name, value, types in zip(names, values, allowed, strict=True):
            if not isinstance(value, types):
                raise ValueError(f"{table.name}.{name} has {value!r:.40}")
        if look is not None:
            look(Row._make(values))


def _types(column: sa.Column[Any]) -> tuple[type, ...]:
    """What SQLite gives of a column of this type."""
    kind = column.type.python_type
    types: tuple[type, ...] = {bool: (int,), float: (float, int)}.get(kind, (kind,))
    return (*types, type(None)) if column.nullable else types


def _look_at_job(row: Any) -> None:
    State(row.state)
    job: Job = job_of(row)
    _mapping(job.parameters)
    float(sum((gate.minimum or 0) + (gate.maximum or 0) for gate in job.gates))


def _look_at_attempt(row: Any) -> None:
    _mapping(attempt_of(row, ()).degraded)


def _look_at_artifact(row: Any) -> None:
    float(sum(_mapping(artifact_of(row).measured).values()))
    json.loads(row.gates or "[]")


def _look_at_fact(row: Any) -> None:
    if row.name in NUMBERS:
        int(row.value)
    elif row.name == MANIFEST:
        Manifest.model_validate_json(row.value)
    elif row.value[:1] in ("{", "["):
        json.loads(row.value)


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{value!r:.40} has no names")
    return value


_LOOKS: Mapping[str, Callable[[Any], None]] = {
    "jobs": _look_at_job,
    "attempts": _look_at_attempt,
    "artifacts": _look_at_artifact,
    "facts": _look_at_fact,
}
