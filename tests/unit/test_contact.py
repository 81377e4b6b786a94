"""Contact sheets of a real batch folder."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageFont

from orchestrator.batch.logic.manifest.manifest import ContactSheet
from orchestrator.batch.reporting.report import contact
from orchestrator.batch.reporting.report.contact import (
    ContactLayout,
    checkerboard,
    fitted,
    rows_that_fit,
    shortened,
)
from orchestrator.errors import StoreError


@pytest.fixture(scope="module")
def batches(repository: Path) -> Any:
    path = repository / "tests" / "data" / "batch_folder.py"
    spec = importlib.util.spec_from_file_location("batch_folder", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sheet(**changes: Any) -> ContactSheet:
    return ContactSheet(**changes)


def test_the_sheet_is_as_the_manifest_says(tmp_path: Path, batches: Any) -> None:
    batches.make(tmp_path, 12, sheet(columns=4, cell=48, labels=False))
    (path,) = contact.write(tmp_path)
    assert path.name == "contact.png"
    layout = ContactLayout(sheet=sheet(columns=4, cell=48, labels=False), columns=4, rows=3)
    with Image.open(path) as image:
        assert image.size == layout.size
        canvas = image.convert("RGB")
    # The bottles are 16 by 24, so they are doubled: 32 by 48, in the middle of the cell.
    x, y = layout.corner(5)
    name = batches.jobs(12)
    with Image.open(tmp_path / f"{list(name)[5].name}.png") as source:
        expected = source.convert("RGBA").resize((32, 48), Image.Resampling.NEAREST)
    board = checkerboard(48)
    board.paste(expected, (8, 0), expected)
    assert canvas.crop((x, y, x + 48, y + 48)).tobytes() == board.tobytes()


def test_a_long_batch_has_several_sheets(
    tmp_path: Path, batches: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contact, "TALLEST", 200)
    batches.make(tmp_path, 33, sheet(columns=5, cell=32))
    assert rows_that_fit(sheet(columns=5, cell=32)) == 2
    paths = contact.write(tmp_path)
    assert [path.name for path in paths] == [f"contact-{n:03}.png" for n in (1, 2, 3)]
    for path in paths:
        with Image.open(path) as image:
            assert image.height <= 200

    # A sheet that is no longer needed goes; a file that is not ours stays.
    monkeypatch.undo()
    (tmp_path / "contact-mine.png").write_bytes((tmp_path / "potion-red-0.png").read_bytes())
    (tmp_path / "contact-broken.png").write_bytes(b"no picture")
    contact.write(tmp_path)
    left = sorted(path.name for path in tmp_path.glob("contact*"))
    assert left == ["contact-broken.png", "contact-mine.png", "contact.png"]


def test_a_picture_called_contact_is_not_overwritten(tmp_path: Path) -> None:
    paths = iter(["Contact-1.png", "_contact.png", "potion.png"])
    assert contact._free_stem(paths) == "__contact"


def test_a_lost_file_leaves_a_cell_that_says_so(tmp_path: Path, batches: Any) -> None:
    batches.make(tmp_path, 6)
    (tmp_path / "potion-red-0.png").unlink()
    (path,) = contact.write(tmp_path)
    assert path.is_file()


def test_no_pictures_is_an_empty_sheet(tmp_path: Path, batches: Any) -> None:
    batches.make(tmp_path, 3)
    (path,) = contact.write(tmp_path)
    with Image.open(path) as image:
        assert image.info["Software"] == "Spriteworks contact sheet"


def test_no_folder_is_no_batch(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no batch"):
        contact.write(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("size", "cell", "expected"),
    [((16, 24), 128, (80, 120)), ((128, 128), 128, (128, 128)), ((512, 300), 128, (128, 75))],
)
def test_pictures_keep_whole_pixels(
    size: tuple[int, int], cell: int, expected: tuple[int, int]
) -> None:
    assert fitted(Image.new("RGBA", size), cell).size == expected


def test_labels_fit_and_keep_their_ends() -> None:
    font = ImageFont.load_default(11)
    for text in ("potion", "a/very/long/folder/name/potion-red-100", "薬瓶\n" * 20):
        short = shortened(text, 90, font)
        assert font.getlength(short) <= 90
    assert shortened("a/very/long/folder/name/potion-red-100", 90, font).endswith("-red-100")
