"""The rows of a benchmark: measured, kept on disk one by one, and shown."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from orchestrator.bench.pictures import difference

from .contestants import REPOSITORY, Contestant, ContestantJob, ContestantRun, ContestantSession

_GIB = 1 << 30


@dataclass(frozen=True, kw_only=True)
class ContestantRow:
    """One contestant with one job. Times in s, memory in bytes."""

    contestant: str
    about: str
    checkpoint: str
    size: int
    steps: int
    batch: int
    # the first run of this shape: loading, compiling, trying kernels; at fewer steps
    first_s: float
    # each measured run
    seconds: tuple[float, ...]
    sampling_s: float | None
    decoding_s: float | None
    device: int | None
    process: int | None

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "median_s": self.median, "images_per_minute": self.rate}

    @property
    def rate(self) -> float:
        """Pictures a minute."""
        return 60 * self.batch / self.median


def measured(
    contestant: Contestant,
    session: ContestantSession,
    job: ContestantJob,
    repeats: int,
    *,
    until: float | None = None,
    warm_steps: int = 2,
) -> tuple[ContestantRow, list[bytes]]:
    """A row and its pictures: a first run of `warm_steps` steps, then `repeats` runs.

    `until` (time.monotonic) stops repeating early, after one run at least.
    """
    first = session.run(replace(job, steps=min(warm_steps, job.steps), seed=job.seed + 10_000))
    runs: list[ContestantRun] = []
    for number in range(repeats):
        runs.append(session.run(replace(job, seed=job.seed + number)))
        if until is not None and time.monotonic() + runs[-1].seconds > until:
            break
    row = ContestantRow(
        contestant=contestant.name,
        about=session.about,
        checkpoint=job.checkpoint,
        size=job.size,
        steps=job.steps,
        batch=job.batch,
        first_s=first.seconds,
        seconds=tuple(run.seconds for run in runs),
        sampling_s=_median([run.sampling for run in runs]),
        decoding_s=_median([run.decoding for run in runs]),
        device=_most([run.device for run in [first, *runs]]),
        process=_most([run.process for run in [first, *runs]]),
    )
    return row, list(runs[0].pictures)


class ResultsFile:
    """All rows of a benchmark in one JSON file, whole at any moment."""

    def __init__(self, path: Path, facts: Mapping[str, Any]) -> None:
        self._path = path
        self.facts = dict(facts)
        self.rows: list[ContestantRow] = []

    def add(self, row: ContestantRow) -> None:
        """Note a row, at once on disk, and say it."""
        self.rows.append(row)
        self.write()
        print(f"  {in_words(row)}", flush=True)

    def write(self) -> None:
        """Write the file."""
        body = {**self.facts, "rows": [row.to_json() for row in self.rows]}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        part = self._path.with_name(self._path.name + ".part")
        part.write_text(json.dumps(body, indent=2) + "\n", encoding="utf-8")
        os.replace(part, self._path)


def in_words(row: ContestantRow) -> str:
    """One line."""
    memory = row.device if row.device is not None else row.process
    peak = "" if memory is None else f", {memory / _GIB:.2f} GiB"
    low, high = min(row.seconds), max(row.seconds)
    return (
        f"{row.contestant}: {row.checkpoint} {row.size} px x{row.batch}, {row.steps} steps: "
        f"{row.median:.3f} s ({low:.3f} to {high:.3f}), {row.rate:.2f} images/min{peak}"
    )


def machine() -> dict[str, Any]:
    """What a figure must be read with: machine, versions, commit, load."""
    commit = subprocess.run(
        ["git", "-C", str(REPOSITORY), "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "command": " ".join(sys.argv),
        "commit": commit.stdout.strip() or "unknown",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / _GIB, 1),
        "python": platform.python_version(),
        "load_before": psutil.getloadavg()[0],
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if "model name" in line), "")


def table(heads: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """Cells as a Markdown table."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def apart(ours: Sequence[bytes], theirs: Sequence[bytes]) -> str:
    """How far two contestants' pictures of the same seeds are apart."""
    found = difference(ours, theirs)
    if found is None:
        return "not compared"
    if found.db is None:
        return "equal"
    return f"{found.db:.1f} dB, at most {found.largest} of 255"


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _most(values: Sequence[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)
