"""Item files as spreadsheets of any country write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.batch.execution.manifest_files import load
from orchestrator.errors import ManifestError

HEAD = "name: x\nworkflow: sprite\ndefaults: {prompt: 'a {colour} potion'}\nitems_from: items.csv\n"
TWO = [("one", "a red potion", [1]), ("two", "a dark blue, old potion", [2, 3])]
ROWS = [["id", "colour", "seeds"], ["one", "red", "1"], ["two", "dark blue, old", "2 3"]]


def csv_of(separator: str, end: str = "\n") -> str:
    quoted = [
        [f'"{cell}"' if separator in cell or "," in cell else cell for cell in row] for row in ROWS
    ]
    return "".join(separator.join(row) + end for row in quoted)


def items(folder: Path, content: bytes, head: str = HEAD) -> list[tuple[str, Any, Any]]:
    (folder / "batch.yaml").write_text(head, encoding="utf-8")
    (folder / "items.csv").write_bytes(content)
    file = load(folder / "batch.yaml")
    problems = file.problems()
    made: dict[str, tuple[str, Any, list[Any]]] = {}
    for one in file.drafts(problems):
        known = made.setdefault(one.item_id, (one.item_id, one.parameters["prompt"], []))
        known[2].append(one.seed)
    problems.check()
    return list(made.values())


def mistakes(folder: Path, content: bytes) -> str:
    with pytest.raises(ManifestError) as caught:
        items(folder, content)
    return str(caught.value)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_separators_line_ends_and_encodings(
    tmp_path: Path, separator: str, end: str, encoding: str
) -> None:
    assert items(tmp_path, csv_of(separator, end).encode(encoding)) == TWO


def test_the_first_line_may_say_the_separator(tmp_path: Path) -> None:
    text = "sep=^\r\n" + csv_of("^", "\r\n")
    assert items(tmp_path, text.encode()) == TWO
    text = "sep=;\none;two;two\n"
    assert "items.csv:2: the column 'two' is there twice" in mistakes(tmp_path, text.encode())


def test_what_is_empty_at_the_end_is_not_there(tmp_path: Path) -> None:
    text = "id;colour;seeds;;\none;red;1;;\n\n;;;;\ntwo;dark blue, old;2 3;;;;\n ; ;\n"
    assert items(tmp_path, text.encode()) == TWO


def test_what_stands_in_no_column_is_a_mistake(tmp_path: Path) -> None:
    text = "id,colour,\none,red,\ntwo,blue,more\nthree,red,,beyond\n"
    found = mistakes(tmp_path, text.encode())
    assert "items.csv:3: the cell 'more' stands in a column that has no name" in found
    assert "items.csv:4: 4 cells, and the header has 3" in found


def test_quotes_and_line_breaks_in_cells(tmp_path: Path) -> None:
    text = 'id;colour\none;"red\nand ""old"""\ntwo;blue\nthree;"\n'
    head = HEAD.replace(" potion", "")
    with pytest.raises(ManifestError, match=r"items.csv:5: .*not CSV"):
        items(tmp_path, text.encode(), head)
    (one, two) = items(tmp_path, text.rsplit("three", 1)[0].encode(), head)
    assert one[1] == 'a red\nand "old"'
    assert two[1] == "a blue"


def test_numbers_may_have_a_decimal_comma(tmp_path: Path) -> None:
    text = "id;set.cfg;set.prompt\none;6,5;6,5\n"
    (tmp_path / "batch.yaml").write_text(HEAD.replace("{colour}", "x"), encoding="utf-8")
    (tmp_path / "items.csv").write_text(text, encoding="utf-8")
    (draft,) = load(tmp_path / "batch.yaml").drafts(load(tmp_path / "batch.yaml").problems())
    value: Any = draft.parameters["cfg"]
    assert value.value == 6.5
    assert draft.parameters["prompt"] == "6,5"


def test_other_encodings_are_named(tmp_path: Path) -> None:
    text = csv_of(";").replace("red", "grün").encode("cp1252")
    assert "no UTF-8 text; save it as" in mistakes(tmp_path, text)
    assert "no UTF-8 text" in mistakes(tmp_path, b"\xff\xfei\x00d")
    assert "NUL" in mistakes(tmp_path, b"id,colour\na,\0\n")


@pytest.mark.parametrize(
    "text",
    [
        "id," + ",".join(f"c{n}" for n in range(200_000)) + "\na\n",
        "id,colour\na," + "x" * 11_000_000 + "\n",
        "id,colour\na," + "x" * 200_000 + "\n",
        'id,colour\na,"' + "x\n" * 200_000,
    ],
)
def test_what_is_far_too_wide_is_refused(tmp_path: Path, text: str) -> None:
    found = mistakes(tmp_path, text.encode())
    assert "items.csv:" in found
    assert len(found) < 2000


def test_jsonl_keeps_the_spelling_of_numbers(tmp_path: Path) -> None:
    digits = "9" * 5000
    lines = ['{"id": "a", "vars": {"colour": 1.10}}', f'{{"id": "b", "seeds": {digits}}}']
    (tmp_path / "items.jsonl").write_text("\n".join(lines), encoding="utf-8")
    head = HEAD.replace(".csv", ".jsonl")
    (tmp_path / "batch.yaml").write_text(head, encoding="utf-8")
    file = load(tmp_path / "batch.yaml")
    problems = file.problems()
    (draft,) = (one for one in file.drafts(problems) if one.counts)
    assert draft.parameters["prompt"] == "a 1.10 potion"
    with pytest.raises(ManifestError, match=r"items.jsonl:2: seeds"):
        problems.check()


def test_half_a_character_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "items.jsonl").write_text('{"id": "a", "prompt": "\\ud800"}', encoding="utf-8")
    (tmp_path / "batch.yaml").write_text(HEAD.replace(".csv", ".jsonl"), encoding="utf-8")
    with pytest.raises(ManifestError, match=r"items.jsonl:1: .*surrogate"):
        load(tmp_path / "batch.yaml").check()
