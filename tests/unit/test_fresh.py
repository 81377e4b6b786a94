"""A command that fails leaves no batch folder behind, and takes nothing away that was there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.__main__ import run
from orchestrator.batch.execution.store.folder_lock import held
from orchestrator.batch.execution.store.fresh import Fresh
from orchestrator.batch.execution.store.store import Store
from orchestrator.testing import FakeServer

GRAPH = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0},
    },
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "t"}},
}
HEAD = "name: x\nworkflow: graph.json\n"
RIGHT = HEAD + "items: [{id: a, set: {1.width: 8}}]\n"
WRONG = HEAD + "items: [{id: a, set: {1.width: -8}}]\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "graph.json").write_text(json.dumps(GRAPH), encoding="utf-8")
    (tmp_path / "right.yaml").write_text(RIGHT, encoding="utf-8")
    (tmp_path / "wrong.yaml").write_text(WRONG, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("command", ["plan", "run"])
@pytest.mark.parametrize("name", ["wrong.yaml", "nothere.yaml"])
def test_a_batch_that_is_not_planned_leaves_nothing(folder: Path, command: str, name: str) -> None:
    out = folder / "deep" / "out"
    with FakeServer() as fake:
        arguments = ["batch", command, str(folder / name), "--out", str(out), "--server", fake.url]
        assert run(arguments) == 2
    assert not (folder / "deep").exists()


def test_without_a_server_nothing_is_left(folder: Path) -> None:
    with FakeServer() as fake:
        url = fake.url
    out = folder / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine", encoding="utf-8")
    assert (
        run(["batch", "run", str(folder / "right.yaml"), "--out", str(out), "--server", url]) == 3
    )
    assert [path.name for path in out.iterdir()] == ["mine.txt"]


def test_a_batch_that_was_planned_stays_whatever_comes(folder: Path) -> None:
    out = folder / "out"
    with FakeServer() as fake:
        rest = ["--out", str(out), "--server", fake.url]
        assert run(["batch", "plan", str(folder / "right.yaml"), *rest]) == 0
        assert run(["batch", "run", str(folder / "wrong.yaml"), *rest]) == 2
    with Store.open(out, create=False) as store:
        assert len(list(store.entries())) == 1


def test_what_another_works_on_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    before = Fresh(out)
    with held(out):
        before.remove()
        assert (out / "batch.lock").exists()
    before.remove()
    assert not out.exists()


def test_a_file_is_no_batch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert run(["batch", "status", str(tmp_path / "file")]) == 1
    assert "there is no batch in" in capsys.readouterr().err
