"""The record of a measurement in its folder: one row for each case, written as soon as it is there.

A measurement that was broken off goes on where it was, as long as it is the same one: same server,
workflow, settings and options.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from ..client.client import writing
from ..errors import UsageError

BENCH_FILE = "bench.json"
PICTURES = "pictures"
_FORMAT = 1


class CaseStatus(str, Enum):
    """How a case ended."""

    MEASURED = "measured"
    UNSUPPORTED = "unsupported"  # this machine cannot do what the setting says
    OUT_OF_MEMORY = "out of memory"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class BenchRow:
    """One case's figures. Times are in s, memory in bytes; None where nothing was measured."""

    name: str
    batch_size: int | None
    status: CaseStatus = CaseStatus.MEASURED
    # one sentence for a case that was not measured
    reason: str = ""
    # settings that differ from the baseline
    changes: Mapping[str, Any] = field(default_factory=dict)
    # pictures of one run
    pictures: int = 0
    # the first run: loading, compiling, trying kernels
    first_s: float | None = None
    # of one whole run on the server: median, low, high, values
    seconds: Mapping[str, Any] | None = None
    images_per_minute: float | None = None
    # steps of the sampler a second
    iterations_per_s: float | None = None
    transfer_s: float | None = None
    # median time by phase
    phases_s: Mapping[str, float] = field(default_factory=dict)
    # as MemoryUse.to_json
    memory: Mapping[str, Any] | None = None
    # from the baseline's pictures of the same seeds: db, largest
    difference: Mapping[str, Any] | None = None

    @property
    def key(self) -> str:
        """As Case.key."""
        return f"{self.name} x{self.batch_size or 'as it is'}"

    def to_json(self) -> dict[str, Any]:
        """Shape for bench.json."""
        return {**vars(self), "status": self.status.value}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> BenchRow:
        """The row that `to_json` gave."""
        return cls(**{**body, "status": CaseStatus(body["status"])})


class BenchRecord:
    """The rows that are there, in a folder."""

    def __init__(self, folder: Path, header: Mapping[str, Any], rows: Sequence[BenchRow]) -> None:
        self.folder = folder
        self.header = dict(header)
        self.rows = list(rows)

    @classmethod
    def open(cls, folder: Path, header: Mapping[str, Any]) -> BenchRecord:
        """Go on with the measurement in `folder`, or begin one.

        Raises UsageError where another measurement is there, OutputError where it cannot be
        written.
        """
        path = folder / BENCH_FILE
        if not path.exists():
            record = cls(folder, header, [])
            record.write()
            return record
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            known, rows = found["header"], [BenchRow.from_json(row) for row in found["rows"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"{path} is no record of a measurement; delete it, or give another --out"
            ) from error
        # The seed of a measurement that goes on is the one that it began with.
        wanted = {**header, "seed": known.get("seed")}
        differing = [key for key in wanted if known.get(key) != wanted[key]]
        if differing:
            raise UsageError(
                f"{folder} holds another measurement ({', '.join(differing)} differ); give "
                "another --out, or delete it"
            )
        return cls(folder, known, rows)

    def row(self, key: str) -> BenchRow | None:
        """The row of a case, if it is there."""
        return next((row for row in self.rows if row.key == key), None)

    def add(self, row: BenchRow) -> None:
        """Note a row, at once on disk."""
        self.rows.append(row)
        self.write()

    def write(self) -> None:
        """Write bench.json whole."""
        path = self.folder / BENCH_FILE
        part = path.with_name(path.name + ".part")
        with writing(path):
            self.folder.mkdir(parents=True, exist_ok=True)
            text = json.dumps(self.to_json(), indent=2, ensure_ascii=False) + "\n"
            part.write_text(text, encoding="utf-8")
            os.replace(part, path)

    def to_json(self) -> dict[str, Any]:
        """What bench.json says."""
        return {
            "format": _FORMAT,
            "header": self.header,
            "rows": [row.to_json() for row in self.rows],
        }

    def save_picture(self, name: str, content: bytes) -> None:
        """Keep a picture under the record's `pictures` folder."""
        path = self.folder / PICTURES / name
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def pictures(self, prefix: str) -> list[bytes]:
        """Kept pictures whose names begin so, in order."""
        return [path.read_bytes() for path in sorted((self.folder / PICTURES).glob(f"{prefix}-*"))]
