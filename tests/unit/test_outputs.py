"""What lands in the output folder: all or nothing, and nothing of others' is lost."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from orchestrator.client.timings import Timings
from orchestrator.errors import OutputError
from orchestrator.runs.fetching import counted
from orchestrator.runs.made import Made, ServerInfo
from orchestrator.runs.outputs import Gathered, Outputs, names, outputs, plain_name
from orchestrator.workflow.signatures import Signatures


def gather(place: Outputs, number: int, name: str, color: tuple[int, int, int]) -> Gathered:
    path = place.staging / f"{number}"
    Image.new("RGB", (4, 3), color).save(path, "PNG")
    return gathered(path, name, number)


def gathered(path: Path, name: str, seed: int | None = None, folder: str = "") -> Gathered:
    digest = sha256(path.read_bytes()).hexdigest()
    size = {"width": 4, "height": 3}
    return Gathered(path=path, name=name, sha256=digest, node="9", seed=seed, folder=folder, **size)


def publish(place: Outputs, files: list[Gathered]) -> dict[str, Any]:
    made = Made(
        id="1",
        server=ServerInfo(url="http://a", kind="engine", version="1", device="cpu"),
        workflow=Path("w.json"),
        workflow_sha256="",
        notes=(),
        parameters={},
        pictures=tuple(place.place(files)),
        timings=Timings(queued_s=0, total_s=0, transfer_s=0, nodes=()),
    )
    place.publish(files, made)
    return made.to_json()


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("a.png", "a.png"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("C:\\x.png", "x.png"),
        ("/abs/x.png", "x.png"),
        ("..", "file"),
        ("", "file"),
    ],
)
def test_a_name_from_a_server_stays_in_its_folder(name: str, plain: str) -> None:
    assert plain_name(name) == plain


@pytest.mark.parametrize(
    ("name", "tries"),
    [
        ("a_00009_.png", ["a_00009_.png", "a_00010_.png", "a_00011_.png"]),
        ("cat.png", ["cat.png", "cat-2.png", "cat-3.png"]),
        ("cat", ["cat", "cat-2", "cat-3"]),
    ],
)
def test_the_next_free_name(name: str, tries: list[str]) -> None:
    assert list(itertools.islice(names(name), 3)) == tries


def test_two_files_of_one_name_get_two_names(tmp_path: Path) -> None:
    with outputs(tmp_path / "out") as place:
        same = [gather(place, number, "x_00001_.png", (9, 9, 9)) for number in range(2)]
        result = publish(place, same)
    assert [one["file"] for one in result["artifacts"]] == ["x_00001_.png", "x_00002_.png"]
    assert [(one["width"], one["height"], one["seed"]) for one in result["artifacts"]] == [
        (4, 3, 0),
        (4, 3, 1),
    ]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "x_00001_.png",
        "x_00002_.png",
        "run.json",
    }
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_is_no_picture_has_no_size(tmp_path: Path) -> None:
    with outputs(tmp_path / "out") as place:
        sound = counted(b"sound", "a.flac", "1", Signatures({}))
        (picture,) = place.place([place.gather(sound, "../a.flac", "1", None)])
    assert (picture.name, picture.width, picture.height) == ("a.flac", None, None)


def test_a_picture_has_the_suffix_of_what_it_is(tmp_path: Path) -> None:
    stream = BytesIO()
    Image.new("RGB", (4, 3)).save(stream, "JPEG")
    with outputs(tmp_path / "out") as place:
        found = counted(stream.getvalue(), "a_00001_.png", "1", Signatures({}))
        (picture,) = place.place([place.gather(found, "a_00001_.png", "1", None)])
    assert (picture.name, picture.width) == ("a_00001_.jpg", 4)


def test_a_run_that_fails_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.png").write_bytes(b"mine")

    def fail() -> None:
        with outputs(out) as place:
            gather(place, 0, "x.png", (0, 0, 0))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [path.name for path in out.iterdir()] == ["mine.png"]


def test_a_move_that_fails_takes_back_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = 0
    replace = os.replace

    def fail_at_the_second(source: Path, target: Path) -> None:
        nonlocal moved
        moved += 1
        if moved == 2:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail_at_the_second)
    out = tmp_path / "out"
    out.mkdir()
    with outputs(out) as place:
        files = [gather(place, number, f"{number}.png", (number, 0, 0)) for number in range(3)]
        with pytest.raises(OutputError, match="No space left"):
            publish(place, files)
    assert list(out.iterdir()) == []


def test_a_run_that_is_repeated_makes_no_second_file_of_the_same_content(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for _ in range(2):
        with outputs(out) as place:
            publish(place, [gather(place, 0, "x_00001_.png", (1, 2, 3))])
    assert sorted(path.name for path in out.iterdir()) == ["run.json", "x_00001_.png"]
    with outputs(out) as place:
        result = publish(place, [gather(place, 0, "x_00001_.png", (3, 2, 1))])
    assert result["artifacts"][0]["file"] == "x_00002_.png"


def test_a_move_that_fails_leaves_files_of_earlier_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with outputs(out) as place:
        publish(place, [gather(place, 0, "a.png", (1, 1, 1))])
    before = (out / "a.png").read_bytes()
    replace = os.replace

    def fail_at_the_record(source: Path, target: Path) -> None:
        if target.name == "run.json":
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail_at_the_record)
    with outputs(out) as place:
        # The first is there already, with the same content.
        files = [gather(place, 0, "a.png", (1, 1, 1)), gather(place, 1, "b.png", (2, 2, 2))]
        with pytest.raises(OutputError, match="No space left"):
            publish(place, files)
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "run.json"]
    assert (out / "a.png").read_bytes() == before


def test_files_wait_inside_a_folder_that_is_there_and_beside_one_that_is_not(
    tmp_path: Path,
) -> None:
    """Moves stay on one disk: the folder itself may be the mount."""
    out = tmp_path / "out"
    with outputs(out) as place:
        assert place.staging.parent == tmp_path
    out.mkdir()
    with outputs(out) as place:
        assert place.staging.parent == out
    assert list(out.iterdir()) == []


def test_a_file_where_the_folder_should_be_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"")
    with pytest.raises(OutputError, match="it is a file, not a folder"), outputs(tmp_path / "out"):
        pass


def of_sheet(place: Outputs, color: tuple[int, int, int]) -> list[Gathered]:
    """A page and what names it, in one folder, and a picture beside them."""
    text = place.staging / "text"
    text.write_text(f"page.png {color}", encoding="utf-8")
    page = replace(gather(place, 1, "page.png", color), folder="s_00001_")
    lone = gather(place, 2, "page.png", color)
    return [page, gathered(text, "page.tres", folder="s_00001_"), lone]


def test_what_names_each_other_stays_together(tmp_path: Path) -> None:
    out = tmp_path / "out"
    names = []
    for color in ((9, 9, 9), (8, 8, 8), (9, 9, 9)):
        with outputs(out) as place:
            told = publish(place, of_sheet(place, color))
            names.append([one["file"] for one in told["artifacts"]])
    assert names == [
        ["s_00001_/page.png", "s_00001_/page.tres", "page.png"],
        ["s_00002_/page.png", "s_00002_/page.tres", "page-2.png"],
        ["s_00001_/page.png", "s_00001_/page.tres", "page.png"],
    ]
    assert (out / "s_00002_" / "page.tres").read_text("utf-8") == "page.png (8, 8, 8)"


def test_a_file_where_the_folder_would_be_stays(tmp_path: Path) -> None:
    (tmp_path / "s_00001_").write_text("mine", encoding="utf-8")
    with outputs(tmp_path) as place:
        told = publish(place, of_sheet(place, (9, 9, 9)))
    assert told["artifacts"][0]["file"] == "s_00002_/page.png"
    assert (tmp_path / "s_00001_").read_text("utf-8") == "mine"


def test_no_folder_of_a_sheet_is_left_by_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    move = os.replace

    def full(source: Path, target: Path) -> None:
        if Path(target).suffix == ".tres":
            raise OSError(28, "No space left on device")
        move(source, target)

    out = tmp_path / "out"
    with outputs(out) as place:
        files = of_sheet(place, (9, 9, 9))
        monkeypatch.setattr(os, "replace", full)
        with pytest.raises(OutputError):
            publish(place, files)
    assert not (out / "s_00001_").exists()
