"""`spriteworks inspect` and `mend`, and the functions of Python behind them, on files."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import orchestrator
from orchestrator.__main__ import run
from orchestrator.errors import UsageError
from test_measures import (
    KEY,
    PALETTE,
    Pixels,
    drawing,
    enlarged,
    noisy,
    on_key,
    painted,
    sheet,
    sprite,
    tile,
)

GREY = (190, 190, 200, 255)


def saved(path: Path, pixels: Pixels) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def generated() -> Pixels:
    """A sprite as a model draws it: eight px a pixel, on a background, in too many colours."""
    big = enlarged(on_key(sprite())[..., :3], 8).astype(np.int16)
    noise = np.random.default_rng(1).integers(-3, 4, big.shape)
    return np.clip(big + noise, 0, 255).astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A clean sprite, one with a speck on its outline, and one that is four times too large."""
    saved(tmp_path / "in" / "clean.png", sprite())
    saved(tmp_path / "in" / "speck.png", painted(sprite(), 7, 12, GREY))
    saved(tmp_path / "in" / "large.png", enlarged(sprite(), 4))
    return tmp_path / "in"


def test_each_fault_is_told_with_the_command_that_mends_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["inspect", str(folder)]) == 1
    lines = capsys.readouterr().out.splitlines()
    large, speck = folder / "large.png", folder / "speck.png"
    assert lines == [
        f"{folder / 'clean.png'}: passes",
        f"{large}:",
        f"  pixel_size  4  at most 1  spriteworks snap {large} --out DIR",
        f"{speck}:",
        f"  orphans  1  at most 0  spriteworks mend {speck} --out DIR",
        "3 measured, 2 with faults",
    ]


def test_the_commands_that_are_named_work_and_mend(folder: Path) -> None:
    found = orchestrator.inspect(folder)
    assert [one.passed for one in found.pictures] == [True, False, False]
    for number, one in enumerate(found.pictures):
        for fault in one.failed:
            words = one.command(fault).split()
            assert words[0] == "spriteworks"
            out = folder.parent / f"out-{number}"
            run([word.replace("DIR", str(out)) for word in words[1:]])
            assert orchestrator.inspect(out).passed


@pytest.mark.skipif(os.name == "nt", reason="sh reads it here")
@pytest.mark.parametrize("name", ["a b.png", "sword (2).png", "it's; a $pell.png", "#1&2.png"])
def test_a_command_that_is_named_can_be_pasted(name: str, tmp_path: Path) -> None:
    file = saved(tmp_path / name, noisy(sprite(), 9))
    (one,) = orchestrator.inspect(file, palette="#c82828,#141e28").pictures
    (fault,) = [one for one in one.failed if one.measure.name == "in_palette"]
    assert shlex.split(one.command(fault), comments=True) == [
        *("spriteworks", "snap", str(file), "--out", "DIR", "--palette", "#c82828,#141e28")
    ]


def test_a_palette_file_and_a_palette_are_named_as_they_can_be_typed(folder: Path) -> None:
    file = folder.parent / "two.hex"
    file.write_text("c82828\n141e28\n", encoding="ascii")
    for source, typed in (
        (file, str(file)),
        (orchestrator.read_palette(file), "#c82828,#141e28"),
    ):
        (one,) = orchestrator.inspect(folder / "clean.png", palette=source).pictures
        command = one.command(one.failed[0])
        assert shlex.split(command, posix=os.name != "nt")[-1].strip('"') == typed


def test_frames_that_are_named_by_themselves_are_mended_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [saved(tmp_path / f"{n}.png", sprite()) for n in range(2)]
    files.append(saved(tmp_path / "2.png", noisy(sprite(), 4)))
    assert run(["inspect", *map(str, files), "--frames"]) == 1
    lines = capsys.readouterr().out.splitlines()
    names = " ".join(map(str, files))
    mends = f"spriteworks snap {names} --out DIR --palette 16 --sequence"
    assert any(line.endswith(mends) for line in lines if "flicker" in line)
    assert lines[-1].startswith("3 measured, ")
    assert lines[-1].endswith("; as frames, 1 with faults")


def test_programs_get_every_measure(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(folder / "clean.png"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["passed"] is True
    (picture,) = told["pictures"]
    values = {one["name"]: one for one in picture["measures"]}
    assert values["specks"] == {"name": "specks", "value": 0, "passed": True, "max": 0}
    assert values["grid_energy"]["value"] is None
    assert run(["inspect", str(folder), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    bad = [
        one["mend"]
        for picture in told["pictures"]
        for one in picture["measures"]
        if not one["passed"]
    ]
    assert [one.split()[:2] for one in bad] == [["spriteworks", "snap"], ["spriteworks", "mend"]]


def test_a_number_of_colours_and_a_palette_can_be_asked_for(folder: Path) -> None:
    clean = folder / "clean.png"
    assert orchestrator.inspect(clean, palette=3).passed
    (few,) = orchestrator.inspect(clean, palette="2").pictures
    assert [(one.measure.name, one.bound) for one in few.failed] == [
        ("colours", "at least 2 and at most 2")
    ]
    assert few.command(few.failed[0]).endswith("--palette 2")
    own = ",".join(f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in PALETTE.tolist())
    assert orchestrator.inspect(clean, palette=own).passed
    (other,) = orchestrator.inspect(clean, palette="pico-8").pictures
    assert {one.measure.name for one in other.failed} == {"in_palette", "palette_distance"}
    assert other.command(other.failed[0]).endswith("--palette pico-8")


def test_a_file_that_is_no_picture_is_told_and_the_others_go_on(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "cut.png").write_bytes((folder / "clean.png").read_bytes()[:-30])
    assert run(["inspect", str(folder)]) == 1
    printed = capsys.readouterr().out
    assert f"error: {folder / 'cut.png'}" in printed
    assert f"{folder / 'clean.png'}: passes" in printed


def test_frames_are_measured_together_and_folders_against_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        saved(tmp_path / "walk" / f"{number}.png", sprite())
        saved(tmp_path / "run" / f"{number}.png", sprite(23, top=5 + 4 * (number == 1)))
    assert run(["inspect", str(tmp_path / "walk"), "--frames"]) == 0
    capsys.readouterr()
    assert run(["inspect", str(tmp_path / "walk"), str(tmp_path / "run"), "--frames"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert f"{tmp_path / 'run'} (frames):" in lines
    mends = f"spriteworks frames {tmp_path / 'run'} --out DIR"
    assert f"  baseline_jitter  4  at most 1  {mends}" in lines
    assert f"{tmp_path / 'walk'} (frames): passes" in lines
    assert "  scale_variation  3  at most 1  make it again with another seed" in lines
    found = orchestrator.inspect([tmp_path / "walk", tmp_path / "run"], frames=True)
    assert [one.passed for one in found.frames] == [True, False]
    assert found.sets is not None
    assert not found.sets.passed
    assert not found.passed


def test_tiles_sheets_and_panels_are_measured_where_they_are_called_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seam = saved(tmp_path / "seam.png", tile()[:, :5].copy())
    assert run(["inspect", str(seam)]) == 0
    assert run(["inspect", str(seam), "--tile"]) == 1
    bleeding = saved(tmp_path / "sheet.png", painted(sheet(), slice(8, 28), 31, (200, 40, 40, 255)))
    assert run(["inspect", str(bleeding), "--cell", "32x32"]) == 1
    assert "bleed" in capsys.readouterr().out
    assert run(["inspect", str(bleeding), "--cell", "7x7"]) == 1
    assert "not whole cells of 7x7" in capsys.readouterr().out
    assert run(["inspect", str(seam), "--guides", "1,1,1,1"]) == 1
    assert "nine_slice" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options",
    [["--cell", "32"], ["--guides", "1,2,3"], ["--key", "blueish"], ["--palette", "0"], ["--nope"]],
)
def test_what_cannot_be_is_refused(options: list[str], folder: Path) -> None:
    assert run(["inspect", str(folder), *options]) == 2


def test_nothing_to_inspect_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not there"):
        orchestrator.inspect(tmp_path / "none")
    with pytest.raises(UsageError, match=r"none\.gpl is not there"):
        orchestrator.inspect(tmp_path, palette=tmp_path / "none.gpl")


# --------------------------------------------------------------------------- mend


def test_mend_does_what_inspect_names_and_copies_what_passes(folder: Path) -> None:
    out = folder.parent / "out"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    results = orchestrator.mend(folder, out)
    assert [(one.file.name, one.steps, one.passed) for one in results] == [
        ("clean.png", (), True),
        ("large.png", ("snap",), True),
        ("speck.png", ("clean",), True),
    ]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert (out / "clean.png").read_bytes() == before["clean.png"]
    for name in ("large.png", "speck.png"):
        assert np.array_equal(np.asarray(Image.open(out / name)), sprite())
    assert orchestrator.inspect(out).passed


def test_what_a_model_drew_becomes_a_sprite(tmp_path: Path) -> None:
    drawn = saved(tmp_path / "drawn.png", generated())
    (found,) = orchestrator.inspect(drawn, palette=16).pictures
    assert {"pixel_size", "background", "colours"} <= {one.measure.name for one in found.failed}
    (result,) = orchestrator.mend(drawn, tmp_path / "out", palette=16)
    assert result.passed, [one.measure.name for one in result.after if not one.passed]
    assert result.steps[:2] == ("snap", "cut-out")
    made = np.asarray(Image.open(tmp_path / "out" / "drawn.png"))
    assert np.array_equal(made[..., 3], sprite()[..., 3])
    assert orchestrator.mend(tmp_path / "out", tmp_path / "again")[0].steps == ()


def test_a_fringe_is_known_by_the_background_that_the_mask_hides(tmp_path: Path) -> None:
    fringed = painted(on_key(sprite()), 7, slice(10, 14), (*(part + 3 for part in KEY), 255))
    file = saved(tmp_path / "fringed.png", fringed)
    (result,) = orchestrator.mend(file, tmp_path / "out")
    assert result.steps == ("clean",)
    made = np.asarray(Image.open(tmp_path / "out" / "fringed.png"))
    assert np.array_equal(made[..., 3], sprite()[..., 3])


def test_what_no_step_mends_stays_as_it_was_and_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = saved(tmp_path / "empty.png", np.zeros((32, 32, 4), np.uint8))
    flat = saved(tmp_path / "flat.png", np.full((32, 32, 3), 200, np.uint8))
    assert run(["mend", str(file), str(flat), "--out", str(tmp_path / "out")]) == 1
    printed = capsys.readouterr().out
    assert "empty.png: nothing that mends it here" in printed
    assert "opaque   0  at least 0.01  ->  0  left" in printed
    assert (tmp_path / "out" / "empty.png").read_bytes() == file.read_bytes()
    assert (tmp_path / "out" / "flat.png").read_bytes() == flat.read_bytes()


def test_mend_tells_programs_before_and_after(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = folder.parent / "out"
    assert run(["mend", str(folder), "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["steps"] for one in told] == [[], ["snap"], ["clean"]]
    assert all(one["passed"] for one in told)
    (before,) = [one for one in told[2]["before"] if one["name"] == "orphans"]
    (after,) = [one for one in told[2]["after"] if one["name"] == "orphans"]
    assert (before["value"], after["value"]) == (1, 0)


def test_inputs_are_never_written_over(folder: Path) -> None:
    assert run(["mend", str(folder), "--out", str(folder)]) == 2


def test_a_picture_of_another_format_becomes_a_png(tmp_path: Path) -> None:
    Image.fromarray(drawing()).save(tmp_path / "a.bmp")
    (result,) = orchestrator.mend(tmp_path / "a.bmp", tmp_path / "out")
    assert result.saved == tmp_path / "out" / "a.png"
    with Image.open(tmp_path / "out" / "a.png") as picture:
        assert picture.format == "PNG"
        assert np.array_equal(np.asarray(picture), drawing())
