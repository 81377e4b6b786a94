"""Frames cut to what can be seen, and back; the order in which an animation shows them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from comfy_nodes.errors import BadInput
from comfy_nodes.ops.frames import (
    Animation,
    Direction,
    Frame,
    of_one_set,
    played,
    side_by_side,
    trimmed,
    untrimmed,
    without_hidden,
)

# Mostly empty, so that there is something to trim; colours may lie under alpha 0.
pictures = hnp.arrays(
    np.uint8,
    st.tuples(st.integers(1, 12), st.integers(1, 12), st.just(4)),
    elements=st.integers(0, 255),
    fill=st.just(0),
)


@given(pictures)
def test_trimming_with_hidden_colours_kept_loses_nothing(picture):
    frame = Frame.whole("a", picture, pivot=(1.5, 2.0), duration=40)

    cut = trimmed(frame, keep_hidden=True)
    back = untrimmed(cut)

    assert np.array_equal(back.picture, picture)
    assert back.source == cut.source == frame.source
    assert (back.pivot, back.duration, back.offset) == ((1.5, 2.0), 40, (0, 0))


@given(pictures)
def test_trimming_keeps_every_byte_that_can_be_seen(picture):
    cut = trimmed(Frame.whole("a", picture))

    assert np.array_equal(untrimmed(cut).picture, without_hidden(picture))
    assert np.array_equal(trimmed(cut).picture, cut.picture)
    # nothing more could go
    sides = [cut.picture[0], cut.picture[-1], cut.picture[:, 0], cut.picture[:, -1]]
    if picture[..., 3].any():
        assert all(side[..., 3].any() for side in sides)
    else:
        assert cut.picture.shape == (1, 1, 4)


def test_a_trimmed_frame_says_where_it_was():
    picture = np.zeros((6, 9, 4), dtype=np.uint8)
    picture[2:5, 4:8] = (10, 20, 30, 255)
    picture[0, 0] = (99, 99, 99, 0)

    cut = trimmed(Frame.whole("a", picture))

    assert (cut.offset, cut.source, cut.picture.shape) == ((4, 2), (9, 6), (3, 4, 4))
    assert trimmed(Frame.whole("a", picture), keep_hidden=True).offset == (0, 0)


def test_a_picture_without_alpha_is_opaque():
    frame = Frame.whole("a", np.zeros((2, 3, 3), dtype=np.uint8))

    assert frame.source == (3, 2)
    assert frame.is_whole
    assert frame.picture[..., 3].tolist() == [[255] * 3] * 2


@pytest.mark.parametrize(
    "wrong",
    [
        dict(source=(3, 3)),
        dict(offset=(1, 0)),
        dict(offset=(-1, 0)),
        dict(duration=0),
        dict(picture=np.zeros((4, 4, 3), dtype=np.uint8)),
        dict(picture=np.zeros((0, 4, 4), dtype=np.uint8)),
        dict(picture=np.zeros((4, 4, 4))),
    ],
)
def test_a_frame_whose_parts_do_not_fit_is_refused(wrong):
    parts = dict(name="walk-1", picture=np.zeros((4, 4, 4), dtype=np.uint8), source=(4, 4))

    with pytest.raises(BadInput, match="walk-1"):
        Frame(**{**parts, **wrong})


@pytest.mark.parametrize(
    ("direction", "order"),
    [
        (Direction.FORWARD, "abcd"),
        (Direction.REVERSE, "dcba"),
        (Direction.PINGPONG, "abcdcb"),
        (Direction.PINGPONG_REVERSE, "dcbabc"),
    ],
)
def test_an_animation_is_played_in_its_direction(direction, order):
    assert Animation("walk", tuple("abcd"), direction).played == tuple(order)


def test_there_and_back_over_one_or_two_frames_repeats_none():
    assert Animation("walk", ("a",), Direction.PINGPONG).played == ("a",)
    assert Animation("walk", ("a", "b"), Direction.PINGPONG).played == ("a", "b")


def test_frames_of_a_set_have_names_of_their_own():
    one = Frame.whole("a", np.zeros((1, 1, 4), dtype=np.uint8))
    other = Frame.whole("a", np.ones((1, 1, 4), dtype=np.uint8))

    assert of_one_set([one]) == {"a": one}
    with pytest.raises(BadInput, match="name a"):
        of_one_set([one, other])
    with pytest.raises(BadInput, match="no frames"):
        of_one_set([])
    with pytest.raises(BadInput, match="no frames"):
        Animation("walk", ())


def test_a_round_is_of_whole_frames_in_order():
    picture = np.zeros((4, 4, 4), dtype=np.uint8)
    picture[1, 2] = 255
    frames = [trimmed(Frame.whole(name, picture)) for name in "abc"]

    shown = played(Animation("walk", ("c", "a", "b"), Direction.PINGPONG), frames)

    assert [frame.name for frame in shown] == ["c", "a", "b", "a"]
    assert all(np.array_equal(frame.picture, picture) for frame in shown)
    with pytest.raises(BadInput, match="no frame d"):
        played(Animation("walk", ("a", "d")), frames)


@given(pictures, st.integers(1, 5))
def test_a_row_comes_apart_in_its_order(picture, count):
    frames = side_by_side(np.tile(picture, (1, count, 1)), count)

    assert len(frames) == count
    assert all(np.array_equal(frame, picture) for frame in frames)


@pytest.mark.parametrize("count", [0, -1, 4])
def test_what_is_no_row_is_told(count):
    with pytest.raises(BadInput, match="of 9 px is no multiple of"):
        side_by_side(np.zeros((4, 9, 4), dtype=np.uint8), count)
