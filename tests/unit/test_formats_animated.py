"""GIFs and APNGs of frames, read back pixel by pixel."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from comfy_nodes.errors import BadInput
from comfy_nodes.formats import apng, gif
from comfy_nodes.ops.frames import Frame, trimmed, without_hidden

Pixels = NDArray[np.uint8]


def frame(
    seed: int, colours: int = 6, size: tuple[int, ...] = (9, 13), duration: int = 100
) -> Frame:
    """Pixels of a few colours, half of them transparent, some with a colour under alpha 0."""
    random = np.random.default_rng(seed)
    table = random.integers(0, 256, (colours, 3), dtype=np.uint8)
    picture = np.dstack(
        [table[random.integers(0, colours, size)], random.integers(0, 2, size) * 255]
    ).astype(np.uint8)
    return Frame.whole(str(seed), picture, duration=duration)


def read(content: bytes) -> tuple[list[Pixels], list[float], int | None]:
    """Pixels and durations of all frames as Pillow sees them, and its loop."""
    with Image.open(io.BytesIO(content)) as image:
        loop = image.info.get("loop")
        pictures, durations = [], []
        for one in ImageSequence.Iterator(image):
            pictures.append(without_hidden(np.asarray(one.convert("RGBA"))))
            durations.append(one.info["duration"])
        return pictures, durations, loop


@pytest.mark.parametrize("format", [gif, apng])
@given(
    seeds=st.lists(st.integers(0, 50), min_size=2, max_size=6),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    colours=st.sampled_from([1, 3, 40, 255]),
)
def test_every_pixel_comes_back(format, seeds, size, colours) -> None:
    frames = [frame(seed, colours, size) for seed in seeds]

    pictures, durations, _ = read(format.write(frames))

    # also of frames that are alike, or empty: none is joined with another
    assert len(pictures) == len(frames)
    assert durations == [100] * len(frames)
    for one, picture in zip(frames, pictures, strict=True):
        assert np.array_equal(picture, without_hidden(one.picture))


@pytest.mark.parametrize("format", [gif, apng])
def test_trimmed_frames_are_shown_whole(format) -> None:
    whole = frame(1).picture.copy()
    whole[:, :5] = 0
    cut = trimmed(Frame.whole("a", whole))

    assert cut.picture.shape != whole.shape
    assert np.array_equal(read(format.write([cut, frame(2)]))[0][0], without_hidden(whole))


@pytest.mark.parametrize("format", [gif, apng])
def test_it_loops_for_ever_or_not_at_all(format) -> None:
    frames = [frame(1), frame(2)]

    assert read(format.write(frames))[2] == 0
    assert read(format.write(frames, loop=False))[2] in (None, 1)


def test_an_apng_keeps_every_alpha_and_millisecond() -> None:
    random = np.random.default_rng(5)
    soft = [random.integers(0, 256, (30, 20, 4), dtype=np.uint8) for _ in range(3)]
    frames = [
        Frame.whole(str(index), picture, duration=17 + index) for index, picture in enumerate(soft)
    ]

    pictures, durations, _ = read(apng.write(frames))

    assert durations == [17, 18, 19]
    for one, picture in zip(frames, pictures, strict=True):
        assert np.array_equal(picture, without_hidden(one.picture))


def test_frames_of_many_colours_have_tables_of_their_own() -> None:
    frames = [frame(seed, colours=255, size=(40, 40)) for seed in range(3)]

    pictures, _, _ = read(gif.write(frames))

    for one, picture in zip(frames, pictures, strict=True):
        assert np.array_equal(picture, without_hidden(one.picture))


def test_a_gif_refuses_what_it_would_change() -> None:
    many = np.zeros((16, 20, 4), np.uint8)
    many[..., 0] = np.arange(16)[:, None]
    many[..., 1] = np.arange(20)
    many[..., 3] = 255
    soft = frame(3).picture.copy()
    soft[0, 0] = (9, 9, 9, 128)

    with pytest.raises(BadInput, match="walk-2 has 320 colours"):
        gif.write([Frame.whole("walk-1", many[:, :10]), Frame.whole("walk-2", many)][1:])
    with pytest.raises(BadInput, match="soft has half-transparent"):
        gif.write([frame(1), Frame.whole("soft", soft)])


def test_a_gif_shows_steps_of_ten_ms_whose_sum_is_right() -> None:
    at_24 = [frame(seed, duration=42 if seed % 3 else 41) for seed in range(24)]

    told = gif.durations(at_24)

    assert read(gif.write(at_24))[1] == list(told)
    assert set(told) == {40, 50}
    assert abs(sum(told) - sum(one.duration for one in at_24)) <= 5
    # browsers show 0 and 10 ms as 100
    assert gif.durations([frame(1, duration=1), frame(2, duration=9)]) == (20, 20)


@pytest.mark.parametrize("format", [gif, apng])
def test_frames_of_several_sizes_or_none_are_refused(format) -> None:
    with pytest.raises(BadInput, match="13x9, 20x9"):
        format.write([frame(1), frame(2, size=(9, 20))])
    with pytest.raises(BadInput, match="no frames"):
        format.write([])


def test_a_duration_that_does_not_fit_is_refused() -> None:
    with pytest.raises(BadInput, match="70000 ms"):
        apng.write([frame(1, duration=70_000)])
