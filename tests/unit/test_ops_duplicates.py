"""Frames that share a picture: the same pixels, or nearly."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from comfy_nodes.errors import BadInput
from comfy_nodes.ops.duplicates import Nearness, aliases, with_shared_pictures
from comfy_nodes.ops.frames import Frame, untrimmed

Pixels = NDArray[np.uint8]


def ball(x: int = 4, y: int = 4, color: tuple[int, int, int] = (200, 40, 40)) -> Pixels:
    """An 8x8 ball with a light, on 24x24."""
    made = np.zeros((24, 24, 4), np.uint8)
    made[y : y + 8, x : x + 8] = (*color, 255)
    made[y + 1 : y + 3, x + 1 : x + 3] = (255, 240, 230, 255)
    return made


def named(**pictures: Pixels) -> list[Frame]:
    return [Frame.whole(name, picture) for name, picture in pictures.items()]


def test_the_same_pixels_anywhere_are_one_picture_and_keep_their_places() -> None:
    hidden = ball()
    hidden[0, 0] = (9, 9, 9, 0)
    frames = named(a=ball(), b=ball(x=9), c=ball(color=(40, 40, 200)), d=hidden, e=ball(y=1))

    found = aliases(frames)
    shared = with_shared_pictures(frames, found)

    assert found == {"b": "a", "d": "a", "e": "a"}
    assert shared[0].picture is shared[1].picture is shared[3].picture is shared[4].picture
    for frame, picture in zip(
        shared, [ball(), ball(x=9), ball(color=(40, 40, 200)), ball(), ball(y=1)], strict=True
    ):
        assert np.array_equal(untrimmed(frame).picture, picture)


def test_pictures_of_the_same_bytes_and_other_sides_differ() -> None:
    wide = np.full((1, 4, 4), 255, np.uint8)

    assert aliases(named(a=wide, b=wide.reshape(4, 1, 4))) == {}


def test_little_differences_count_only_where_they_are_asked_for() -> None:
    one_pixel = ball()
    one_pixel[6, 6] = (20, 200, 20, 255)
    shade = ball(color=(201, 41, 40))
    frames = named(a=ball(), b=one_pixel, c=shade, d=one_pixel.copy())

    assert aliases(frames) == {"d": "b"}
    assert aliases(frames, Nearness(share=0)) == {"c": "a", "d": "b"}
    assert aliases(frames, Nearness(share=0.02)) == {"b": "a", "c": "a", "d": "a"}
    assert aliases(frames, Nearness(share=0.02, distance=0)) == {"b": "a", "d": "a"}


def test_a_near_frame_at_another_place_is_another() -> None:
    moved = ball(x=5)
    moved[6, 7] = (20, 200, 20, 255)

    assert aliases(named(a=ball(), b=moved), Nearness(share=0.05)) == {}


def test_a_near_frame_is_shown_where_it_was_compared() -> None:
    stray = ball()
    stray[0, 0] = (200, 40, 40, 255)
    frames = named(a=ball(), b=stray)

    found = aliases(frames, Nearness(share=0.02))
    shared = with_shared_pictures(frames, found)

    assert found == {"b": "a"}
    assert np.array_equal(untrimmed(shared[1]).picture, ball())


def test_a_near_frame_that_is_shown_elsewhere_stays_there() -> None:
    stray = ball()
    stray[11, 11] = (20, 200, 20, 255)
    elsewhere = np.roll(stray, 9, axis=1)
    frames = named(a=ball(), b=stray, c=elsewhere, d=np.roll(stray, 3, axis=0))

    found = aliases(frames, Nearness(share=0.02))
    shared = with_shared_pictures(frames, found)

    assert found == {"b": "a", "d": "c"}
    assert np.array_equal(untrimmed(shared[2]).picture, elsewhere)
    assert np.array_equal(untrimmed(shared[3]).picture, frames[3].picture)


def test_small_steps_do_not_add_up() -> None:
    steps = []
    for index in range(5):
        picture = ball()
        picture[10, 4 : 4 + index] = (20, 200, 20, 255)
        steps.append(picture)
    frames = [Frame.whole(str(index), picture) for index, picture in enumerate(steps)]

    # one of 64 pixels may differ
    assert aliases(frames, Nearness(share=1 / 64)) == {"1": "0", "3": "2"}


def test_an_alpha_that_differs_is_a_difference() -> None:
    faint = ball()
    faint[4:12, 4:12, 3] = 200
    fainter = ball()
    fainter[4:12, 4:12, 3] = 199

    frames = named(a=ball(), b=faint, c=fainter)

    assert aliases(frames, Nearness()) == {"c": "b"}


def test_nearness_has_bounds() -> None:
    with pytest.raises(BadInput, match="share"):
        Nearness(share=1.5)
    with pytest.raises(BadInput, match="distance"):
        Nearness(distance=-0.1)
    with pytest.raises(BadInput, match="no frames"):
        aliases([])
