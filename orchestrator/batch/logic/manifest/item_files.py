"""Items from CSV and JSONL files, with their lines; with no I/O."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any, NamedTuple

from .expansion import Place, Report
from .yaml_lines import scalar

SUFFIXES = (".csv", ".jsonl")

# Columns of a CSV that are fields of an item; any other column is a variable.
_COLUMNS = frozenset(
    {"id", "prompt", "negative", "seeds", "expand", "priority", "output", "rerolls"}
)
_PREFIXES = ("set", "vars", "images")


class ItemRow(NamedTuple):
    """The line of a CSV or JSONL file, as the beginning of a place."""

    file: str
    line: int


def rows(path: PurePath, text: str, report: Report) -> Iterator[tuple[Place, Any]]:
    """The items in the text of a file as YAML would give them, each with its line."""
    reader = _csv_rows if path.suffix.casefold() == ".csv" else _jsonl_rows
    return reader(str(path), text, report)


def _jsonl_rows(file: str, text: str, report: Report) -> Iterator[tuple[Place, Any]]:
    for number, line in enumerate(io.StringIO(text), start=1):
        if not line.strip():
            continue
        place = (ItemRow(file, number),)
        try:
            yield place, json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            report(place, f"this line is not JSON ({error})")


def _csv_rows(file: str, text: str, report: Report) -> Iterator[tuple[Place, Any]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(header, ItemRow(file, 1), report)
        # a row may span lines, and begins after the one before it
        begins = reader.line_num + 1
        for cells in reader:
            place = (ItemRow(file, begins),)
            begins = reader.line_num + 1
            if len(cells) > len(header):
                report(place, f"{len(cells)} cells, and the header has {len(header)}")
            elif any(cells):
                yield place, _item_of(dict(zip(header, cells, strict=False)))
    except csv.Error as error:
        report((ItemRow(file, reader.line_num),), f"this is not CSV ({error})")


def _check_header(header: list[str], row: ItemRow, report: Report) -> None:
    for name in sorted({name for name in header if header.count(name) > 1 or not name}):
        what = f"the column {name!r} is there twice" if name else "a column has no name"
        report((row,), what)


def _item_of(cells: dict[str, str]) -> dict[str, Any]:
    """An item as YAML would give it; empty cells are left out."""
    item: dict[str, Any] = {}
    for name, text in cells.items():
        group, dot, inner = name.partition(".")
        if not text.strip():
            continue
        if name == "seeds":
            item[name] = [scalar(seed) for seed in text.replace(",", " ").split()]
        elif name in _COLUMNS:
            item[name] = text
        elif dot and group in _PREFIXES:
            item.setdefault(group, {})[inner] = text
        else:
            item.setdefault("vars", {})[name] = text
    return item
