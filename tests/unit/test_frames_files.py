"""`spriteworks frames` and `tile`: files in, aligned frames, animated pictures and tiles out."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageSequence

import orchestrator
from orchestrator.__main__ import run
from orchestrator.errors import InputError, UsageError

Pixels = NDArray[np.uint8]
COAT, BOOT = (60, 70, 160, 255), (80, 50, 30, 255)


def walker(x: int = 0, y: int = 0, arm: int = 2, size: int = 48) -> Pixels:
    """A body 20 px high with an arm to the right."""
    made = np.zeros((size, size, 4), np.uint8)
    made[10 + y : 26 + y, 10 + x : 18 + x] = COAT
    made[26 + y : 30 + y, 10 + x : 18 + x] = BOOT
    made[14 + y : 16 + y, 18 + x : 18 + x + arm] = COAT
    return made


def saved(path: Path, pixels: Pixels) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def pixels(path: Path) -> Pixels:
    return np.asarray(Image.open(path).convert("RGBA"))


@pytest.fixture
def walk(tmp_path: Path) -> Path:
    """Four frames of a walk that jitters; the third has a longer arm, the last is the first."""
    for number, (x, y, arm) in enumerate([(0, 0, 2), (5, 3, 2), (2, 1, 12), (0, 0, 2)]):
        saved(tmp_path / "walk" / f"{number}.png", walker(x, y, arm))
    return tmp_path / "walk"


def told(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


# ---------------------------------------------------------------------------------- frames


def test_what_inspect_finds_frames_mends(
    walk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(["inspect", str(walk), "--frames"]) == 1
    assert f"spriteworks frames {walk} --out DIR" in capsys.readouterr().out

    assert run(["frames", str(walk), "--out", str(out)]) == 0

    captured = capsys.readouterr()
    assert captured.out.splitlines() == [str(out / f"{number}.png") for number in range(4)]
    assert f"{walk / '1.png'}: was +4,+3 off" in captured.err
    assert "4 frames of 20x20, pivot 4,20" in captured.err
    run(["inspect", str(out), "--frames", "--json"])
    (frames,) = told(capsys)["frames"]
    values = {one["name"]: one["value"] for one in frames["measures"]}
    assert (values["baseline_jitter"], values["centroid_jitter"]) == (0, 0)


def test_json_says_what_was_done(
    walk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"

    options = ["--margin", "2", "--canvas", "32x24", "--fps", "3", "--json"]
    assert run(["frames", str(walk), "--out", str(out), *options]) == 0

    found = told(capsys)
    assert (found["canvas"], found["pivot"]) == ([32, 24], [14, 22])
    assert [frame["moved"] for frame in found["frames"]] == [[-1, 0], [4, 3], [1, 1], [-1, 0]]
    assert [frame["duration"] for frame in found["frames"]] == [333, 334, 333, 333]
    assert [frame["same_as"] for frame in found["frames"]] == [
        None,
        str(walk / "0.png"),
        None,
        str(walk / "0.png"),
    ]
    assert pixels(out / "0.png").shape == (24, 32, 4)


def test_gif_and_apng_show_the_frames_as_asked(
    walk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    gif, apng = tmp_path / "shown" / "walk.gif", tmp_path / "shown" / "walk.png"
    shown = ["--gif", str(gif), "--apng", str(apng), "--duration", "85"]
    options = [*shown, "--direction", "pingpong", "--once"]

    assert run(["frames", str(walk), "--out", str(out), *options]) == 0

    captured = capsys.readouterr()
    assert captured.out.splitlines()[-2:] == [str(gif), str(apng)]
    assert "walk.gif: shows frames for 80, 90 ms" in captured.err
    frames = [pixels(out / f"{number}.png") for number in (0, 1, 2, 3, 2, 1)]
    for file, durations in ((gif, [90, 80] * 3), (apng, [85] * 6)):
        with Image.open(io.BytesIO(file.read_bytes())) as image:
            assert image.info.get("loop") in (None, 1)
            read = [
                (one.info["duration"], np.asarray(one.convert("RGBA")))
                for one in ImageSequence.Iterator(image)
            ]
        assert [duration for duration, _ in read] == durations
        for frame, (_, picture) in zip(frames, read, strict=True):
            there = picture[..., 3:] > 0
            assert np.array_equal(np.where(there, picture, 0), frame)


def test_folders_are_animations_on_one_canvas(walk: Path, tmp_path: Path) -> None:
    run_folder = tmp_path / "run"
    for number in range(2):
        saved(run_folder / f"{number}.png", walker(x=3 * number, y=9))
    out = tmp_path / "out"

    gif = tmp_path / "hero.gif"
    aligned = orchestrator.align_frames([walk, run_folder], out, gif=gif, fps=12.5)

    assert [one.saved.relative_to(out).as_posix() for one in aligned.frames] == [
        *(f"walk/{number}.png" for number in range(4)),
        *(f"run/{number}.png" for number in range(2)),
    ]
    assert [one.saved for one in aligned.animated] == [
        tmp_path / "hero-walk.gif",
        tmp_path / "hero-run.gif",
    ]
    assert all(one.saved.is_file() for one in aligned.animated)
    assert len({pixels(one.saved).shape for one in aligned.frames}) == 1
    assert np.array_equal(pixels(out / "walk" / "0.png"), pixels(out / "run" / "1.png"))


def test_a_jump_and_a_flight_are_asked_for(tmp_path: Path) -> None:
    jump = [
        saved(tmp_path / "jump" / f"{number}.png", walker(x=number, y=-4 * number))
        for number in range(3)
    ]

    kept = orchestrator.align_frames(jump, tmp_path / "kept", keep_height=True)
    flown = orchestrator.align_frames(jump, tmp_path / "flown", pivot="centre")

    tops = [int(np.nonzero(pixels(one.saved)[..., 3])[0][0]) for one in kept.frames]
    assert tops == [8, 4, 0]
    assert flown.canvas == (10, 20)


def test_a_frame_that_cannot_be_read_or_aligned_leaves_nothing_behind(
    walk: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    high = saved(walk / "4.png", walker().repeat(2, axis=0)[12:70])
    with pytest.raises(InputError, match=r"4\.png is 40 px high and the others are 20"):
        orchestrator.align_frames(walk, out, one_scale=True)
    with pytest.raises(InputError, match="too small"):
        orchestrator.align_frames(walk, out, canvas=(8, 8))
    high.write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"4\.png"):
        orchestrator.align_frames(walk, out)
    saved(high, np.random.default_rng(0).integers(0, 256, (40, 40, 4), dtype=np.uint8))
    with pytest.raises(InputError, match="half-transparent"):
        orchestrator.align_frames(walk, out, gif=out / "walk.gif")
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (dict(pivot="middle"), "ground, centre"),
        (dict(direction="back"), "pingpong_reverse"),
        (dict(fps=10, duration=100), "not both"),
        (dict(fps=0), "more than 0"),
        (dict(duration=0), "1 or more"),
        (dict(gif="walk.png"), r"ends with \.gif"),
        (dict(apng="out/0.PNG"), "take the place of"),
        (dict(apng="walk/1.png"), "take the place of"),
        (dict(apng="a.png", gif="a.gif", direction="x"), "direction"),
    ],
)
def test_what_cannot_be_asked_for(
    walk: Path, tmp_path: Path, options: Any, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=reason):
        orchestrator.align_frames(walk, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_inputs_are_never_written_over_and_folders_have_names_of_their_own(
    walk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match="take its place"):
        orchestrator.align_frames(walk, walk)
    # some systems do not tell Walk from walk
    saved(tmp_path / "other" / "Walk" / "0.png", walker())
    with pytest.raises(UsageError, match="both go to"):
        orchestrator.align_frames([tmp_path / "other" / "Walk", walk], tmp_path / "out")
    assert run(["frames", str(walk), "--out", str(tmp_path / "out"), "--canvas", "big"]) == 2
    assert "64x48" in capsys.readouterr().err


# ------------------------------------------------------------------------------------ tile


def grass() -> Pixels:
    """32x32 in four greens, lighter to the right and the bottom."""
    greens = np.array([[30, 60, 30], [46, 92, 40], [70, 120, 52], [104, 150, 70]], np.uint8)
    y, x = np.mgrid[:32, :32] / 32
    light = 1.5 * (x + y) + np.random.default_rng(0).random((32, 32))
    return greens[np.clip(light, 0, 3).astype(int)]


def test_what_inspect_finds_tile_mends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tile, out = saved(tmp_path / "grass.png", grass()), tmp_path / "out"
    assert run(["inspect", str(tile), "--tile"]) == 1
    assert f"spriteworks tile {tile} --out DIR" in capsys.readouterr().out

    assert run(["tile", str(tile), "--out", str(out)]) == 0

    captured = capsys.readouterr()
    assert captured.out.splitlines() == [str(out / "grass.png")]
    assert ", now " in captured.err
    run(["inspect", str(out / "grass.png"), "--tile", "--json"])
    (measures,) = [one["measures"] for one in told(capsys)["pictures"]]
    assert next(one for one in measures if one["name"] == "seam")["value"] <= 2
    before, after = (
        {tuple(colour) for row in pixels(file)[..., :3].tolist() for colour in row}
        for file in (tile, out / "grass.png")
    )
    assert after <= before


def test_a_tile_that_cannot_be_read_is_told_and_the_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved(tmp_path / "in" / "a.png", grass())
    (tmp_path / "in" / "b.png").write_bytes(b"none")
    saved(tmp_path / "in" / "c.png", np.full((16, 16, 3), 90, np.uint8))

    assert run(["tile", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--json"]) == 1

    first, second, third = told(capsys)
    assert first["closed"]
    assert first["before"] > 2 >= first["after"]
    assert set(second) == {"file", "error"}
    assert (third["closed"], third["changed"]) == (True, 0)
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["a.png", "c.png"]


# ------------------------------------------------------------------------- rows of frames


def row(count: int = 4) -> Pixels:
    """Frames of a walker that jitters, side by side; the last is the first."""
    frames = [walker(0), walker(5, 3), walker(2, 1, arm=12), walker(0)]
    return np.concatenate(frames[:count], axis=1)


def test_a_row_is_cut_apart_and_aligned_as_its_frames_are(walk: Path, tmp_path: Path) -> None:
    by_itself = orchestrator.align_frames(walk, out=tmp_path / "a")
    file = saved(tmp_path / "rows" / "walk.png", row())
    out = tmp_path / "rows"  # beside it
    aligned = orchestrator.align_frames(file, out=out, frames=4, gif=tmp_path / "walk.gif")
    assert aligned.saved[:-1] == [out / f"walk_{number}.png" for number in (1, 2, 3, 4)]
    assert {one.file for one in aligned.frames} == {file}
    assert (aligned.canvas, aligned.pivot) == (by_itself.canvas, by_itself.pivot)
    for one, other in zip(aligned.frames, by_itself.frames, strict=True):
        assert np.array_equal(pixels(one.saved), pixels(other.saved))
        assert one.moved == other.moved
    assert [one.same_as for one in aligned.frames] == [
        None,
        out / "walk_1.png",
        None,
        out / "walk_1.png",
    ]
    assert len(list(ImageSequence.Iterator(Image.open(tmp_path / "walk.gif")))) == 4


def test_several_rows_are_animations_of_their_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("walk", "run"):
        saved(tmp_path / "rows" / f"{name}.png", row(2))
    given = ["frames", str(tmp_path / "rows"), "--frames", "2", "--out", str(tmp_path / "out")]
    assert run([*given, "--json"]) == 0
    names = [Path(one["saved"]).relative_to(tmp_path / "out") for one in told(capsys)["frames"]]
    assert [one.as_posix() for one in names] == [
        f"{name}/{name}_{number}.png" for name in ("run", "walk") for number in (1, 2)
    ]


def test_what_is_no_row_or_would_replace_an_input_is_told(tmp_path: Path) -> None:
    file = saved(tmp_path / "walk.png", row())
    with pytest.raises(InputError, match=r"walk\.png: The picture's width of 192 px is no mult"):
        orchestrator.align_frames(file, out=tmp_path / "out", frames=5)
    with pytest.raises(UsageError, match="no row of 0 frames"):
        orchestrator.align_frames(file, out=tmp_path / "out", frames=0)
    assert not (tmp_path / "out").exists()
    other = saved(tmp_path / "out" / "walk" / "walk_1.png", row())
    with pytest.raises(UsageError, match="would take its place"):
        orchestrator.align_frames([file, other], out=tmp_path / "out", frames=4)
