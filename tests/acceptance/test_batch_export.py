"""A manifest's `export`: one palette over all pictures of a batch, and only what changed again."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import fake_grids
from comfy_nodes.formats.palettes import PaletteFormat, write
from comfy_nodes.formats.well_known import by_name
from comfy_nodes.ops.color import pack
from orchestrator.__main__ import run
from orchestrator.batch import production as batch
from orchestrator.batch.execution.fleet import Choice
from orchestrator.batch.execution.store.folder_lock import held
from orchestrator.errors import BatchBusy, ManifestError, UsageError
from orchestrator.testing import FakeServer, Script

GRAPH = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0},
    },
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}
PITCH = 6


def sprite(color: int) -> fake_grids.Pixels:
    if color > 200:  # a row of three frames of one size, and one px more where it is odd
        row = [sprite(1), sprite(101), sprite(103)]
        return np.concatenate([*row, sprite(1)[:, : color % 2]], axis=1)
    if color > 100:  # frames of one size, each at another place
        return np.roll(sprite(1), color - 100, axis=1)
    return fake_grids.figure(np.random.default_rng(color))


def drawn(right: bytes) -> bytes:
    """In place of each picture of the fake server a sprite of fake pixels, with the same graph."""
    prompt = Image.open(io.BytesIO(right)).info["prompt"]
    color = json.loads(prompt)["1"]["inputs"]["color"]
    texts = PngInfo()
    texts.add_text("prompt", prompt)
    file = io.BytesIO()
    pixels = (
        np.full((30, 30, 3), 9, dtype=np.uint8)
        if color == 99
        else sprite(color).repeat(PITCH, axis=0).repeat(PITCH, axis=1)
    )
    Image.fromarray(pixels).save(file, "PNG", pnginfo=texts)
    return file.getvalue()


class Heard:
    """Keeps what happened."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def happened(self, kind: str, **details: Any) -> None:
        self.events.append((kind, details))

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [details for name, details in self.events if name == kind]


class Batch:
    """A manifest with an export, its folder, and a server that draws sprites."""

    def __init__(self, folder: Path, server: FakeServer) -> None:
        self.folder, self.out, self.server = folder, folder / "out", server
        self.heard = Heard()

    def run(self, export: Any, colors: list[int], prefix: str = "") -> batch.BatchResult:
        graph = self.folder / "graph.json"
        if not graph.exists():  # another time of it would mean another plan
            graph.write_text(json.dumps(GRAPH), encoding="utf-8")
        items = [
            {"id": f"i{color}", "output": f"{prefix}s{color}", "set": {"1.color": color}}
            for color in colors
        ]
        manifest = self.folder / "batch.yaml"
        more = {} if export is None else {"export": export}
        text = {"name": "sprites", "workflow": "graph.json", "items": items, **more}
        manifest.write_text(json.dumps(text), encoding="utf-8")
        self.heard = Heard()
        request = batch.BatchRequest(
            manifest=manifest, out=self.out, choice=Choice(urls=(self.server.url,))
        )
        return batch.run(request, self.heard)

    def stamps(self) -> dict[str, int]:
        """When each result was written."""
        found = (self.out / "export").rglob("*.png")
        return {path.name: path.stat().st_mtime_ns for path in found}

    def colours(self) -> set[int]:
        """Of all results."""
        found: set[int] = set()
        for path in (self.out / "export").rglob("*.png"):
            found |= set(pack(np.asarray(Image.open(path).convert("RGB"))).ravel().tolist())
        return found


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Batch]:
    with FakeServer() as server:
        server.script(*[Script(alters=drawn)] * 99)
        yield Batch(tmp_path, server)


def test_all_pictures_get_one_palette_and_stay_as_they_came(made: Batch) -> None:
    assert made.run({"palette": 9}, [1, 2, 3]).is_complete
    assert len(made.colours()) == 9
    for color in (1, 2, 3):
        came = np.asarray(Image.open(made.out / f"s{color}.png"))
        assert np.array_equal(came[::PITCH, ::PITCH], sprite(color))
        result = Image.open(made.out / "export" / f"s{color}.png")
        assert result.size == sprite(color).shape[1::-1]
    (event,) = made.heard.of("export")
    assert (event["made"], event["kept"], event["errors"]) == (3, 0, {})
    assert len(event["palette"]) == 9
    texts = [note["text"] for note in made.heard.of("note")]
    assert any("3 pictures are exported to" in text and "in 9 colours" in text for text in texts)


def test_it_is_done_again_where_something_changed_and_only_then(made: Batch) -> None:
    made.run({"palette": 9}, [1, 2, 3])
    first = made.stamps()
    assert made.run({"palette": 9}, [1, 2, 3]).is_complete
    assert made.stamps() == first
    assert made.heard.of("export")[0]["kept"] == 3
    # one picture more has a say in the palette
    made.run({"palette": 9}, [1, 2, 3, 4])
    second = made.stamps()
    assert set(second) == {"s1.png", "s2.png", "s3.png", "s4.png"}
    assert all(second[name] != first[name] for name in first)
    assert len(made.colours()) == 9
    # a picture that is no longer wanted has no result
    made.run({"palette": 9}, [2])
    assert set(made.stamps()) == {"s2.png"}
    # other options
    made.run({"palette": 5}, [2])
    assert len(made.colours()) == 5
    # a result that somebody changed
    target = made.out / "export" / "s2.png"
    right = target.read_bytes()
    target.write_bytes(b"changed")
    made.run({"palette": 5}, [2])
    assert target.read_bytes() == right


def test_with_a_given_palette_only_new_pictures_are_made(made: Batch) -> None:
    made.run({"palette": "game-boy", "dither": "bayer-4"}, [1, 2])
    first = made.stamps()
    made.run({"palette": "game-boy", "dither": "bayer-4"}, [1, 2, 3])
    second = made.stamps()
    assert {name: second[name] for name in first} == first
    assert made.heard.of("export")[0]["made"] == 1
    assert made.colours() <= set(pack(by_name("game-boy").array()).tolist())


def test_a_palette_file_is_seen_from_the_manifest_and_its_change_counts(made: Batch) -> None:
    file = made.folder / "mine.gpl"
    file.write_bytes(write(by_name("cga"), PaletteFormat.GPL))
    made.run({"palette": "mine.gpl", "snap": False}, [1, 2])
    assert Image.open(made.out / "export" / "s1.png").width == PITCH * sprite(1).shape[1]
    assert made.colours() <= set(pack(by_name("cga").array()).tolist())
    file.write_bytes(write(by_name("pico-8"), PaletteFormat.GPL))
    made.run({"palette": "mine.gpl", "snap": False}, [1, 2])
    assert made.colours() <= set(pack(by_name("pico-8").array()).tolist())
    # the colours are in the record: the file is not needed to do it again
    file.unlink()
    (made.out / "export" / "s1.png").unlink()
    assert batch.export(made.out).made == 1


def test_a_picture_of_which_nothing_can_be_made_is_told(made: Batch) -> None:
    result = made.run({"cutout": True, "palette": 8}, [1, 99])
    assert result.is_complete
    assert result.unexported == 1
    (event,) = made.heard.of("export")
    assert list(event["errors"]) == ["s99.png"]
    assert "Nothing would be left" in event["errors"]["s99.png"]
    assert set(made.stamps()) == {"s1.png"}
    picture = np.asarray(Image.open(made.out / "export" / "s1.png"))
    assert set(np.unique(picture[..., 3])) == {0, 255}
    # it is not tried again, as nothing has changed
    made.run({"cutout": True, "palette": 8}, [1, 99])
    assert made.heard.of("export")[0]["kept"] == 1


def test_the_command_does_it_again_and_says_what_is_wrong(
    made: Batch, capsys: pytest.CaptureFixture[str]
) -> None:
    made.run({"cutout": True}, [1, 2])
    (made.out / "export" / "s1.png").unlink()
    (made.out / "s2.png").unlink()
    assert run(["batch", "export", str(made.out), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["made"] == 1
    assert "s2.png" in told["errors"]
    assert set(made.stamps()) == {"s1.png"}
    made.run({"cutout": True}, [1, 2])
    assert run(["batch", "export", str(made.out)]) == 0
    assert capsys.readouterr().out == f"{made.out / 'export'}\n"
    with held(made.out), pytest.raises(BatchBusy):
        batch.export(made.out)


def test_a_batch_without_an_export_has_none(made: Batch) -> None:
    made.run(None, [1])
    assert not (made.out / "export").exists()
    with pytest.raises(UsageError, match="has no `export`"):
        batch.export(made.out)


def test_pictures_of_a_folder_called_export_keep_it(made: Batch) -> None:
    made.run({"palette": 4}, [1], prefix="export/")
    came = np.asarray(Image.open(made.out / "export" / "s1.png"))
    assert np.array_equal(came[::PITCH, ::PITCH], sprite(1))
    result = Image.open(made.out / "export=" / "export" / "s1.png")
    assert len(result.getcolors() or []) == 4


def test_a_damaged_record_is_no_obstacle(made: Batch) -> None:
    made.run({"palette": 4}, [1])
    record = made.out / "export" / "export.json"
    assert list(json.loads(record.read_text(encoding="utf-8"))["pictures"]) == ["s1.png"]
    options = json.loads(record.read_text(encoding="utf-8"))["options"]
    mine = made.folder / "mine.png"
    mine.write_bytes(b"mine")
    outside = {"pictures": {"x": {"saved": "../../mine.png"}}}
    odd = {"options": options, "pictures": {"s1.png": {"sha256": 3}, "s2.png": 4}}
    for text in ("", "[1]", '{"pictures": 3}', json.dumps(outside), json.dumps(odd)):
        record.write_text(text, encoding="utf-8")
        made.run({"palette": 4}, [1])
        assert made.heard.of("export")[0]["made"] == 1
    assert mine.read_bytes() == b"mine"


def sheet_files(made: Batch) -> dict[str, int]:
    folder = made.out / "export" / "sheet"
    return {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}


def test_all_pictures_are_on_one_sheet(made: Batch) -> None:
    export = {"palette": 9, "sheet": {"for": "phaser, godot", "name": "icons", "fps": 20}}
    assert made.run(export, [1, 2, 10]).is_complete
    first = sheet_files(made)
    names = ["icons.png", "icons.json", "icons.anims.json", "icons.tres", "icons.tscn"]
    assert sorted(first) == sorted(names)
    (event,) = made.heard.of("export")
    assert [Path(file).name for file in event["sheet"]] == names
    atlas = json.loads((made.out / "export/sheet/icons.json").read_text("ascii"))
    page = np.asarray(Image.open(made.out / "export/sheet/icons.png"))
    assert list(atlas["frames"]) == ["s1", "s2", "s10"]
    for name, told in atlas["frames"].items():
        box = told["frame"]
        cut = page[box["y"] : box["y"] + box["h"], box["x"] : box["x"] + box["w"]]
        alone = np.asarray(Image.open(made.out / "export" / f"{name}.png").convert("RGBA"))
        assert np.array_equal(cut, alone)
        assert told["duration"] == 50
    # nothing changed, so nothing is written
    made.run(export, [1, 2, 10])
    assert sheet_files(made) == first
    # a file that somebody changed, and only the sheet
    pictures = {name: time for name, time in made.stamps().items() if name != "icons.png"}
    (made.out / "export/sheet/icons.tres").write_text("changed", encoding="utf-8")
    made.run(export, [1, 2, 10])
    assert (made.out / "export/sheet/icons.tres").read_text("utf-8").startswith("[gd_resource")
    assert {name: time for name, time in made.stamps().items() if name != "icons.png"} == pictures
    # another sheet
    made.run({"palette": 9, "sheet": {"for": ["png"]}}, [1, 2, 10])
    assert list(sheet_files(made)) == ["sheet.png"]


def test_pictures_in_a_folder_are_an_animation(made: Batch) -> None:
    export = {"snap": False, "sheet": {"for": "phaser", "pingpong": "walk"}}
    assert made.run(export, [1, 2, 3], prefix="walk/").is_complete
    anims = json.loads((made.out / "export/sheet/sheet.anims.json").read_text("ascii"))["anims"]
    assert [one["key"] for one in anims] == ["walk"]
    assert [shown["frame"] for shown in anims[0]["frames"]] == [
        "walk_s1",
        "walk_s2",
        "walk_s3",
        "walk_s2",
    ]


def test_a_sheet_that_cannot_be_made_is_told(made: Batch) -> None:
    result = made.run({"sheet": {"for": "png", "max_size": 8}}, [1, 2])
    assert (result.unexported, result.is_complete) == (1, True)
    (event,) = made.heard.of("export")
    assert "does not fit on a page of 8x8" in event["errors"]["the sheet"]
    assert event["sheet"] is None
    assert len(made.stamps()) == 2
    assert not (made.out / "export/sheet").exists()


@pytest.mark.parametrize(
    ("export", "field", "words"),
    [
        ({"palette": 0}, "export.palette", "1 to 256 colours"),
        ({"palette": 300}, "export.palette", "1 to 256 colours"),
        ({"palette": "nice"}, "export.palette", "is no palette"),
        ({"palette": "no.gpl"}, "export.palette", "is not there"),
        ({"palette": []}, "export.palette", "one value is wanted"),
        ({"palette": ["#12"]}, "export.palette", "is no colour"),
        ({"palette": 4, "dither": "bayer4"}, "export.dither", "did you mean 'bayer-4'"),
        ({"dither": "bayer-4"}, "export", "nothing to dither"),
        ({"snap": False}, "export", "there is nothing to do"),
        ({"pallete": 4}, "export.pallete", "did you mean 'palette'"),
        ({"cutout": "maybe"}, "export.cutout", "must be true or false"),
        ({"snap": False, "palette": 4, "sequence": True}, "export", "a sequence has one grid"),
        ({"align": {"pivot": "center"}}, "export.align.pivot", "did you mean 'centre'"),
        ({"align": {"canvas": "32"}}, "export.align.canvas", "give 64x48"),
        ({"align": {"margin": -1}}, "export.align.margin", "0"),
        ({"align": {"pivots": "box"}}, "export.align.pivots", "did you mean 'pivot'"),
        ({"sheet": {}}, "export.sheet.for", "is missing"),
        ({"sheet": {"for": []}}, "export.sheet.for", "at least 1"),
        ({"sheet": {"for": "phaser, gdot"}}, "export.sheet.for", "did you mean 'godot'"),
        ({"sheet": {"for": "png", "name": "a.png"}}, "export.sheet.name", "letters, digits"),
        ({"sheet": {"for": "png", "pivot": "top"}}, "export.sheet.pivot", "bottom, center"),
        ({"sheet": {"for": "png", "fps": 0}}, "export.sheet.fps", "0.1"),
        ({"sheet": {"for": "png", "near": 2}}, "export.sheet.near", "1"),
        ({"sheet": {"for": "pixi, unity", "rotate": True}}, "export.sheet", "unity cannot turn"),
        ({"sheet": {"for": "png", "rotate": True, "columns": 2}}, "export.sheet", "as it is"),
        ({"sheet": {"for": "png", "column": 3}}, "export.sheet.column", "did you mean 'columns'"),
    ],
)
def test_mistakes_are_told_with_their_field(
    export: Any, field: str, words: str, made: Batch
) -> None:
    with pytest.raises(ManifestError) as error:
        made.run(export, [1])
    assert f" {field}: " in str(error.value)
    assert words in str(error.value)
    assert not made.server.submissions


def box(file: Path) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
    """The size of a picture, and left, top, right and bottom of what is seen in it."""
    image = Image.open(file)
    found = image.getbbox() if image.mode != "RGBA" else image.getchannel("A").getbbox()
    assert found is not None
    return image.size, found


def test_aligned_pictures_stand_on_one_line_of_one_canvas(made: Batch) -> None:
    align = {"pivot": "box", "canvas": "48x40", "margin": 2}
    export = {"cutout": True, "align": align, "sheet": {"for": "phaser"}}
    assert made.run(export, [1, 2, 3]).is_complete
    came = {name: (made.out / f"s{name}.png").read_bytes() for name in (1, 2, 3)}
    first, sheet = made.stamps(), sheet_files(made)
    for name in (1, 2, 3):
        size, (left, _, right, bottom) = box(made.out / "export" / f"s{name}.png")
        assert (size, bottom, (left + right) // 2) == ((48, 40), 38, 24)
    (event,) = made.heard.of("export")
    assert (event["canvas"], event["pivot"]) == ([48, 40], [24, 38])
    texts = [note["text"] for note in made.heard.of("note")]
    assert "each is on a canvas of 48x40" in texts
    atlas = json.loads((made.out / "export/sheet/sheet.json").read_text("ascii"))
    for told in atlas["frames"].values():
        assert told["pivot"] == pytest.approx({"x": 24 / 48, "y": 38 / 40})
    record = json.loads((made.out / "export" / "export.json").read_text("utf-8"))
    assert record["align"] == {"canvas": [48, 40], "pivot": [24, 38]}
    assert {(one["width"], one["height"]) for one in record["pictures"].values()} == {(48, 40)}
    # nothing changed, so nothing is written, and the same is told
    made.run(export, [1, 2, 3])
    assert (made.stamps(), sheet_files(made)) == (first, sheet)
    assert made.heard.of("export")[0]["pivot"] == [24, 38]
    # one more picture, and all are placed anew
    made.run(export, [1, 2, 3, 4])
    assert made.heard.of("export")[0]["kept"] == 0
    assert {box(file)[1][3] for file in (made.out / "export").glob("*.png")} == {38}
    assert came == {name: (made.out / f"s{name}.png").read_bytes() for name in (1, 2, 3)}


def test_a_point_of_the_sheet_that_was_given_stays(made: Batch) -> None:
    export = {"cutout": True, "align": True, "sheet": {"for": "phaser", "pivot": "3,4"}}
    made.run(export, [1, 2])
    (event,) = made.heard.of("export")
    atlas = json.loads((made.out / "export/sheet/sheet.json").read_text("ascii"))
    wide, high = event["canvas"]
    for told in atlas["frames"].values():
        assert told["pivot"] == pytest.approx({"x": 3 / wide, "y": 4 / high}, abs=1e-6)


def test_pictures_that_cannot_be_aligned_are_told_and_there(made: Batch) -> None:
    export = {"cutout": True, "align": {"canvas": "8x8"}}
    for _ in range(2):
        result = made.run(export, [1, 2])
        assert (result.unexported, result.is_complete) == (1, True)
        (event,) = made.heard.of("export")
        assert "8x8 is too small" in event["errors"]["the alignment"]
        assert (event["canvas"], event["pivot"]) == (None, None)
        assert len(made.stamps()) == 2
    assert event["kept"] == 2


def test_a_damaged_record_of_an_alignment_is_no_obstacle(made: Batch) -> None:
    export = {"cutout": True, "align": True, "sheet": {"for": "png"}}
    made.run(export, [1, 2])
    file = made.out / "export" / "export.json"
    record = json.loads(file.read_text("utf-8"))
    for odd in (3, {"error": 4}, {"pivot": "x", "canvas": [1, 2]}, {"pivot": [1], "canvas": None}):
        file.write_text(json.dumps({**record, "align": odd}), "utf-8")
        made.run(export, [1, 2])
        assert made.heard.of("export")[0]["made"] == 2
        assert json.loads(file.read_text("utf-8"))["align"] == record["align"]


def test_a_sequence_has_one_grid(made: Batch) -> None:
    made.run({"sequence": True}, [101, 102])
    record = json.loads((made.out / "export" / "export.json").read_text("utf-8"))
    assert {tuple(one["pitch"]) for one in record["pictures"].values()} == {(PITCH, PITCH)}
    first = made.stamps()
    # one more frame has a say in the grid of all
    made.run({"sequence": True}, [101, 102, 103])
    assert made.heard.of("export")[0]["made"] == 3
    assert all(made.stamps()[name] != time for name, time in first.items())
    # one of another size is no frame of it
    assert made.run({"sequence": True}, [101, 99]).unexported == 2


def test_a_row_of_frames_is_cut_apart_aligned_and_an_animation(made: Batch) -> None:
    export = {"frames": 3, "cutout": True, "align": True, "sheet": {"for": "phaser", "name": "x"}}
    assert made.run(export, [202]).is_complete
    (event,) = made.heard.of("export")
    assert (event["made"], event["errors"]) == (1, {})
    folder = made.out / "export"
    row = np.asarray(Image.open(folder / "s202.png"))
    assert row.shape[1] == sprite(202).shape[1]
    frames = [np.asarray(Image.open(folder / "s202" / f"{number}.png")) for number in (1, 2, 3)]
    # of one figure, each on its place
    assert all(np.array_equal(frames[0], frame) for frame in frames)
    assert list(frames[0].shape[1::-1]) == event["canvas"]
    (walk,) = json.loads((folder / "sheet" / "x.anims.json").read_text("utf-8"))["anims"]
    assert walk["key"] == "s202"
    assert [one["frame"] for one in walk["frames"]] == ["s202_1", "s202_2", "s202_3"]
    # only where something changed again: a frame that is gone, another number of frames
    first = made.stamps()
    made.run(export, [202])
    assert made.stamps() == first
    (folder / "s202" / "2.png").unlink()
    made.run(export, [202])
    assert np.array_equal(np.asarray(Image.open(folder / "s202" / "2.png")), frames[1])
    made.run({"cutout": True}, [202])
    assert set(made.stamps()) == {"s202.png"}


def test_a_picture_that_is_no_such_row_is_told_and_the_others_are_cut(made: Batch) -> None:
    made.run({"frames": 3, "sheet": {"for": "phaser"}}, [202, 203])
    (event,) = made.heard.of("export")
    width = sprite(203).shape[1]
    assert event["errors"] == {
        "s203.png": f"s203.png: The picture's width of {width} px is no multiple of 3: say how "
        "many cells there are, or crop what is around them."
    }
    assert event["made"] == 1
    assert {"1.png", "2.png", "3.png"} <= set(made.stamps())


def test_a_frame_never_takes_the_place_of_a_picture(made: Batch) -> None:
    made.run(None, [1])
    manifest = made.folder / "batch.yaml"
    told = json.loads(manifest.read_text("utf-8"))
    told["items"] = [
        {"id": "a", "output": "s", "set": {"1.color": 202}},
        {"id": "b", "output": "s/2", "set": {"1.color": 204}},
    ]
    told["export"] = {"frames": 3}
    manifest.write_text(json.dumps(told), "utf-8")
    request = batch.BatchRequest(
        manifest=manifest, out=made.out, choice=Choice(urls=(made.server.url,))
    )
    made.heard = Heard()
    batch.run(request, made.heard)
    (event,) = made.heard.of("export")
    assert list(event["errors"]) == ["s.png"], event
    assert "is a picture, too" in event["errors"]["s.png"]
    assert (made.out / "export" / "s" / "2" / "1.png").is_file()
