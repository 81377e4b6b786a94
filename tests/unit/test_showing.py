"""What nodes give the canvas to show, by who watches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from comfy_nodes import showing
from comfy_nodes.ops.arrays import Bytes
from comfy_nodes.ops.frames import Animation, Frame
from comfy_nodes.ops.sheet import packed


class Progress:
    """Keeps what it is told, and stops the run at a number."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.told: list[tuple[int, int]] = []
        self.stop_at = stop_at

    def update(self, done: int, total: int) -> None:
        self.told.append((done, total))
        if done == self.stop_at:
            raise KeyboardInterrupt


class Screen:
    """A canvas that somebody watches, or nobody."""

    def __init__(self, folder: Path, watched: bool = True) -> None:
        self.folder = folder
        self.watched = watched
        self.bars: list[Progress] = []
        self.stop_at: int | None = None

    def is_watched(self) -> bool:
        return self.watched

    def temp_folder(self) -> Path:
        return self.folder / "temp"

    def progress_bar(self) -> Progress:
        self.bars.append(Progress(self.stop_at))
        return self.bars[-1]


@pytest.fixture
def screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Screen:
    made = Screen(tmp_path)
    monkeypatch.setattr(showing, "_installed", made)
    return made


def noise(*shape: int) -> Bytes:
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)


def entry(ui: dict[str, Any] | None) -> dict[str, Any]:
    assert ui is not None
    (told,) = ui[showing.KEY]
    return dict(told)


def frames() -> list[Frame]:
    return [Frame.whole(name, noise(6, 4, 4), duration=90) for name in ("a", "b", "c")]


def test_nobody_watches_and_nothing_is_made(screen: Screen) -> None:
    screen.watched = False
    assert showing.compared([noise(4, 4, 3)], [noise(4, 4, 3)]) is None
    assert showing.measured([{"passed": True, "measures": []}]) is None
    assert showing.played(frames(), {}) is None
    assert showing.sheet_told(packed(frames())) is None
    assert not screen.temp_folder().exists()


def test_pictures_lie_in_the_temp_folder_as_they_are(screen: Screen) -> None:
    before, after = noise(20, 30, 3), noise(10, 15, 4)
    told = entry(showing.compared([before], [after], [{"pitch": (2.0, 2.0)}]))
    for picture, given in ((told["before"][0], before), (told["after"][0], after)):
        assert (picture["width"], picture["height"]) == (given.shape[1], given.shape[0])
        assert (picture["type"], picture["subfolder"]) == ("temp", "")
        with Image.open(screen.temp_folder() / picture["name"]) as kept:
            assert np.array_equal(np.asarray(kept), given)
    assert told["found"] == [{"pitch": (2.0, 2.0)}]


def test_large_pictures_lose_whole_rows_and_columns_only(screen: Screen) -> None:
    given = noise(10, 2 * showing.LARGEST + 1, 3)
    (picture,) = entry(showing.compared([], [given]))["after"]
    assert picture["width"] == given.shape[1]
    with Image.open(screen.temp_folder() / picture["name"]) as kept:
        assert np.array_equal(np.asarray(kept), given[::3, ::3])


def test_of_a_large_batch_the_first_are_shown_and_all_are_counted(screen: Screen) -> None:
    many = [noise(2, 2, 3)] * (showing.MOST + 5)
    told = entry(showing.compared(many, many))
    assert [len(told["before"]), len(told["after"])] == [showing.MOST, showing.MOST]
    assert told["count"] == len(many)


def test_nothing_is_named_as_results_are(screen: Screen) -> None:
    """Whatever has a "filename" is fetched as a result of the run."""
    shown = [
        showing.compared([noise(4, 4, 3)], [noise(4, 4, 3)]),
        showing.played(frames(), {"walk": ["a", "b"]}),
        showing.measured([{"passed": True, "measures": []}]),
        showing.sheet_told(packed(frames())),
    ]
    assert "filename" not in repr(shown)
    assert len(list(screen.temp_folder().iterdir())) == 5


def test_frames_play_by_their_animation(screen: Screen) -> None:
    told = entry(showing.played(frames(), {"walk": ["a", "b"], "wave": ["c", "a"]}))
    assert [(one["name"], one["frames"]) for one in told["tags"]] == [
        ("walk", [0, 1]),
        ("wave", [2, 0]),
    ]
    assert [one["page"] for one in told["frames"]] == [0, 1, 2]
    assert all(one["size"] == [4, 6] and one["ms"] == 90 for one in told["frames"])


def test_a_sheet_plays_from_its_own_pages(screen: Screen) -> None:
    sheet = packed(frames(), [Animation("walk", ("a", "c"))])
    told = showing.sheet_told(sheet)
    assert told is not None
    assert "pages" not in told
    page = sheet.pages[0]
    for frame, given in zip(told["frames"], sheet.frames, strict=True):
        x, y, width, height = frame["at"]
        assert np.array_equal(page[y : y + height, x : x + width], given.picture)
    assert told["tags"][0]["frames"] == [0, 2]


def test_progress_is_told_before_each_item_and_may_stop_the_run(screen: Screen) -> None:
    assert list(showing.counted("abc")) == ["a", "b", "c"]
    assert screen.bars[0].told == [(0, 3), (1, 3), (2, 3)]
    screen.stop_at = 1
    waiting = showing.counted("abc")
    assert next(waiting) == "a"
    with pytest.raises(KeyboardInterrupt):
        next(waiting)
    assert len(screen.bars) == 2
