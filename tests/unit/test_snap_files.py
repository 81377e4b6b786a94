"""`spriteworks snap` and `orchestrator.snap`: files in, files out, and what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fake_grids
import orchestrator
from orchestrator.__main__ import run
from orchestrator.errors import UsageError

Pixels = fake_grids.Pixels
KEYS = ["file", "pitch", "offset", "width", "height", "confidence", "sure", "colours"]
KEYS += ["alpha_binary"]


def sprite(seed: int = 0) -> Pixels:
    return fake_grids.figure(np.random.default_rng(seed))


def saved(path: Path, pixels: Pixels, pitch: int = 6, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    big = pixels.repeat(pitch, axis=0).repeat(pitch, axis=1)
    Image.fromarray(big).save(path, **options)
    return path


def read(path: Path) -> Pixels:
    return np.asarray(Image.open(path))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """walk-1.png, walk-2.png, walk-10.png, a text, and a folder of its own."""
    for number in (1, 2, 10):
        saved(tmp_path / "in" / f"walk-{number}.png", sprite(number))
    (tmp_path / "in" / "notes.txt").write_text("no picture", encoding="utf-8")
    saved(tmp_path / "in" / "older" / "walk-1.png", sprite(1))
    return tmp_path / "in"


def test_a_folder_gives_true_pixels_in_the_order_of_its_numbers(folder: Path) -> None:
    out = folder.parent / "out"
    seen: list[tuple[str, int, int]] = []
    results = orchestrator.snap(
        folder, out, report=lambda one, done, total: seen.append((one.file.name, done, total))
    )
    names = ["walk-1.png", "walk-2.png", "walk-10.png"]
    assert seen == [(name, number, 3) for number, name in enumerate(names, 1)]
    assert sorted(path.name for path in out.iterdir()) == sorted(names)
    for result, number in zip(results, (1, 2, 10), strict=True):
        assert result.ok
        assert result.saved is not None
        assert np.array_equal(read(result.saved), sprite(number))
        assert (result.pitch, result.sure, result.error) == ((6.0, 6.0), True, "")


def test_the_command_tells_programs_what_it_found(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = folder.parent / "out"
    assert run(["snap", str(folder), "--out", str(out), "--scale", "3", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [list(one) for one in told] == [KEYS] * 3
    assert told[0]["pitch"] == [6.0, 6.0]
    assert told[0]["sure"] is True
    height, width = sprite(1).shape[:2]
    assert (told[0]["width"], told[0]["height"]) == (width, height)
    assert read(out / "walk-1.png").shape == (3 * height, 3 * width, 3)


def test_people_get_a_line_a_picture(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flat = saved(folder / "flat.png", np.full((9, 9, 3), 7, dtype=np.uint8))
    out = folder.parent / "out"
    assert run(["snap", str(folder), "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1] == str(out / "walk-10.png")
    assert f"{flat}: 54x54, pitch 1; unsure: look at it, or give --size" in printed.err


def test_one_bad_file_is_told_and_the_others_go_on(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (folder / "walk-1.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[:-40])
    (folder / "text.png").write_text("no picture", encoding="utf-8")
    frames = [Image.fromarray(sprite(1)), Image.fromarray(255 - sprite(1))]
    frames[0].save(folder / "film.gif", save_all=True, append_images=frames[1:])
    out = folder.parent / "out"
    assert run(["snap", str(folder), "--out", str(out), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    errors = {Path(one["file"]).name: one["error"] for one in told if "error" in one}
    assert set(errors) == {"cut.png", "text.png", "film.gif"}
    assert "not whole" in errors["cut.png"] or "cut off" in errors["cut.png"]
    assert "2 frames" in errors["film.gif"]
    assert sorted(path.name for path in out.iterdir()) == [
        "walk-1.png",
        "walk-10.png",
        "walk-2.png",
    ]


@pytest.mark.parametrize("kind", ["L", "LA", "P", "1", "CMYK", "I;16", "palette with transparency"])
def test_pictures_of_every_kind_are_snapped(kind: str, tmp_path: Path) -> None:
    small = sprite(2)
    big = Image.fromarray(small.repeat(8, axis=0).repeat(8, axis=1))
    file = tmp_path / ("picture.tif" if kind == "CMYK" else "picture.png")
    if kind == "I;16":
        Image.fromarray(np.asarray(big)[..., 0].astype(np.uint16) * 257).save(file)
    elif "P" in kind.upper()[:1]:
        big.quantize(16).save(file, **({"transparency": 0} if len(kind) > 1 else {}))
    else:
        (big.convert("L").point(lambda v: 255 * (v > 128)) if kind == "1" else big).convert(
            kind
        ).save(file)
    (result,) = orchestrator.snap(file, tmp_path / "out")
    assert (result.width, result.height) == small.shape[1::-1]
    assert result.alpha_binary
    assert result.saved is not None
    assert read(result.saved).shape[2] == (4 if kind == "palette with transparency" else 3)


def test_a_size_that_is_too_large_for_one_picture_is_that_pictures_error(tmp_path: Path) -> None:
    files = [saved(tmp_path / "a.png", sprite(3)), saved(tmp_path / "b.png", sprite(3)[:4, :4])]
    results = orchestrator.snap(files, tmp_path / "out", size=25)
    assert [result.ok for result in results] == [True, False]
    assert results[0].width == 25
    assert results[1].error.startswith(str(files[1]))
    assert "1 to 24 true pixels" in results[1].error


def test_a_sequence_has_one_pitch_phase_and_size(tmp_path: Path) -> None:
    small = sprite(7)
    for frame in range(4):
        moved = np.roll(small, frame, axis=1)
        big = Image.fromarray(moved).resize((round(moved.shape[1] * 11.3), 333), 0)
        big.save(tmp_path / f"{frame}.png")
    (tmp_path / "4.png").write_bytes(b"no picture")
    files = [tmp_path / f"{frame}.png" for frame in range(5)]
    results = orchestrator.snap(files, tmp_path / "out", sequence=True)
    assert [result.ok for result in results] == [True] * 4 + [False]
    assert len({(one.pitch, one.offset, one.width, one.height) for one in results[:4]}) == 1
    for frame, result in enumerate(results[:4]):
        assert result.saved is not None
        assert np.array_equal(read(result.saved), np.roll(small, frame, axis=1))


def test_frames_of_several_sizes_are_told(tmp_path: Path) -> None:
    files = [saved(tmp_path / "a.png", sprite(3)), saved(tmp_path / "b.png", sprite(4))]
    results = orchestrator.snap(files, tmp_path / "out", sequence=True)
    assert not any(result.ok for result in results)
    assert "must have one size" in results[0].error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing.png"], "is not there"),
        (["."], "has no pictures in it"),
        (["a/x.png", "b/X.jpg"], "would both become"),
        (["a/x.png", "a/x.png"], "would both become"),
        (["a", "--out", "a"], "would take its place"),
        (["a", "--out", "a/x.png"], "is a file"),
        (["a", "--size", "big"], "is no size"),
        (["a", "--size", "8x8", "--pitch", "3"], "give the size or the pitch"),
        (["a", "--colour", "pretty"], "there are median, mode, k-centroid"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    saved(tmp_path / "a" / "x.png", sprite(1))
    saved(tmp_path / "b" / "X.jpg", sprite(1))
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    given = arguments if "--out" in arguments else [*arguments, "--out", "out"]
    assert run(["snap", *given]) == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert sorted(tmp_path.rglob("*")) == before


def test_nothing_named_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no picture"):
        orchestrator.snap([], tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="a file in the way of the folder is Unix's")
def test_a_place_that_cannot_be_written_is_an_error_in_a_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder.parent / "file").write_text("in the way", encoding="utf-8")
    assert run(["snap", str(folder), "--out", str(folder.parent / "file" / "out")]) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_snapping_needs_no_torch(tmp_path: Path) -> None:
    import subprocess

    file = saved(tmp_path / "a.png", sprite(1))
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import orchestrator\n"
        "assert orchestrator.snap(sys.argv[1], sys.argv[2])[0].ok\n"
    )
    repository = Path(orchestrator.__file__).parents[1]
    subprocess.run(
        [sys.executable, "-c", code, str(file), str(tmp_path / "out")], check=True, cwd=repository
    )
