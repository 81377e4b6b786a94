"""`spriteworks cutout` and `orchestrator.cut_out`: files in, sprites out, and models of rembg."""

from __future__ import annotations

import importlib.util
import inspect
import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import typer.main
from PIL import Image

import orchestrator
from comfy_nodes.ops.cutout import CutoutOptions, cut_out
from orchestrator.__main__ import run
from orchestrator.cli import app
from orchestrator.errors import ModelError, UsageError
from orchestrator.extras import install_line
from orchestrator.sprites.background_model import background_model

Pixels = np.ndarray
INK, RED = (20, 10, 30), (200, 30, 30)


def block(left: int = 4) -> Pixels:
    """A red block with an outline on white."""
    picture = np.full((16, 20, 3), 255, dtype=np.uint8)
    picture[3:12, left : left + 8] = INK
    picture[4:11, left + 1 : left + 7] = RED
    return picture


def saved(path: Path, pixels: Pixels) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def read(path: Path) -> Pixels:
    return np.asarray(Image.open(path))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in (2, 10):
        saved(tmp_path / "in" / f"block-{number}.png", block(number))
    return tmp_path / "in"


def test_a_folder_gives_sprites(folder: Path) -> None:
    out = folder.parent / "out"
    seen: list[tuple[str, int, int]] = []
    results = orchestrator.cut_out(
        folder, out, report=lambda one, done, total: seen.append((one.file.name, done, total))
    )
    assert seen == [("block-2.png", 1, 2), ("block-10.png", 2, 2)]
    for result, left in zip(results, (2, 10), strict=True):
        assert result.saved is not None
        assert np.array_equal(read(result.saved), cut_out(block(left)))
        assert result.box == (left, 3, left + 8, 12)
        assert result.there == pytest.approx(72 / 320)
        assert (result.ok, result.error, result.alpha_binary) == (True, "", True)


def test_the_options_reach_the_pixels(folder: Path) -> None:
    out = folder.parent / "out"
    options = ["--outline", "outside", "--outline-colour", "#0000ff", "--smallest-part", "0.5"]
    assert run(["cutout", str(folder / "block-2.png"), "--out", str(out), *options]) == 0
    sprite = read(out / "block-2.png")
    assert (sprite == (0, 0, 255, 255)).all(axis=2).sum() == 2 * (8 + 9)
    assert run(["cutout", str(out), "--out", str(out / "soft"), "--soft", "--json"]) == 0


def test_the_command_tells_programs_what_it_did(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flat = saved(folder / "flat.png", np.full((9, 9, 3), 7, dtype=np.uint8))
    (folder / "text.png").write_text("no picture", encoding="utf-8")
    assert run(["cutout", str(folder), "--out", str(folder.parent / "out"), "--json"]) == 1
    printed = capsys.readouterr()
    told = json.loads(printed.out)
    assert [list(one) for one in told[:2]] == [
        ["file", "width", "height", "box", "there", "alpha_binary"]
    ] * 2
    assert told[0]["box"] == [2, 3, 10, 12]
    errors = {Path(one["file"]).name: one["error"] for one in told if "error" in one}
    assert set(errors) == {"flat.png", "text.png"}
    assert errors["flat.png"].startswith(f"{flat}: Nothing would be left")
    assert f"{folder / 'block-2.png'}: 8x9 of 20x16" in printed.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--outline", "thick"], "there are none, close, inside, outside"),
        (["--outline-colour", "blue"], "is no hex colour"),
        (["--tolerance", "3"], "tolerance is 0 to 1"),
        (["--soft", "--outline", "close"], "not soft"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(
    options: list[str], words: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = folder.parent / "out"
    assert run(["cutout", str(folder), "--out", str(out), *options]) == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert not out.exists()


def test_the_defaults_are_those_of_the_pixels_options() -> None:
    own = {one.name: one.default for one in fields(CutoutOptions)}
    cutout = typer.main.get_command(app).commands["cutout"]  # type: ignore[attr-defined]
    command = {one.name: one.default for one in cutout.params}
    command |= {"keep_light": not command["holes_by_size"], "despill": not command["no_despill"]}
    python = inspect.signature(orchestrator.cut_out).parameters
    for name, default in own.items():
        plain = getattr(default, "value", default)
        assert command[name] == plain
        assert python[name].default == plain


def test_cutting_out_needs_no_torch(folder: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import orchestrator\n"
        "assert orchestrator.cut_out(sys.argv[1], sys.argv[2])[0].ok\n"
    )
    repository = Path(orchestrator.__file__).parents[1]
    out = folder.parent / "out"
    subprocess.run([sys.executable, "-c", code, str(folder), str(out)], check=True, cwd=repository)


# ------------------------------------------------------------------------------------ rembg


class Session:
    """A model of rembg: that of the left half being in front, on this machine or not."""

    local, there = True, True

    @classmethod
    def is_local(cls) -> bool:
        return cls.local

    @classmethod
    def resolve_existing(cls, name: str) -> str | None:
        return name if cls.there else None


class Remote(Session):
    local = False


class Missing(Session):
    there = False


@pytest.fixture
def rembg(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module with what is used of rembg 2.0.86, without its gigabyte."""
    made, sessions = ModuleType("rembg"), ModuleType("rembg.sessions")
    kinds = {"half": Session, "cloud": Remote, "missing": Missing}
    vars(sessions)["sessions"] = kinds

    def remove(data: Pixels, *, session: Any, only_mask: bool) -> Pixels:
        assert only_mask
        assert isinstance(session, Session)
        mask = np.zeros(data.shape[:2], dtype=np.uint8)
        mask[:, : data.shape[1] // 2] = 230
        mask[:, data.shape[1] // 2] = 90
        return mask

    vars(made).update(new_session=lambda name: kinds[name](), remove=remove, sessions=sessions)
    monkeypatch.setitem(sys.modules, "rembg", made)
    monkeypatch.setitem(sys.modules, "rembg.sessions", sessions)
    return made


@pytest.mark.usefixtures("rembg")
def test_a_model_finds_the_background(folder: Path) -> None:
    (result, _) = orchestrator.cut_out(folder, folder.parent / "out", model="half")
    assert result.saved is not None
    sprite = read(result.saved)
    assert (sprite[:, :10, 3] == 255).all()
    assert not sprite[:, 10:].any()
    assert np.array_equal(sprite[:, :10, :3], block(2)[:, :10])
    own = saved(folder / "own.png", np.dstack([block(), np.full((16, 20), 255, dtype=np.uint8)]))
    pixels = read(own).copy()
    pixels[:5, :, 3] = 0
    saved(own, pixels)
    (result,) = orchestrator.cut_out(own, folder.parent / "out", model="half")
    assert result.box == (0, 5, 10, 16)


def test_a_model_that_sees_no_background_or_fails_is_told(folder: Path, rembg: ModuleType) -> None:
    vars(rembg)["remove"] = lambda data, **_: np.full(data.shape[:2], 255, dtype=np.uint8)
    results = orchestrator.cut_out(folder, folder.parent / "out", model="half")
    assert ["sees no background" in one.error for one in results] == [True, True]
    vars(rembg)["remove"] = lambda data, **_: data
    with pytest.raises(ModelError, match="not one for cutting out"):
        orchestrator.cut_out(folder, folder.parent / "out", model="half")
    vars(rembg)["remove"] = lambda data, **_: 1 // 0
    with pytest.raises(ModelError, match="model half failed"):
        orchestrator.cut_out(folder, folder.parent / "out", model="half")


@pytest.mark.usefixtures("rembg")
def test_nothing_is_downloaded_and_no_picture_sent_away(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"not on this machine; .*GitHub.*download_models"):
        orchestrator.cut_out(folder, folder.parent / "out", model="missing")
    with pytest.raises(UsageError, match="no model 'cloud' for this machine; it has half, missing"):
        orchestrator.cut_out(folder, folder.parent / "out", model="cloud")
    assert not (folder.parent / "out").exists()


def test_without_rembg_the_way_to_it_is_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "rembg", None)
    out = folder.parent / "out"
    assert run(["cutout", str(folder), "--out", str(out), "--model", "u2net"]) == 2
    assert install_line("rembg") in " ".join(capsys.readouterr().err.split())
    assert not out.exists()


@pytest.mark.skipif(importlib.util.find_spec("rembg") is None, reason="rembg is not installed")
def test_the_real_rembg_has_what_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import rembg
    from rembg.sessions import sessions
    from rembg.sessions.base import BaseSession

    class Left(BaseSession):
        """Without a network, whose file would be downloaded."""

        def __init__(self) -> None:
            pass

        @classmethod
        def name(cls, *_: Any, **__: Any) -> str:
            return "left"

        def predict(self, img: Image.Image, *_: Any, **__: Any) -> list[Image.Image]:
            mask = np.zeros((img.height, img.width), dtype=np.uint8)
            mask[:, : img.width // 2] = 255
            return [Image.fromarray(mask)]

    monkeypatch.setenv("U2NET_HOME", str(tmp_path))
    monkeypatch.setitem(sessions, "left", Left)
    monkeypatch.setattr(rembg, "new_session", lambda _: Left())
    with pytest.raises(ModelError, match="not on this machine"):
        background_model("left")
    (tmp_path / "left.onnx").write_bytes(b"")
    mask = background_model("left")(block())
    assert mask[:, :10].min() == 255
    assert mask[:, 10:].max() == 0
    monkeypatch.undo()
    monkeypatch.setenv("U2NET_HOME", str(tmp_path))
    (tmp_path / "u2net.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match="u2net cannot be loaded"):
        background_model("u2net")
