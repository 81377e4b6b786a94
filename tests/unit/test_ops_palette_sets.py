"""Palettes over many pictures, dithering, ramps and re-colouring."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comfy_nodes.errors import BadInput
from comfy_nodes.formats.well_known import by_name
from comfy_nodes.ops.color import oklab, pack
from comfy_nodes.ops.palette import (
    Dither,
    find_palette,
    ramp_onto,
    ramps,
    recolor,
    repaint,
    shared_palette,
)

BLACK_WHITE = np.array([[0, 0, 0], [255, 255, 255]], dtype=np.uint8)


def picture(seed: int = 0, height: int = 40, width: int = 40, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def colors_of(image: np.ndarray) -> set[int]:
    return set(np.unique(pack(image[..., :3])).tolist())


def test_the_palette_of_a_batch_is_one_whatever_the_order() -> None:
    batch = [picture(seed, 20 + seed, 30) for seed in range(5)]
    palette = shared_palette(batch, 16)
    assert len(palette) == 16
    assert np.array_equal(palette, shared_palette(reversed(batch), 16))
    assert np.array_equal(palette, shared_palette(iter(batch), 16))
    side_by_side = np.concatenate([one.reshape(1, -1, 3) for one in batch], axis=1)
    assert np.array_equal(palette, find_palette(side_by_side, 16))


def test_adding_up_in_parts_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = [picture(seed) for seed in range(6)]
    palette = shared_palette(batch, 9)
    monkeypatch.setattr("comfy_nodes.ops.palette._WAITING", 2000)
    assert np.array_equal(palette, shared_palette(batch, 9))


def test_a_batch_of_few_colours_keeps_them_exactly() -> None:
    batch = [picture(seed, 2, 3) for seed in range(4)]
    palette = shared_palette(batch, 24)
    assert colors_of(palette[None]) == set().union(*map(colors_of, batch))
    for one in batch:
        assert np.array_equal(repaint(one, palette), one)


def test_a_colour_weighs_in_a_batch_what_it_weighs_in_all_pictures() -> None:
    red, blue = np.full((1, 9, 3), (200, 0, 0), np.uint8), np.full((1, 1, 3), (0, 0, 200), np.uint8)
    assert shared_palette([blue, red], 1).tolist() == [[200, 0, 0]]
    assert shared_palette([red[:, :1], *[blue] * 9], 1).tolist() == [[0, 0, 200]]


def test_what_is_transparent_has_no_weight_in_a_batch() -> None:
    rgba = picture(channels=4)
    rgba[..., 3] = 0
    rgba[0, :3, 3] = (1, 128, 255)
    assert colors_of(shared_palette([rgba], 16)[None]) == colors_of(rgba[:1, :3])
    rgba[..., 3] = 0
    with pytest.raises(BadInput, match="no picture has a pixel"):
        shared_palette([rgba], 16)
    with pytest.raises(BadInput, match="no picture has a pixel"):
        shared_palette([], 16)


@pytest.mark.parametrize("count", [0, -1, 257])
def test_counts_that_make_no_palette_are_refused(count: int) -> None:
    with pytest.raises(BadInput, match=str(count)):
        shared_palette([picture()], count)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 999),
    st.integers(1, 9),
    st.integers(1, 9),
    st.sampled_from([3, 4]),
    st.integers(1, 80),
    st.sampled_from(list(Dither)),
)
def test_repainted_pixels_are_all_of_the_palette_and_stay(
    seed: int, height: int, width: int, channels: int, count: int, dither: Dither
) -> None:
    source = picture(seed, height, width, channels)
    before = source.copy()
    palette = picture(seed + 1, 1, count)[0]
    once = repaint(source, palette, dither=dither)
    assert colors_of(once) <= colors_of(palette[None])
    assert np.array_equal(once[..., 3:], source[..., 3:])
    assert np.array_equal(source, before)
    assert np.array_equal(repaint(once, palette, dither=dither), once)


def test_the_nearest_colour_is_the_nearest_for_small_and_large_palettes() -> None:
    source = picture(7, 60, 60)
    for count in (1, 2, 16, 63, 64, 65, 300):
        palette = picture(8, 1, count)[0]
        gaps = oklab(source)[:, :, None] - oklab(palette)
        nearest = palette[(gaps**2).sum(axis=-1).argmin(axis=-1)]
        assert np.array_equal(repaint(source, palette), nearest)


def test_a_colour_becomes_the_same_in_every_picture() -> None:
    source, palette = picture(9, 50, 50), by_name("dawnbringer-32").array()
    whole = repaint(source, palette)
    for row in range(0, 50, 7):
        assert np.array_equal(repaint(source[row : row + 1], palette), whole[row : row + 1])
        assert np.array_equal(repaint(source[row:, :1], palette), whole[row:, :1])


def test_oklab_of_a_colour_is_the_same_wherever_it_stands() -> None:
    colors = picture(3, 1, 9000)[0]
    together = oklab(colors)
    for part in (1, 2, 3, 7, 100, 8193):
        parts = [oklab(colors[i : i + part]) for i in range(0, len(colors), part)]
        assert np.array_equal(np.concatenate(parts), together)


@pytest.mark.parametrize("dither", [one for one in Dither if one is not Dither.NONE])
def test_dithering_shows_the_lightness_that_the_palette_lacks(dither: Dither) -> None:
    lightness = oklab(np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1))[:, 0]
    for grey in range(20, 256, 25):
        flat = np.full((64, 64, 3), grey, dtype=np.uint8)
        share = (repaint(flat, BLACK_WHITE, dither=dither)[..., 0] == 255).mean()
        steps = {Dither.BAYER_2: 4, Dither.BAYER_4: 16, Dither.BAYER_8: 64}.get(dither, 64)
        assert abs(share - lightness[grey]) <= 0.5 / steps + 0.01


def test_a_dithering_can_be_named_by_its_value() -> None:
    for dither in Dither:
        named = repaint(picture(), BLACK_WHITE, dither=dither.value)  # type: ignore[arg-type]
        assert np.array_equal(named, repaint(picture(), BLACK_WHITE, dither=dither))
    with pytest.raises(ValueError, match="no such"):
        repaint(picture(), BLACK_WHITE, dither="no such")  # type: ignore[arg-type]


def test_bayers_patterns_repeat_with_their_side() -> None:
    flat = np.full((24, 17, 3), 120, dtype=np.uint8)
    for dither, side in ((Dither.BAYER_2, 2), (Dither.BAYER_4, 4), (Dither.BAYER_8, 8)):
        shown = repaint(flat, BLACK_WHITE, dither=dither)
        assert np.array_equal(shown[side:], shown[:-side])
        assert np.array_equal(shown[:, side:], shown[:, :-side])
    assert np.array_equal(
        repaint(flat, BLACK_WHITE, dither=True), repaint(flat, BLACK_WHITE, dither=Dither.BAYER_4)
    )


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 2), (7, 2), (5, 11)])
@pytest.mark.parametrize("count", [5, 70])
def test_error_diffusion_is_that_of_going_row_by_row(size: tuple[int, int], count: int) -> None:
    source = picture(5, *size, 4)
    source[..., 3] = np.where(source[..., 3] < 60, 0, source[..., 3])
    palette = picture(6, 1, count)[0]
    shown = repaint(source, palette, dither=Dither.FLOYD_STEINBERG)
    assert np.array_equal(shown[..., :3], row_by_row(source, palette))


def row_by_row(source: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Floyd and Steinberg's algorithm as they wrote it down."""
    height, width = source.shape[:2]
    colors, points = oklab(palette), oklab(source[..., :3])
    owed = np.zeros((height + 1, width + 2, 3))
    result = np.empty((height, width, 3), dtype=np.uint8)
    for y in range(height):
        for x in range(width):
            wanted = np.clip(points[y, x] + owed[y, x + 1], colors.min(axis=0), colors.max(axis=0))
            chosen = ((colors - wanted) ** 2).sum(axis=1).argmin()
            result[y, x] = palette[chosen]
            if source[y, x, 3]:
                error = (wanted - colors[chosen]) / 16
                owed[y, x + 2] += 7 * error
                owed[y + 1, x] += 3 * error
                owed[y + 1, x + 1] += 5 * error
                owed[y + 1, x + 2] += error
    return result


def test_hidden_pixels_hand_no_error_on() -> None:
    palette = by_name("sweetie-16").array()
    one, other = picture(1, 30, 30, 4), picture(2, 30, 30, 4)
    seen = picture(3, 30, 30)[..., 0] > 100
    one[..., 3] = other[..., 3] = np.where(seen, 255, 0)
    other[seen] = one[seen]
    shown = [repaint(each, palette, dither=Dither.FLOYD_STEINBERG)[seen] for each in (one, other)]
    assert np.array_equal(*shown)


def test_a_palette_with_doubles_is_one_without() -> None:
    palette = by_name("game-boy").array()
    for dither in Dither:
        assert np.array_equal(
            repaint(picture(), np.repeat(palette, 2, axis=0), dither=dither),
            repaint(picture(), palette, dither=dither),
        )


def test_ramps_are_of_one_hue_and_go_from_dark_to_light() -> None:
    for key in ("sweetie-16", "dawnbringer-32", "pico-8", "ega"):
        palette = by_name(key).array()
        found = ramps(palette)
        assert sorted(np.concatenate(found).tolist()) == sorted(palette.tolist())
        for ramp in found:
            assert (np.diff(oklab(ramp)[:, 0]) >= 0).all()
        shuffled = np.random.default_rng(0).permutation(palette)
        for one, other in zip(ramps(shuffled), found, strict=True):
            assert np.array_equal(one, other)


def test_ramps_begin_with_greys_and_follow_the_hues() -> None:
    red, green = [[60, 0, 0], [120, 10, 10], [220, 60, 50]], [[0, 60, 10], [40, 200, 60]]
    grey, violet = [[0, 0, 0], [128, 128, 128], [255, 255, 255]], [[80, 20, 120], [190, 100, 240]]
    mixed = np.array(red[::-1] + grey + green + violet + grey, dtype=np.uint8)
    assert [ramp.tolist() for ramp in ramps(mixed)] == [grey, red, green, violet]
    assert [ramp.tolist() for ramp in ramps(np.array(grey, dtype=np.uint8))] == [grey]


def test_a_ramp_takes_anothers_place_by_rank_of_lightness() -> None:
    grey = np.repeat(np.array([[200], [0], [100]], dtype=np.uint8), 3, axis=1)
    fire = np.array([[255, 240, 160], [90, 0, 0], [230, 120, 20], [160, 40, 10]], dtype=np.uint8)
    dark, _, middle, light = fire[1], None, fire[3], fire[0]
    assert ramp_onto(grey, fire).tolist() == [light.tolist(), dark.tolist(), middle.tolist()]
    assert ramp_onto(grey, grey).tolist() == grey.tolist()
    assert ramp_onto(fire, grey[:1]).tolist() == [[200, 200, 200]] * 4
    assert ramp_onto(grey[:1], fire).tolist() == [fire[3].tolist()]
    doubled = np.concatenate([grey, grey[:1]])
    assert ramp_onto(doubled, fire).tolist() == [*ramp_onto(grey, fire).tolist(), light.tolist()]
    for one, other in ((grey[:0], fire), (fire, grey[:0])):
        with pytest.raises(BadInput, match="without colours"):
            ramp_onto(one, other)


def test_recolouring_replaces_all_at_once_and_nothing_else() -> None:
    source = np.array([[[1, 1, 1, 9], [2, 2, 2, 0]], [[3, 3, 3, 7], [1, 1, 1, 255]]], np.uint8)
    pair = np.array([[1, 1, 1], [2, 2, 2]], dtype=np.uint8)
    swapped = recolor(source, pair, pair[::-1])
    # what is hidden is kept
    assert swapped[..., 0].tolist() == [[2, 2], [3, 2]]
    assert np.array_equal(swapped[..., 3], source[..., 3])
    assert np.array_equal(recolor(swapped, pair, pair[::-1]), source)
    assert np.array_equal(recolor(source, pair[:0], pair[:0]), source)


def test_a_recolouring_that_is_no_mapping_is_refused() -> None:
    pair = np.array([[1, 1, 1], [2, 2, 2]], dtype=np.uint8)
    with pytest.raises(BadInput, match="2 colours cannot be replaced by 1"):
        recolor(picture(), pair, pair[:1])
    with pytest.raises(BadInput, match="#010101 cannot become #010101 and #020202"):
        recolor(picture(), pair[[0, 0]], pair)


WORK = """
import hashlib, numpy as np
from comfy_nodes.ops.palette import Dither, repaint, shared_palette
pictures = [np.random.default_rng(s).integers(0, 256, (200, 150, 4), dtype=np.uint8)
            for s in range(3)]
palette = shared_palette(pictures, 32)
parts = [palette] + [repaint(one, palette, dither=d) for one in pictures for d in Dither]
print(hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest())
"""


def test_the_bytes_are_the_same_on_any_number_of_threads() -> None:
    found = set()
    for threads in ("1", "2", "8"):
        names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
        environment = {**os.environ, **dict.fromkeys(names, threads)}
        done = subprocess.run(
            [sys.executable, "-c", WORK], env=environment, capture_output=True, check=True
        )
        found.add(done.stdout.strip())
    assert len(found) == 1
    assert len(found.pop()) == len(hashlib.sha256().hexdigest())
