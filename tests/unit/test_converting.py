"""`spriteworks convert`: what it prints, writes and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.__main__ import run
from orchestrator.testing import FakeServer

REPOSITORY = Path(__file__).resolve().parent.parent.parent
INFO = REPOSITORY / "tests" / "data" / "canvas" / "object_info.json"
SPRITE = REPOSITORY / "workflows" / "sprite.json"
GRAPH = json.loads((REPOSITORY / "workflows" / "api" / "sprite.json").read_text(encoding="utf-8"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.json").write_bytes(SPRITE.read_bytes())
    (tmp_path / "two.json").write_text(json.dumps(GRAPH), encoding="utf-8")
    (tmp_path / "bad.json").write_text("{}", encoding="utf-8")
    return tmp_path


def convert(*arguments: Any) -> int:
    return run(["convert", *map(str, arguments), "--object-info", str(INFO)])


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_one_file_to_standard_output(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert("one.json") == 0
    assert json.loads(capsys.readouterr().out) == GRAPH


def test_one_file_to_a_file_or_into_a_folder(here: Path) -> None:
    assert convert("one.json", "--out", "made/graph.json") == 0
    assert read(here / "made" / "graph.json") == GRAPH
    assert convert("one.json", "--out", "made") == 0
    assert read(here / "made" / "one.json") == GRAPH


def test_several_into_a_folder(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert("one.json", "two.json", "--out", "made") == 0
    assert read(here / "made" / "one.json") == read(here / "made" / "two.json") == GRAPH
    assert capsys.readouterr().out == ""


def test_one_that_fails_leaves_the_others(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert("bad.json", "one.json", "--out", "made") == 1
    assert [path.name for path in (here / "made").iterdir()] == ["one.json"]
    assert "error: bad.json is no workflow" in capsys.readouterr().err


def test_as_json(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert("bad.json", "one.json", "--json") == 1
    bad, good = json.loads(capsys.readouterr().out)
    assert (bad["file"], bad["ok"], bad["graph"]) == ("bad.json", False, None)
    assert "is no workflow" in bad["reason"]
    assert good == {"file": "one.json", "ok": True, "reason": "", "notes": [], "graph": GRAPH}
    assert convert("one.json", "two.json", "--json", "--out", "made") == 0
    told = json.loads(capsys.readouterr().out)
    assert [sorted(entry) for entry in told] == [["file", "notes", "ok", "reason"]] * 2
    assert read(here / "made" / "one.json") == GRAPH


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["one.json", "sub/One.json", "--out", "made"], "would both become"),
        (["one.json", "two.json"], "several graphs need a place"),
        (["one.json", "two.json", "--out", "bad.json"], "several graphs need a folder"),
        (["one.json", "--out", "one.json"], "is the workflow itself"),
        (["one.json", "two.json", "--out", "."], "is the workflow itself"),
        (["one.json", "--server", "http://127.0.0.1:1"], "both say what nodes there are"),
    ],
)
def test_what_is_refused_before_anything_is_written(
    arguments: list[str], message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "sub").mkdir()
    (here / "sub" / "One.json").write_bytes(SPRITE.read_bytes())
    before = {path: path.read_bytes() for path in here.rglob("*.json")}
    assert convert(*arguments) == 2
    assert message in capsys.readouterr().err
    assert {path: path.read_bytes() for path in here.rglob("*.json")} == before


@pytest.mark.parametrize("content", ["[]", '{"a": 1}', "{", None])
def test_an_object_info_that_is_none(
    content: str | None, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = here / "info"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    assert run(["convert", "one.json", "--object-info", str(path)]) == 2
    assert str(path) in capsys.readouterr().err


def test_the_classes_of_a_server(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with FakeServer(object_info=read(INFO)) as server:
        assert run(["convert", "one.json", "--server", server.url]) == 0
    assert json.loads(capsys.readouterr().out) == GRAPH


def test_notes_go_to_standard_error(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    canvas = read(SPRITE)
    canvas["nodes"].append({"id": 90, "type": "Label (any)"})
    (here / "one.json").write_text(json.dumps(canvas), encoding="utf-8")
    assert convert("one.json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == GRAPH
    assert "note: one.json: node 90 (Label (any)) is left out" in err
