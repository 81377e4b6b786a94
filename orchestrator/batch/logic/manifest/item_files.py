"""Items from CSV and JSONL files, with their lines, one after the other; with no I/O of its own.

A CSV is what spreadsheets of any country write: cells stand between commas, semicolons, tabs or
bars, whichever gives the header its column `id`, or as a first line `sep=;` says; columns and rows
at the end may be empty; numbers may have a decimal comma where no comma separates cells.
"""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any, NamedTuple, TextIO

from ....workflow.wording import listed
from .expansion import Place, Report
from .yaml_lines import PlainScalar, plain_scalar, scalar, text_problem

SUFFIXES = (".csv", ".jsonl")

# Columns of a CSV that are fields of an item; any other column is a variable.
_COLUMNS = frozenset(
    {"id", "prompt", "negative", "seeds", "expand", "priority", "output", "rerolls"}
)
_PREFIXES = ("set", "vars", "images")
_SEPARATORS = (",", ";", "\t", "|")
_SEPARATOR_LINE = re.compile(r"sep=(.)\r?\n?\Z", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"[-+]?[0-9]+,[0-9]+\Z")
# What spreadsheets can have; more is another file.
_MOST_COLUMNS = 16_384
# Characters of a line, of which a row may have several: a wrong file shall not fill the memory.
_LONGEST_LINE = 10_000_000


class ItemRow(NamedTuple):
    """The line of a CSV or JSONL file, as the beginning of a place."""

    file: str
    line: int


class _DecimalComma(PlainScalar):
    """A cell such as 0,8, which is a text where one is wanted, and a number elsewhere."""

    __slots__ = ()

    @property
    def value(self) -> float:
        return float(self.replace(",", "."))


class _TooLong(Exception):
    """A line that is no line of such a file."""


def rows(path: PurePath, file: TextIO, report: Report) -> Iterator[tuple[Place, Any]]:
    """The items in an open file as YAML would give them, each with its line.

    `file` is opened with `newline=""`. Raises OSError and UnicodeDecodeError as reading it does.
    """
    reader = _csv_rows if path.suffix.casefold() == ".csv" else _jsonl_rows
    return reader(str(path), file, report)


def _lines(file: TextIO) -> Iterator[str]:
    while line := file.readline(_LONGEST_LINE):
        if len(line) >= _LONGEST_LINE:
            raise _TooLong
        yield line


def _too_long(row: ItemRow, report: Report) -> None:
    report((row,), f"this line is longer than {_LONGEST_LINE:,} characters")


# --------------------------------------------------------------------------- JSONL


def _jsonl_rows(file: str, text: TextIO, report: Report) -> Iterator[tuple[Place, Any]]:
    number = 0
    try:
        for number, line in enumerate(_lines(text), start=1):
            if line.strip():
                yield from _jsonl_row(ItemRow(file, number), line, report)
    except _TooLong:
        _too_long(ItemRow(file, number + 1), report)


def _jsonl_row(row: ItemRow, line: str, report: Report) -> Iterator[tuple[Place, Any]]:
    try:
        # Numbers keep their spelling for texts; one of 5,000 digits would be refused as an int.
        found = json.loads(line, parse_int=plain_scalar, parse_float=plain_scalar)
    except (json.JSONDecodeError, RecursionError) as error:
        report((row,), f"this line is not JSON ({error})")
        return
    problem = text_problem(line) or _problem_in(found)
    if problem:
        report((row,), problem)
    else:
        yield (row,), found


def _problem_in(value: Any) -> str | None:
    """What is wrong with a text of decoded JSON: escapes can write what no text has."""
    if isinstance(value, str):
        return text_problem(value)
    parts = value if isinstance(value, list) else ()
    if isinstance(value, dict):
        parts = [*value, *value.values()]
    return next(filter(None, map(_problem_in, parts)), None)


# --------------------------------------------------------------------------- CSV


def _csv_rows(file: str, text: TextIO, report: Report) -> Iterator[tuple[Place, Any]]:
    lines = _lines(text)
    begun = 1
    reader: Any = None
    try:
        first = next(lines, "")
        if said := _SEPARATOR_LINE.match(first):
            first, begun = next(lines, ""), 2
        separator = said[1] if said else _separator(first)
        reader = csv.reader(itertools.chain([first], lines), delimiter=separator, strict=True)
        header = _header(next(reader, []), ItemRow(file, begun), report)
        if header is None:
            return
        yield from _csv_items(file, begun, reader, header, separator, report)
    except csv.Error as error:
        row = ItemRow(file, begun - 1 + reader.line_num if reader else 1)
        report((row,), f"this is not CSV ({error})")
    except _TooLong:
        _too_long(ItemRow(file, begun + reader.line_num if reader else 1), report)


def _csv_items(
    file: str, begun: int, reader: Any, header: list[str], separator: str, report: Report
) -> Iterator[tuple[Place, Any]]:
    has_commas = separator != ","
    # a row may span lines, and begins after the one before it
    begins = begun + reader.line_num
    for cells in reader:
        place = (ItemRow(file, begins),)
        begins = begun + reader.line_num
        if not any(map(str.strip, cells)):
            continue
        if any(map(str.strip, cells[len(header) :])):
            report(place, f"{len(cells)} cells, and the header has {len(header)}")
            continue
        pairs = list(zip(header, cells, strict=False))
        nameless = next((cell for name, cell in pairs if not name and cell), None)
        if nameless is not None:
            report(place, f"the cell {nameless[:40]!r} stands in a column that has no name")
            continue
        problem = text_problem("".join(cells))
        if problem:
            report(place, problem)
            continue
        yield place, _item_of(pairs, has_commas=has_commas)


def _separator(header: str) -> str:
    """What stands between cells: that which gives the header its column `id`, else most columns."""
    split = {one: _split(header, one) for one in _SEPARATORS}
    return max(_SEPARATORS, key=lambda one: ("id" in split[one], len(split[one])))


def _split(header: str, separator: str) -> list[str]:
    try:
        return [name.strip() for name in next(csv.reader([header], delimiter=separator), [])]
    except csv.Error:
        return []


def _header(cells: list[str], row: ItemRow, report: Report) -> list[str] | None:
    """The names of the columns; None where none can be read."""
    if len(cells) > _MOST_COLUMNS:
        what = f"{len(cells):,} columns, and at most {_MOST_COLUMNS:,} are read"
        report((row,), what)
        return None
    names = [name.strip() for name in cells]
    twice = sorted(name for name, count in Counter(names).items() if count > 1 and name)
    if twice:
        report((row,), f"the column {listed(map(repr, twice))} is there twice")
    return names


def _item_of(cells: list[tuple[str, str]], *, has_commas: bool) -> dict[str, Any]:
    """An item as YAML would give it; empty cells are left out."""
    item: dict[str, Any] = {}
    for name, text in cells:
        group, dot, inner = name.partition(".")
        if not text.strip():
            continue
        if name == "seeds":
            item[name] = [scalar(seed) for seed in text.replace(",", " ").split()]
        elif name in _COLUMNS:
            item[name] = text
        elif dot and group in _PREFIXES:
            item.setdefault(group, {})[inner] = _cell(text, has_commas)
        else:
            item.setdefault("vars", {})[name] = text
    return item


def _cell(text: str, has_commas: bool) -> str:
    return _DecimalComma(text) if has_commas and _DECIMAL_COMMA.match(text) else text
