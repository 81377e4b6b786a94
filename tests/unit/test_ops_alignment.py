"""Frames on one ground point: what moves a box moves no body."""

from __future__ import annotations

import os

import numpy as np
import pytest
from numpy.typing import NDArray

from comfy_nodes.errors import BadInput
from comfy_nodes.ops.alignment import (
    Alignment,
    Pivot,
    align,
    centre_points,
    enlargement,
    ground_points,
)
from comfy_nodes.ops.frames import Frame, trimmed
from comfy_nodes.ops.measures.frames import baseline_jitter, centroid_jitter
from comfy_nodes.ops.measures.subject import Subject

Pixels = NDArray[np.uint8]

SKIN, COAT, BOOT, STEEL = (
    (230, 180, 140, 255),
    (60, 70, 160, 255),
    (80, 50, 30, 255),
    (190, 200, 210, 255),
)


def character(
    *, arm: int = 3, stride: int = 0, sword: str = "", x: int = 0, y: int = 0, size: int = 64
) -> Pixels:
    """A head, a coat, two legs and an arm to the right, 24 px high, on a larger canvas."""
    made = np.zeros((size, size, 4), np.uint8)
    body = made[16 + y : 48 + y, 16 + x :]
    body[0:6, 8:14] = SKIN
    body[6:17, 6:16] = COAT
    body[17:24, 7 - stride : 10 - stride] = BOOT
    body[17:24, 12 + stride : 15 + stride] = BOOT
    body[8:11, 16 : 16 + arm] = COAT
    if sword == "ahead":
        body[9, 16 + arm : 28 + arm] = STEEL
    if sword == "down":
        body[9:32, 30:32] = STEEL
    if sword == "up":
        made[y : 27 + y, 16 + x + 18 : 16 + x + 20] = STEEL
    return made


def frames(*pictures: Pixels) -> list[Frame]:
    return [Frame.whole(f"walk-{index}", picture) for index, picture in enumerate(pictures)]


def jitter(aligned: Alignment) -> tuple[float | None, float | None]:
    subjects = [Subject(frame.picture) for frame in aligned.animations[0]]
    return baseline_jitter(subjects), centroid_jitter(subjects)


def top_of_head(frame: Frame) -> tuple[int, int]:
    """Where the body really is: the first pixel of skin."""
    rows, columns = np.nonzero((frame.picture == SKIN).all(axis=2))
    return int(columns[0]), int(rows[0])


# ------------------------------------------------------------------------------ ground points


def test_the_ground_point_is_below_the_middle_of_the_body() -> None:
    shape = character()[..., 3] > 0

    assert ground_points([shape]) == [(16 + 11, 16 + 24)]
    assert centre_points([shape]) == [(16 + 11, 16 + 11)]


@pytest.mark.parametrize(
    "other",
    [dict(arm=14), dict(sword="ahead"), dict(sword="down"), dict(sword="up"), dict(stride=5)],
)
@pytest.mark.parametrize("points", [ground_points, centre_points])
def test_a_longer_arm_a_sword_or_a_stride_does_not_move_it(other, points) -> None:
    shapes = [one[..., 3] > 0 for one in [character(), character(), character(**other)]]

    assert len(set(points(shapes))) == 1


def test_an_empty_frame_has_no_ground_point() -> None:
    shape = character()[..., 3] > 0

    assert ground_points([np.zeros_like(shape)]) == [None]
    assert ground_points([shape, np.zeros_like(shape)]) == [(27, 40), None]
    assert centre_points([np.zeros_like(shape), shape])[0] is None


@pytest.mark.parametrize("points", [ground_points, centre_points])
def test_it_moves_with_the_frame(points) -> None:
    moves = [(0, 0), (7, 2), (-5, 9), (15, 15)]
    shapes = [character(x=x, y=y)[..., 3] > 0 for x, y in moves]

    found = np.array(points(shapes)) - np.array(moves)

    assert len(np.unique(found, axis=0)) == 1


def test_bodies_of_a_real_game_are_placed_whatever_they_hold() -> None:
    """104 bodies, eight frames each, 70% of them with a weapon, each moved by up to 15 px."""
    tiles = os.environ.get("SPRITEWORKS_TILES")
    if not tiles:
        pytest.skip("SPRITEWORKS_TILES names no tiles.npz of Dungeon Crawl Stone Soup")
    with np.load(tiles) as loaded:
        visible = dict(zip(loaded["names"].tolist(), loaded["pixels"][..., 3] >= 128, strict=True))
    bodies = [one for name, one in visible.items() if name.startswith("player/base/")]
    weapons = [one for name, one in visible.items() if name.startswith("player/hand1/")]
    random = np.random.default_rng(7)
    exact = 0
    for body in bodies:
        shapes, moves = [], random.integers(0, 16, (8, 2))
        for x, y in moves:
            held = weapons[random.integers(len(weapons))] if random.random() < 0.7 else body
            shapes.append(np.zeros((48, 48), bool))
            shapes[-1][y : y + 32, x : x + 32] = body | held
        columns = (np.array(ground_points(shapes)) - moves)[:, 0]
        assert np.abs(columns - np.median(columns)).max() <= 1
        exact += len(set(columns.tolist())) == 1
    assert exact >= 0.98 * len(bodies)


# ------------------------------------------------------------------------------------ aligning


def test_sixteen_moved_frames_one_with_a_longer_arm_stand_still() -> None:
    random = np.random.default_rng(3)
    moves = random.integers(0, 16, (16, 2)).tolist()
    pictures = [
        character(x=x, y=y, arm=14 if index == 5 else 3) for index, (x, y) in enumerate(moves)
    ]

    before = [Subject(picture) for picture in pictures]
    aligned = align([frames(*pictures)])

    assert baseline_jitter(before) > 5
    assert centroid_jitter(before) > 5
    assert jitter(aligned) == (0, 0)
    # and not by the measure's own word alone: the head is at one place in all frames
    assert len({top_of_head(frame) for frame in aligned.animations[0]}) == 1
    for frame, (x, y) in zip(aligned.animations[0], moves, strict=True):
        middle = np.floor(np.median(moves, axis=0))
        assert aligned.moved[frame.name] == (x - middle[0], y - middle[1])


def test_the_pixels_of_each_frame_stay_and_nothing_is_cut() -> None:
    pictures = [character(x=3, sword="ahead"), character(y=9, stride=4), character(sword="down")]

    aligned = align([frames(*pictures)], margin=2)

    for picture, frame in zip(pictures, aligned.animations[0], strict=True):
        assert np.array_equal(trimmed(Frame.whole("", picture)).picture, trimmed(frame).picture)
        assert frame.source == aligned.canvas
        assert frame.pivot == aligned.pivot
    there = np.any([frame.picture[..., 3] for frame in aligned.animations[0]], axis=0)
    assert not there[:2].any() and not there[-2:].any()  # noqa: PT018
    assert there[2].any()
    assert there[-3].any()
    assert there[:, 2].any()
    assert there[:, -3].any()


def test_directions_share_one_canvas_and_ground() -> None:
    right = [Frame.whole(f"right-{one}", character(x=one)) for one in range(3)]
    left = [
        Frame.whole(f"left-{one}", np.ascontiguousarray(character(x=one, y=7)[:, ::-1]))
        for one in range(3)
    ]

    aligned = align([right, left])

    every = [frame for frames in aligned.animations for frame in frames]
    assert {frame.pivot for frame in every} == {aligned.pivot}
    assert len({int(np.flatnonzero(frame.picture[..., 3].any(axis=1))[-1]) for frame in every}) == 1
    # a body of even width has its middle on a pixel border, mirrored or not
    sides = [(top_of_head(frame)[0], frame) for frame in every]
    assert len({x for x, _ in sides}) == 1


def test_a_jump_stays_in_the_air_where_heights_are_kept() -> None:
    jump = [character(x=x, y=-y) for x, y in ((0, 0), (4, 6), (2, 11), (1, 0))]

    kept = align([frames(*jump)], keep_height=True)
    down = align([frames(*jump)])

    heads = [top_of_head(frame) for frame in kept.animations[0]]
    assert [heads[0][1] - y for _, y in heads] == [0, 6, 11, 0]
    assert len({x for x, _ in heads}) == 1
    assert len({top_of_head(frame) for frame in down.animations[0]}) == 1
    # it stands on the ground of the frames that touch it
    assert kept.pivot[1] == kept.canvas[1]
    with pytest.raises(BadInput, match="64, 80 px"):
        align([frames(character(), character(size=80))], keep_height=True)


def test_what_flies_is_held_by_its_middle() -> None:
    legs_drawn_up = character(y=4)
    legs_drawn_up[16 + 4 + 20 :] = 0

    aligned = align([frames(character(), character(y=9), legs_drawn_up)], pivot=Pivot.CENTRE)

    assert len({top_of_head(frame) for frame in aligned.animations[0]}) == 1


def test_icons_are_held_by_the_middle_of_their_own_boxes_lower_edge() -> None:
    flat, tall = np.zeros((2, 20, 30, 4), np.uint8)
    flat[3:7, 2:10] = 255
    tall[5:19, 20:25] = 255

    aligned = align([frames(flat, tall)], pivot=Pivot.BOX, canvas=(16, 16), margin=1)

    assert aligned.pivot == (8, 15)
    seen = [np.nonzero(frame.picture[..., 3]) for frame in aligned.animations[0]]
    boxes = [(int(x.min()), int(x.max()), int(y.min()), int(y.max())) for y, x in seen]
    assert boxes == [(4, 11, 11, 14), (6, 10, 1, 14)]


def test_a_given_canvas_has_the_pivot_in_the_middle_of_its_width() -> None:
    aligned = align([frames(character(), character(x=5, sword="down"))], canvas=(64, 48), margin=1)

    assert aligned.canvas == (64, 48)
    assert aligned.pivot[0] == 32
    assert aligned.animations[0][0].picture.shape == (48, 64, 4)
    narrow = align([frames(character(sword="ahead"))], canvas=(27, 24))
    assert narrow.pivot == (7, 24)
    with pytest.raises(BadInput, match="take 21x26 with a margin of 1"):
        align([frames(character(arm=9))], canvas=(24, 24), margin=1)


def test_frames_of_many_sizes_and_an_empty_one_are_taken() -> None:
    empty = np.zeros((20, 30, 4), np.uint8)
    empty[..., :3] = 77
    pictures = frames(character(), character(size=80, x=9), empty)

    aligned = align([pictures])

    assert jitter(aligned) == (0, 0)
    assert not aligned.animations[0][2].picture.any()
    alone = align([frames(empty)])
    assert alone.canvas == (1, 1)


def test_a_frame_too_faint_to_stand_anywhere_is_moved_as_most_are() -> None:
    faint = np.zeros((64, 64, 4), np.uint8)
    faint[30, 40] = (250, 250, 250, 90)
    given = frames(character(x=-9), character(x=5), character(x=5), faint)

    aligned = align([given])

    assert aligned.moved["walk-3"] == (0, 0)
    # where it was beside the second and third
    (row,), (column,) = np.nonzero(aligned.animations[0][3].picture[..., 3])
    head = top_of_head(aligned.animations[0][1])
    assert (column - head[0], row - head[1]) == (40 - (24 + 5), 30 - 16)


def test_what_cannot_be_aligned_is_refused() -> None:
    with pytest.raises(BadInput, match="no frames"):
        align([])
    with pytest.raises(BadInput, match="walk-0"):
        align([frames(character()), frames(character())])
    with pytest.raises(BadInput, match="margin"):
        align([frames(character())], margin=-1)


# --------------------------------------------------------------------------------------- scale


def enlarged(picture: Pixels, times: int, cut: int = 0) -> Pixels:
    return picture.repeat(times, axis=0).repeat(times, axis=1)[cut:, cut:]


def test_enlargement_is_counted() -> None:
    plain = np.zeros((8, 8, 4), np.uint8)

    assert enlargement(character()) == 1
    assert enlargement(enlarged(character(), 3)) == 3
    assert enlargement(enlarged(character(), 4, cut=3)) == 4
    assert enlargement(plain) == 0


def test_an_enlarged_frame_gets_the_scale_of_the_others() -> None:
    pictures = frames(character(), enlarged(character(arm=9), 2, cut=1), character(x=2))

    aligned = align([pictures], one_scale=True)

    assert aligned.reduced == {"walk-1": 2}
    assert np.array_equal(
        trimmed(aligned.animations[0][1]).picture,
        trimmed(Frame.whole("", character(arm=9))).picture,
    )
    assert jitter(aligned) == (0, 0)


def test_a_frame_that_its_canvas_cuts_keeps_the_pixels_at_the_edge() -> None:
    bust = character()[16:30, 22:36]
    pictures = frames(bust, enlarged(bust, 3, cut=2), bust)

    aligned = align([pictures])

    assert aligned.reduced == {"walk-1": 3}
    assert np.array_equal(aligned.animations[0][1].picture, aligned.animations[0][0].picture)


def test_a_plain_frame_of_another_height_is_not_taken_for_an_enlarged_one() -> None:
    flash = np.zeros((64, 64, 4), np.uint8)
    flash[10:50, 10:50] = STEEL

    assert align([frames(character(), flash, character())]).reduced == {}


def test_frames_that_are_all_enlarged_stay_so() -> None:
    aligned = align([frames(*(enlarged(character(x=x), 2) for x in (0, 3)))])

    assert aligned.reduced == {}
    assert trimmed(aligned.animations[0][0]).picture.shape[0] == 48


def test_a_frame_between_the_scales_is_told_and_never_resampled() -> None:
    high = character()
    high[10:16, 24:30] = SKIN

    assert align([frames(character(), high, character())]).reduced == {}
    with pytest.raises(BadInput, match="walk-1 is 30 px high and the others are 24"):
        align([frames(character(), high, character())], one_scale=True)
