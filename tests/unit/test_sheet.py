"""Frames on pages, and on one canvas."""

from __future__ import annotations

import numpy as np
import pytest

from comfy_nodes.errors import BadInput
from comfy_nodes.ops.duplicates import Nearness
from comfy_nodes.ops.frames import Animation, Frame, untrimmed
from comfy_nodes.ops.sheet import Sheet, common_canvas, ground, in_grid, on_one_canvas, packed
from sample_sheet import animations, frames, on_ground


def cut(sheet: Sheet, index: int) -> np.ndarray:
    at = sheet.placements[index]
    width, height = at.on_page
    found = sheet.pages[at.page][at.y : at.y + height, at.x : at.x + width]
    return np.rot90(found) if at.rotated else found


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"padding": 0, "extrude": 0},
        {"power_of_two": True},
        {"largest": 60},
        {"rotate": True},
        {"rotate": True, "padding": 0, "extrude": 3},
    ],
)
def test_every_frame_comes_back_whole(options: dict[str, int]) -> None:
    sheet = packed(frames(), animations(), **options)
    assert [at.frame for at in sheet.placements] == [frame.name for frame in frames()]
    for index, (before, after) in enumerate(zip(frames(), sheet.frames, strict=True)):
        np.testing.assert_array_equal(cut(sheet, index), after.picture)
        np.testing.assert_array_equal(untrimmed(after).picture, before.picture)
        assert (after.pivot, after.duration) == (before.pivot, before.duration)
    assert len(sheet.pages) == (2 if "largest" in options else 1)
    assert any(at.rotated for at in sheet.placements) == ("rotate" in options)


def test_equal_frames_share_a_place() -> None:
    sheet = packed(frames())
    at = {one.frame: (one.page, one.x, one.y) for one in sheet.placements}
    assert at["walk_1"] == at["idle_2"]
    assert len(set(at.values())) == 7


@pytest.mark.parametrize("rotate", [False, True])
def test_the_edge_is_repeated_around(rotate: bool) -> None:
    sheet = packed(frames(), padding=2, extrude=2, rotate=rotate)
    for index, at in enumerate(sheet.placements):
        page, (width, height) = sheet.pages[at.page], at.on_page
        around = page[at.y - 2 : at.y + height + 2, at.x - 2 : at.x + width + 2]
        around = np.rot90(around) if at.rotated else around
        np.testing.assert_array_equal(
            around, np.pad(cut(sheet, index), ((2, 2), (2, 2), (0, 0)), mode="edge")
        )


def nearly_the_same() -> list[Frame]:
    first = frames()[0]
    shade = first.picture.astype(int)
    shade[..., :3] += np.where(shade[..., :3] < 250, 1, 0) * (shade[..., 3:] > 0)
    return [first, Frame.whole("near", shade.astype(np.uint8), first.pivot, 70), frames()[1]]


def test_near_frames_share_a_place_where_that_is_asked_for() -> None:
    own = packed(nearly_the_same())
    assert len({(at.x, at.y) for at in own.placements}) == 3
    near = packed(nearly_the_same(), near=Nearness(distance=0.02))
    at = {one.frame: (one.x, one.y) for one in near.placements}
    assert at["walk_1"] == at["near"] != at["walk_2"]
    shown = near.frames[1]
    assert (shown.name, shown.duration) == ("near", 70)
    np.testing.assert_array_equal(untrimmed(shown).picture, frames()[0].picture)


def test_near_frames_stay_whole_where_nothing_is_trimmed() -> None:
    moved = np.roll(frames()[0].picture, 1, axis=1)
    sheet = packed(
        [*nearly_the_same(), Frame.whole("moved", moved)], trim=False, near=Nearness(distance=0.02)
    )
    assert all(frame.is_whole for frame in sheet.frames)
    assert len({(at.x, at.y) for at in sheet.placements}) == 3
    np.testing.assert_array_equal(cut(sheet, 3), moved)


def test_fill_counts_what_is_covered() -> None:
    one = Frame.whole("a", np.full((10, 10, 4), 255, np.uint8))
    assert packed([one]).fill == 1.0
    assert 0.6 < packed(frames()).fill <= 1.0


def test_a_grid_has_a_cell_for_each_frame_on_one_canvas() -> None:
    sheet = in_grid(frames(), animations(), columns=3, padding=2, extrude=1)
    canvas = common_canvas(frames())
    assert {(at.width, at.height) for at in sheet.placements} == {canvas.size}
    step = canvas.size[0] + 4, canvas.size[1] + 4
    assert [(at.x, at.y) for at in sheet.placements] == [
        (1 + index % 3 * step[0], 1 + index // 3 * step[1]) for index in range(8)
    ]
    point = int(canvas.pivot[0]), int(canvas.pivot[1])
    for index, frame in enumerate(frames()):
        np.testing.assert_array_equal(cut(sheet, index), on_ground(frame, canvas.size, point))


def test_one_canvas_has_one_ground_point() -> None:
    whole = on_one_canvas(packed(frames()).frames)
    assert len({ground(frame) for frame in whole}) == 1
    assert len({frame.source for frame in whole}) == 1
    # no larger than needed: hit_1 reaches further than the others on all sides
    assert common_canvas(frames()).size == (44, 40)


def test_ground_points_between_pixels_stay_within_one() -> None:
    picture = np.full((4, 4, 4), 255, np.uint8)
    pair = [Frame.whole("a", picture, (1.5, 3.0)), Frame.whole("b", picture, (2.0, 3.0))]
    canvas = common_canvas(pair)
    assert canvas.moves == ((1, 0), (0, 0))
    assert canvas.pivot == (2.5, 3.0)
    assert canvas.size == (5, 4)


def test_what_does_not_fit_together_is_told() -> None:
    with pytest.raises(BadInput, match="Two frames have the name walk_1"):
        packed([*frames(), frames()[0]])
    with pytest.raises(BadInput, match="run wants the frame run_1; there is none"):
        packed(frames(), [Animation("run", ("run_1",))])
    with pytest.raises(BadInput, match="Two animations have the name walk"):
        packed(frames(), [*animations(), animations()[0]])
    with pytest.raises(BadInput, match="0 to 16 px, not 17"):
        packed(frames(), extrude=17)
