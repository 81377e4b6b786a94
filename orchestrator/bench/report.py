"""A measurement for people: a table of plain text, and the same as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from .record import BenchRecord, BenchRow, CaseStatus
from .variants import AGAIN, BASELINE

REPORT_FILE, PLOT_FILE = "bench.md", "bench.png"

_HEADS = (
    "setting",
    "batch",
    "first run",
    "seconds (low to high)",
    "images/min",
    "it/s",
    "speed",
    "peak memory",
    "difference",
)
# The baseline's second measurement may differ by so much: medians of three runs do.
_STEADY = 1.05
_GIB = 1 << 30
_MIB = 1 << 20


def table(record: BenchRecord) -> str:
    """The rows as plain text in columns."""
    lines = [_HEADS, *(_cells(record, row) for row in record.rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def markdown(record: BenchRecord, command: str) -> str:
    """The whole report; `command` is what was typed."""
    header = record.header
    server = header["server"]
    baseline = ", ".join(f"{name} {value}" for name, value in header["baseline"].items())
    lines = [
        "# What the settings give",
        "",
        f"    {command}",
        "",
        f"Server: {_server(record)}, on {server['device']}. Workflow: "
        f"`{header['workflow']['file']}`. Spriteworks {header['spriteworks']}.",
        "",
        f"Baseline: {baseline}. Every other row changes what its name says and nothing else; "
        "`auto` leaves everything to the device's table.",
        "",
        f"Each figure is the median of {header['repeats']} runs after a first one, which loads and "
        "compiles and stands apart. Seconds are those of a whole run on the server's own clock. "
        "The difference is the worst over all pictures of the same seeds, against the baseline.",
        "",
        *_markdown_table(record),
        "",
        *_notes(record),
        f"![Seconds for a picture and peak memory]({PLOT_FILE})",
    ]
    return "\n".join(lines) + "\n"


def speed(record: BenchRecord, row: BenchRow) -> float | None:
    """How many times as fast as the baseline at the same batch size.

    The baseline's second measurement, at the end, counts for it as much as the first.
    """
    measured = [
        value
        for one in record.rows
        if one.name in (BASELINE, AGAIN) and one.batch_size == row.batch_size and one.seconds
        for value in one.seconds["values"]
    ]
    if not measured or not row.seconds:
        return None
    return float(statistics.median(measured) / row.seconds["median"])


def peak_bytes(row: BenchRow) -> tuple[int, str] | None:
    """The peak that says most, and whose it is: the device's, the process's, the system's."""
    peak = (row.memory or {}).get("peak") or {}
    for name in ("device", "process", "system"):
        if peak.get(name) is not None:
            return int(peak[name]), name
    return None


def size_words(amount: float) -> str:
    """Bytes for a person."""
    return f"{amount / _GIB:.2f} GiB" if amount >= _GIB else f"{amount / _MIB:.0f} MiB"


def _server(record: BenchRecord) -> str:
    server = record.header["server"]
    name = "the engine" if server["kind"] == "spriteworks-engine" else "ComfyUI"
    return f"{name} {server['version']}"


def _markdown_table(record: BenchRecord) -> list[str]:
    rule = ("---", *["---:"] * (len(_HEADS) - 1))
    lines = [_HEADS, rule, *(_cells(record, row) for row in record.rows)]
    return [f"| {' | '.join(line)} |" for line in lines]


def _cells(record: BenchRecord, row: BenchRow) -> tuple[str, ...]:
    batch = "–" if row.batch_size is None else str(row.batch_size)
    if row.status is not CaseStatus.MEASURED or row.seconds is None:
        return (row.name, batch, "–", row.status.value, "–", "–", "–", "–", "–")
    times = speed(record, row)
    return (
        row.name,
        batch,
        f"{row.first_s:.2f}",
        f"{row.seconds['median']:.3f} ({row.seconds['low']:.3f} to {row.seconds['high']:.3f})",
        f"{row.images_per_minute:.1f}",
        "–" if row.iterations_per_s is None else f"{row.iterations_per_s:.2f}",
        "–" if times is None else f"{times:.2f} times",
        _peak_words(row),
        difference_words(row),
    )


def _peak_words(row: BenchRow) -> str:
    peak = peak_bytes(row)
    return "–" if peak is None else f"{size_words(peak[0])} ({peak[1]})"


def difference_words(row: BenchRow) -> str:
    """How far the pictures are from the baseline's."""
    if row.difference is None:
        return "–"
    if row.difference["db"] is None:
        return "none"
    return f"{row.difference['db']:.1f} dB, at most {row.difference['largest']} of 255"


def _notes(record: BenchRecord) -> list[str]:
    lines = [
        f"- {row.name}: {row.reason}"
        for row in record.rows
        if row.status is not CaseStatus.MEASURED and row.reason
    ]
    drift = _drift(record)
    if drift is not None:
        lines.append(
            f"- The baseline, measured once more at the end, was {drift:.2f} times as fast as at "
            "the beginning; speeds are against both together, and differences no larger than "
            "that one are the machine's."
        )
    kinds = {peak[1] for row in record.rows if (peak := peak_bytes(row))}
    lines += [f"- {_MEMORY_NOTES[kind]}" for kind in _MEMORY_NOTES if kind in kinds]
    return [*lines, ""] if lines else []


def _drift(record: BenchRecord) -> float | None:
    """How many times as fast the baseline was at the end; None where it was not measured again."""
    again = next((row for row in record.rows if row.name == AGAIN and row.seconds), None)
    first = record.row(BenchRow(name=BASELINE, batch_size=again.batch_size).key) if again else None
    if not (again and again.seconds and first and first.seconds):
        return None
    return float(first.seconds["median"] / again.seconds["median"])


def drift_words(record: BenchRecord) -> str | None:
    """One sentence where the machine itself became faster or slower meanwhile, else None."""
    drift = _drift(record)
    if drift is None or 1 / _STEADY <= drift <= _STEADY:
        return None
    how = f"{drift:.2f} times as fast" if drift > 1 else f"{1 / drift:.2f} times as slow"
    return (
        f"the machine drifted: the baseline was {how} at the end as at the beginning, so smaller "
        "differences than that say nothing; let nothing else run on it, and measure again"
    )


_MEMORY_NOTES = {
    "device": "Peak memory (device) is what PyTorch held on the GPU for this server.",
    "process": "Peak memory (process) is the resident memory of the server's process. A process "
    "seldom gives back all that it had, so a row may hold something of the one before it.",
    "system": "Peak memory (system) is that of all programs on the server's machine together.",
}


def rows_to_draw(record: BenchRecord) -> Sequence[BenchRow]:
    """The rows that have figures."""
    return [row for row in record.rows if row.seconds]
