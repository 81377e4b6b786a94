"""Cutting out: drawn sprites whose alpha is known, on backgrounds of every kind."""

from __future__ import annotations

import io
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from comfy_nodes.errors import BadInput
from comfy_nodes.ops.color import oklab
from comfy_nodes.ops.cutout import CutoutOptions, Outline, cut_out

Pixels = np.ndarray
WHITE, INK, RED, BONE = (255, 255, 255), (20, 10, 30), (200, 30, 30), (236, 228, 210)
STEEL, GREEN, GREY = (120, 130, 150), (0, 200, 60), (128, 128, 128)
COLOURS = {".": WHITE, "#": INK, "r": RED, "b": BONE, "s": STEEL, "W": WHITE}
TILES = Path(__file__).resolve().parents[3] / "shared" / "tiles" / "tiles.npz"

# "." is background, "W" white that belongs to the sprite.
MUSHROOM = """
....................
......########......
....##rrrrrrrr##....
...#rrrWWrrrrrrr#...
..#rrrrWWrrrWWrrr#..
..#rWrrrrrrrWWrrr#..
..#rrrrrrrrrrrrrr#..
...##############...
......#WWWWWW#......
......#WWWWWW#......
......#WWWWWW#......
......#WWWWWW#......
.......######.......
....................
"""
SHIELD = """
..................
..##############..
..#rrrrrWWrrrrr#..
..#rrrrrWWrrrrr#..
..#rrWWWWWWWWrr#..
..#rrWWWWWWWWrr#..
..#rrrrrWWrrrrr#..
...#rrrrWWrrrr#...
...#rrrrWWrrrr#...
....#rrrrrrrr#....
.....##rrrr##.....
.......####.......
..................
"""
RING = """
..................
......######......
....##ssssss##....
...#ssss##ssss#...
..#sss##..##sss#..
..#ss#......#ss#..
..#ss#......#ss#..
..#ss#......#ss#..
..#sss##..##sss#..
...#ssss##ssss#...
....##ssssss##....
......######......
..................
"""
MUG = """
....................
..##########........
..#ssssssss#####....
..#ssssssss#sss##...
..#ssssssss###ss#...
..#ssssssss#.#ss#...
..#ssssssss#.#ss#...
..#ssssssss#.#ss#...
..#ssssssss#.#ss#...
..#ssssssss###ss#...
..#ssssssss#sss##...
..#ssssssss#####....
..##########........
....................
"""
KEY = """
....................
....######..........
...#rrrrrr#.........
..#rr####rr#########
..#r#....#rrrrrrrrr#
..#r#....#rr##r#r#r#
..#rr####rr#..#.#.#.
...#rrrrrr#.........
....######..........
....................
"""
GHOST = """
................
.....######.....
....#WWWWWW#....
...#WW#WW#WW#...
...#WW#WW#WW#...
...#WWWWWWWW#...
...#WWW##WWW#...
...#WWWWWWWW#...
...#W##WW##W#...
....#..##..#....
................
"""
DRAWN = {"mushroom": MUSHROOM, "shield": SHIELD, "ring": RING, "mug": MUG, "key": KEY}
DRAWN["ghost"] = GHOST


def drawn(text: str, ground: tuple[int, int, int] = WHITE) -> tuple[Pixels, Pixels]:
    """uint8 [H, W, 3] of a drawing on a colour, and which pixels are the sprite's."""
    lines = text.split()
    picture = np.array([[COLOURS[one] for one in line] for line in lines], dtype=np.uint8)
    truth = np.array([[one != "." for one in line] for line in lines])
    picture[~truth] = ground
    return picture, truth


def noisy(picture: Pixels, steps: int, seed: int = 0) -> Pixels:
    noise = np.random.default_rng(seed).integers(-steps, steps + 1, picture.shape)
    return np.clip(picture.astype(int) + noise, 0, 255).astype(np.uint8)


def there(picture: Pixels, options: CutoutOptions = CutoutOptions()) -> Pixels:  # noqa: B008
    return cut_out(picture, options)[..., 3] > 0


# -------------------------------------------------------------- which pixels are the sprite's


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("ground", [WHITE, GREY, GREEN, (255, 0, 255), (96, 160, 200)])
def test_a_drawing_comes_out_as_it_was_drawn(name: str, ground: tuple[int, int, int]) -> None:
    picture, truth = drawn(DRAWN[name], ground)
    sprite = cut_out(picture)
    assert np.array_equal(sprite[..., 3] > 0, truth)
    assert set(np.unique(sprite[..., 3])) == {0, 255}
    assert np.array_equal(sprite[truth][:, :3], picture[truth])
    assert not sprite[~truth].any()


@pytest.mark.parametrize("name", DRAWN)
def test_noise_and_slopes_in_the_background_are_allowed_for(name: str) -> None:
    picture, truth = drawn(DRAWN[name], (120, 150, 190))
    rows, columns = np.indices(truth.shape)
    slope = np.stack([3 * rows, 2 * columns, -2 * rows], axis=2)
    picture = np.where(truth[..., None], picture, picture + slope).astype(np.uint8)
    assert np.array_equal(there(noisy(picture, 5)), truth)


def test_a_steep_slope_is_no_sprite() -> None:
    picture, truth = drawn(SHIELD)
    rows, columns = np.indices(truth.shape)
    slope = np.stack([40 + 9 * rows, 60 + 9 * columns, 250 - 9 * rows], axis=2).astype(np.uint8)
    picture[~truth] = slope[~truth]
    assert np.array_equal(there(picture), truth)


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("ground", [WHITE, GREEN])
def test_a_jpeg_of_it_comes_out_too(name: str, ground: tuple[int, int, int]) -> None:
    picture, truth = drawn(DRAWN[name], ground)
    file = io.BytesIO()
    big = picture.repeat(8, axis=0).repeat(8, axis=1)
    Image.fromarray(big).save(file, "JPEG", quality=85, subsampling=0)
    read = np.asarray(Image.open(file).convert("RGB"))
    assert np.array_equal(there(read[4::8, 4::8]), truth)


def test_what_is_shaded_stays_where_a_hole_goes() -> None:
    picture, truth = drawn(RING)
    hole = (~truth) & (np.indices(truth.shape)[0] > 3) & (np.indices(truth.shape)[0] < 9)
    hole &= (np.indices(truth.shape)[1] > 4) & (np.indices(truth.shape)[1] < 13)
    assert not there(picture)[hole].any()
    picture[hole] = (250, 250, 246)
    assert there(picture)[hole].all()
    assert not there(picture, CutoutOptions(keep_light=False))[hole].any()


def test_size_decides_about_holes() -> None:
    picture, truth = drawn(RING)
    hole = 3 * 6 + 2 * 2
    share = hole / truth.size
    assert np.array_equal(there(picture, CutoutOptions(smallest_hole=share)), truth)
    assert there(picture, CutoutOptions(smallest_hole=share * 1.01)).sum() == truth.sum() + hole
    assert there(picture, CutoutOptions(smallest_hole=1.0)).sum() == truth.sum() + hole
    keyed, _ = drawn(RING, GREEN)
    assert np.array_equal(there(keyed, CutoutOptions(smallest_hole=0.9)), truth)
    assert there(keyed, CutoutOptions(smallest_hole=1.0)).sum() == truth.sum() + hole


@pytest.mark.parametrize("shade", [WHITE, BONE])
def test_a_gap_in_the_outline_lets_nothing_in(shade: tuple[int, int, int]) -> None:
    picture, truth = drawn(MUSHROOM)
    picture[8:12, 7:13] = shade
    picture[10, 13] = shade
    assert np.array_equal(there(picture), truth)
    if shade == WHITE:
        assert not there(picture, CutoutOptions(keep_light=False))[8:12, 7:13].any()


def test_a_bay_behind_a_narrow_mouth_is_background() -> None:
    picture, truth = drawn(RING)
    picture[1:5, 8] = WHITE
    truth[1:5, 8] = False
    assert np.array_equal(there(picture), truth)


def test_a_small_corner_behind_a_narrow_mouth_is_background() -> None:
    picture, truth = drawn(SHIELD)
    picture[1, 4] = picture[2:4, 3:5] = WHITE
    truth[1, 4] = truth[2:4, 3:5] = False
    picture = np.pad(picture, ((14, 14), (14, 14), (0, 0)), constant_values=255)
    truth = np.pad(truth, 14)
    assert np.array_equal(there(picture), truth)


def test_background_between_thin_things_goes() -> None:
    picture = np.full((12, 15, 3), 255, dtype=np.uint8)
    picture[2:10, 2:13:2] = INK
    picture[9, 2:13] = INK
    assert np.array_equal(there(picture), (picture == INK).all(axis=2))


def test_a_diagonal_outline_does_not_leak() -> None:
    picture = np.full((23, 23, 3), 255, dtype=np.uint8)
    for i in range(11):
        for y, x in ((i, 10 - i), (i, 10 + i), (20 - i, 10 - i), (20 - i, 10 + i)):
            picture[y + 1, x + 1] = INK
    rows, columns = np.indices((23, 23))
    expected = abs(rows - 11) + abs(columns - 11) <= 10
    assert np.array_equal(there(picture), expected)


def test_a_soft_shadow_goes_by_tolerance() -> None:
    picture, truth = drawn(SHIELD)
    picture = np.pad(picture, ((0, 12), (12, 12), (0, 0)), constant_values=255)
    truth = np.pad(truth, ((0, 12), (12, 12)))
    rows, columns = np.indices(truth.shape)
    depth = 40 - 5 * np.hypot(rows - 14, (columns - 21) / 2)
    shadow = (255 - np.clip(depth, 0, 40)).astype(np.uint8)
    picture[~truth] = shadow[~truth][:, None]
    assert np.array_equal(there(picture), truth)
    assert there(picture, CutoutOptions(tolerance=0.02)).sum() > truth.sum()


def test_the_tolerance_of_a_sharp_step_is_a_fifth() -> None:
    picture = np.full((16, 16, 3), 255, dtype=np.uint8)
    picture[4:12, 4:12] = 200  # 0.17 darker than white
    assert there(picture, CutoutOptions(tolerance=0.8)).sum() == 64
    with pytest.raises(BadInput, match="Lower the tolerance"):
        cut_out(picture, CutoutOptions(tolerance=0.9))


# ------------------------------------------------------------------------------ mixed edges


def smooth(name: str, ground: tuple[int, int, int], pitch: int = 8) -> tuple[Pixels, Pixels]:
    """A drawing moved by a part of a pixel, as a wrong grid would sample it, and its truth."""
    picture, truth = drawn(DRAWN[name], ground)
    big = Image.fromarray(picture.repeat(pitch, axis=0).repeat(pitch, axis=1))
    soft = np.asarray(big.filter(ImageFilter.GaussianBlur(pitch / 4)))
    shift = pitch // 2 - 2
    return soft[shift::pitch, shift::pitch][: len(truth), : truth.shape[1]], truth


@pytest.mark.parametrize("name", ["mushroom", "shield", "ring"])
@pytest.mark.parametrize("ground", [WHITE, GREEN])
def test_no_fringe_of_the_background_is_left(name: str, ground: tuple[int, int, int]) -> None:
    picture, truth = smooth(name, ground)
    picture = noisy(picture, 2)
    own, kept = cut_out(picture), cut_out(picture, CutoutOptions(despill=False))
    rim = (own[..., 3] > 0) & ~np.pad(own[..., 3] > 0, 1)[2:, 1:-1]
    far = np.sqrt(((oklab(own[rim][:, :3]) - oklab(np.uint8(ground))) ** 2).sum(axis=1))
    assert far.min() > 0.3
    assert ((own[..., 3] > 0) != truth).sum() <= 0.5 * ((kept[..., 3] > 0) != truth).sum()


def mixed() -> tuple[Pixels, Pixels]:
    """A red block in ink, whose rim has pixels mixed with white: 30 and 60 per cent ink."""
    picture = np.full((16, 16, 3), 255, dtype=np.uint8)
    picture[3:13, 3:13] = INK
    picture[4:12, 4:12] = RED
    truth = (picture != 255).any(axis=2)
    for row, share in ((5, 0.3), (8, 0.6)):
        at = (row, 2) if share < 0.5 else (row, 3)
        picture[at] = np.rint(share * np.array(INK) + (1 - share) * np.array(WHITE))
        picture[row, 4 if share > 0.5 else 3] = INK
    return picture, truth


def test_mixed_pixels_go_or_take_the_sprites_colour() -> None:
    picture, truth = mixed()
    sprite = cut_out(picture)
    assert np.array_equal(sprite[..., 3] > 0, truth)
    assert tuple(sprite[8, 3, :3]) == INK


@pytest.mark.parametrize("turns", range(4))
def test_a_mixed_tip_at_the_picture_s_edge_goes(turns: int) -> None:
    picture = np.full((12, 16, 3), WHITE, np.uint8)
    picture[1:9, 3:13], picture[2:8, 4:12] = INK, RED
    picture[0, 8] = (160, 155, 165)  # of white and ink, with the picture's edge above
    picture[0, 4] = INK
    cut = np.rot90(cut_out(np.ascontiguousarray(np.rot90(picture, turns))), -turns)
    assert cut[0, 8, 3] == 0
    assert cut[0, 4].tolist() == [*INK, 255]
    assert (cut[1:9, 3:13, 3] == 255).all()


def test_a_mixed_pixel_that_hangs_by_a_corner_goes_and_a_diagonal_line_stays() -> None:
    picture = np.full((16, 16, 3), WHITE, np.uint8)
    picture[3:12, 3:12], picture[4:11, 4:11] = INK, RED
    picture[12, 12] = (205, 200, 207)  # of white and ink
    for step, light in enumerate((20, 60, 100)):
        picture[2 - step, 2 - step] = (light, light // 2, light // 3)
    cut = cut_out(picture)
    assert cut[12, 12, 3] == 0
    line = [(2 - step, 2 - step) for step in range(3)]
    assert [cut[place].tolist() for place in line] == [[*picture[place], 255] for place in line]


def test_soft_edges_give_back_what_was_mixed() -> None:
    picture, _ = mixed()
    sprite = cut_out(picture, CutoutOptions(soft=True))
    assert abs(int(sprite[5, 2, 3]) - 0.3 * 255) <= 2
    assert abs(int(sprite[8, 3, 3]) - 0.6 * 255) <= 2
    assert tuple(sprite[5, 2, :3]) == tuple(sprite[8, 3, :3]) == INK
    share = sprite[..., 3:] / 255
    again = np.rint(sprite[..., :3] * share + 255 * (1 - share))
    assert np.abs(again - picture).max() <= 1


def test_a_light_rim_that_was_drawn_stays() -> None:
    picture = np.full((20, 20, 3), 255, dtype=np.uint8)
    picture[4:16, 4:16] = (190, 195, 205)
    picture[5:15, 5:15] = STEEL
    picture[8:12, 8:12] = INK
    truth = (picture != 255).any(axis=2)
    sprite = cut_out(picture)
    assert np.array_equal(sprite[..., 3] > 0, truth)
    assert np.array_equal(sprite[truth][:, :3], picture[truth])


def test_two_mixed_pixels_behind_each_other_go_both() -> None:
    picture, truth = mixed()
    for column, share in ((2, 0.1), (3, 0.4)):
        picture[10, column] = np.rint(share * np.array(INK) + (1 - share) * np.array(WHITE))
    picture[10, 4] = INK
    truth[10, 2:4] = False
    assert np.array_equal(there(noisy(picture, 1)), truth)


@pytest.mark.parametrize("turned", [False, True])
def test_a_bevel_that_is_lit_from_one_side_stays(turned: bool) -> None:
    picture = noisy(np.full((24, 24, 3), 255, dtype=np.uint8), 1)
    picture[4:20, 4:20] = (60, 60, 70)
    picture[5:19, 5:19] = INK
    picture[4, 4:20] = (170, 170, 175)
    truth = np.zeros((24, 24), dtype=bool)
    truth[4:20, 4:20] = True
    picture[10, 3] = (170, 170, 175)  # alone it is mixed
    if turned:
        picture = picture.transpose(1, 0, 2)
    sprite = cut_out(picture)
    assert np.array_equal(sprite[..., 3] > 0, truth)
    assert np.array_equal(sprite[truth][:, :3], picture[truth])


def test_shades_of_a_light_sprite_are_not_taken_for_mixed_ones() -> None:
    picture = noisy(np.full((20, 20, 3), 255, dtype=np.uint8), 1)
    picture[4:16, 4:16] = (238, 232, 220)
    picture[5:15, 5:15] = (214, 206, 190)
    truth = np.zeros((20, 20), dtype=bool)
    truth[4:16, 4:16] = True
    sprite = cut_out(picture)
    assert np.array_equal(sprite[..., 3] > 0, truth)
    assert np.array_equal(sprite[truth][:, :3], picture[truth])


def test_a_light_pixel_of_a_drawing_without_an_outline_stays() -> None:
    picture = np.full((20, 20, 3), 255, dtype=np.uint8)
    for column, colour in enumerate([INK, RED, BONE, STEEL, GREY, GREEN] * 2, 4):
        picture[4:16, column] = colour
    picture[4, 4:16:2] = (200, 200, 205)
    truth = (picture != 255).any(axis=2)
    sprite = cut_out(picture)
    assert np.array_equal(sprite[..., 3] > 0, truth)
    assert np.array_equal(sprite[truth][:, :3], picture[truth])


# ------------------------------------------------------------------------------------ parts


def test_specks_go_and_sparkles_stay() -> None:
    picture, truth = drawn(SHIELD)
    picture = np.pad(picture, ((0, 6), (0, 6), (0, 0)), constant_values=255)
    truth = np.pad(truth, ((0, 6), (0, 6)))
    picture[15, 3] = INK
    for y, x in ((15, 20), (16, 19), (16, 20), (16, 21), (17, 20)):
        picture[y, x] = RED
        truth[y, x] = True
    assert np.array_equal(there(picture), truth)
    assert there(picture, CutoutOptions(smallest_part=0.0)).sum() == truth.sum() + 1
    assert there(picture, CutoutOptions(smallest_part=0.1)).sum() == truth.sum() - 5


def test_own_transparency_is_kept_and_made_binary() -> None:
    picture, truth = drawn(MUSHROOM)
    alpha = np.where(truth, 200, 100).astype(np.uint8)
    alpha[0] = 0
    alpha[13, 0] = 255
    sprite = cut_out(np.dstack([picture, alpha]))
    assert np.array_equal(sprite[..., 3] > 0, truth)
    assert set(np.unique(sprite[..., 3])) == {0, 255}
    assert np.array_equal(sprite[truth][:, :3], picture[truth])
    soft = cut_out(np.dstack([picture, alpha]), CutoutOptions(soft=True, smallest_part=0.0))
    assert np.array_equal(soft[..., 3], alpha)


def test_an_opaque_picture_with_alpha_is_cut_out_as_one_without() -> None:
    picture, _ = drawn(RING)
    opaque = np.dstack([picture, np.full(picture.shape[:2], 255, dtype=np.uint8)])
    assert np.array_equal(cut_out(opaque), cut_out(picture))


# --------------------------------------------------------------------------------- outlines


def test_an_outline_inside_takes_the_outermost_pixels() -> None:
    picture = np.full((9, 9, 3), 255, dtype=np.uint8)
    picture[2:7, 2:7] = RED
    sprite = cut_out(picture, CutoutOptions(outline=Outline.INSIDE, outline_colour=(1, 2, 3)))
    ring = np.zeros((9, 9), dtype=bool)
    ring[2:7, 2:7] = True
    ring[3:6, 3:6] = False
    assert np.array_equal((sprite == (1, 2, 3, 255)).all(axis=2), ring)
    assert (sprite[..., 3] > 0).sum() == 25


def test_an_outline_outside_adds_a_pixel_where_there_is_none() -> None:
    picture, truth = drawn(RING, GREEN)
    picture[11, 6:12] = STEEL
    sprite = cut_out(picture, CutoutOptions(outline=Outline.OUTSIDE))
    added = (sprite[..., 3] > 0) & ~truth
    expected = np.zeros_like(truth)
    expected[12, 6:12] = True
    expected[11, 5] = expected[11, 12] = True
    assert np.array_equal(added, expected)
    assert (sprite[added] == (*INK, 255)).all()
    blue = cut_out(picture, CutoutOptions(outline=Outline.OUTSIDE, outline_colour=(0, 0, 255)))
    around = np.zeros_like(truth)
    for moved in (np.roll(truth, s, axis=a) for s in (1, -1) for a in (0, 1)):
        around |= moved & ~truth
    assert np.array_equal((blue == (0, 0, 255, 255)).all(axis=2), around)


def test_what_the_pictures_edge_cuts_has_no_outline_there() -> None:
    picture = np.full((9, 9, 3), 255, dtype=np.uint8)
    picture[2:9, 2:7] = RED
    sprite = cut_out(picture, CutoutOptions(outline=Outline.INSIDE, outline_colour=(1, 2, 3)))
    assert (sprite[8, 3:6] == (*RED, 255)).all()
    assert (sprite[2:, 2] == (1, 2, 3, 255)).all()


def test_a_part_that_an_outline_makes_small_goes_at_once() -> None:
    picture = np.full((12, 20, 3), 255, dtype=np.uint8)
    picture[3:7, 3:7] = RED
    picture[3:6, 15] = INK
    options = CutoutOptions(outline=Outline.OUTSIDE, outline_colour=INK, smallest_part=0.1)
    assert there(picture, replace(options, outline=Outline.NONE)).sum() == 19
    sprite = cut_out(picture, options)
    assert (sprite[..., 3] > 0).sum() == 32
    assert np.array_equal(cut_out(sprite, options), sprite)


def test_short_gaps_in_an_outline_are_closed_and_long_ones_are_meant() -> None:
    picture, truth = drawn(SHIELD)
    picture[5, 2] = RED
    picture[3:5, 15] = RED
    picture[1, 4:10] = RED
    sprite = cut_out(picture, CutoutOptions(outline=Outline.CLOSE))
    assert (sprite[5, 2] == (*INK, 255)).all()
    assert (sprite[3:5, 15] == (*INK, 255)).all()
    assert (sprite[1, 4:10] == (*RED, 255)).all()
    assert np.array_equal(sprite[..., 3] > 0, truth)


# ----------------------------------------------------------------------- what always holds


OPTIONS = st.builds(
    CutoutOptions,
    tolerance=st.sampled_from([0.0, 0.05, 0.15, 0.4]),
    smallest_hole=st.sampled_from([0.0, 0.004, 0.1, 1.0]),
    keep_light=st.booleans(),
    despill=st.booleans(),
    smallest_part=st.sampled_from([0.0, 0.01, 0.3]),
    outline=st.sampled_from(list(Outline)),
    outline_colour=st.sampled_from([None, INK, WHITE]),
)
SIZES = st.tuples(st.integers(1, 14), st.integers(1, 14))


@st.composite
def pictures(draw: st.DrawFn) -> Pixels:
    """A few colours, noise or not, with or without alpha."""
    height, width = draw(SIZES)
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    ground = draw(st.sampled_from([WHITE, GREEN, GREY, (0, 0, 0)]))
    colours = np.array([ground, ground, INK, RED, BONE, WHITE], dtype=np.uint8)
    picture = colours[random.integers(0, len(colours), (height, width))]
    picture = noisy(picture, draw(st.sampled_from([0, 0, 3, 40])), seed=1)
    if draw(st.booleans()):
        return picture
    alpha = random.choice(np.array([0, 90, 200, 255], dtype=np.uint8), (height, width))
    return np.dstack([picture, alpha])


@given(picture=pictures(), options=OPTIONS)
def test_cutting_out_twice_changes_nothing(picture: Pixels, options: CutoutOptions) -> None:
    before = picture.copy()
    try:
        sprite = cut_out(picture, options)
    except BadInput:
        return
    assert np.array_equal(picture, before)
    assert sprite.shape == (*picture.shape[:2], 4)
    assert sprite.dtype == np.uint8
    assert np.isin(sprite[..., 3], (0, 255)).all()
    assert (sprite[..., 3] == 0).any()
    assert sprite[..., 3].any()
    assert not sprite[sprite[..., 3] == 0].any()
    assert np.array_equal(cut_out(sprite, options), sprite)


@given(picture=pictures(), options=OPTIONS)
def test_soft_edges_twice_change_nothing(picture: Pixels, options: CutoutOptions) -> None:
    soft = replace(options, soft=True, outline=Outline.NONE)
    try:
        sprite = cut_out(picture, soft)
    except BadInput:
        return
    assert np.array_equal(cut_out(sprite, soft), sprite)
    assert not sprite[sprite[..., 3] == 0].any()


@given(picture=pictures(), options=OPTIONS)
def test_no_direction_is_preferred(picture: Pixels, options: CutoutOptions) -> None:
    try:
        sprite = cut_out(picture, options)
    except BadInput:
        return
    for turn in (np.flipud, np.fliplr, lambda one: one.transpose(1, 0, 2)):
        turned = cut_out(np.ascontiguousarray(turn(picture)), options)
        assert np.array_equal(turned, turn(sprite))


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (2, 2), (3, 500)])
def test_every_size_is_taken(shape: tuple[int, int]) -> None:
    with pytest.raises(BadInput, match="Nothing would be left"):
        cut_out(np.full((*shape, 3), 7, dtype=np.uint8))
    if shape != (1, 1):
        picture = np.full((*shape, 3), 255, dtype=np.uint8)
        picture[shape[0] // 2, shape[1] // 2] = INK
        assert there(picture).sum() == 1


@pytest.mark.parametrize(
    ("picture", "options", "words"),
    [
        (np.zeros((4, 4), dtype=np.uint8), CutoutOptions(), "bytes of shape"),
        (np.zeros((4, 4, 3)), CutoutOptions(), "bytes of shape"),
        (np.zeros((0, 4, 3), dtype=np.uint8), CutoutOptions(), "without pixels"),
        (np.zeros((4, 4, 3), dtype=np.uint8), CutoutOptions(tolerance=2.0), "tolerance is 0 to 1"),
        (np.zeros((4, 4, 3), dtype=np.uint8), CutoutOptions(smallest_hole=-1), "smallest_hole"),
        (np.zeros((4, 4, 3), dtype=np.uint8), CutoutOptions(smallest_part=np.nan), "smallest_part"),
        (np.zeros((4, 4, 4), dtype=np.uint8), CutoutOptions(), "Nothing would be left"),
        (
            np.zeros((4, 4, 3), dtype=np.uint8),
            CutoutOptions(soft=True, outline=Outline.CLOSE),
            "not soft",
        ),
    ],
)
def test_what_cannot_be_is_a_sentence(picture: Pixels, options: CutoutOptions, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        cut_out(picture, options)


def test_the_work_grows_with_the_pixels_alone() -> None:
    def seconds(side: int) -> float:
        picture = noisy(np.full((side, side, 3), 250, dtype=np.uint8), 3)
        picture[side // 4 : side // 2, ::3] = INK
        begin = time.process_time()
        cut_out(picture)
        return time.process_time() - begin

    seconds(64)
    small, large = min(seconds(256) for _ in range(3)), min(seconds(1024) for _ in range(3))
    # 16 times the pixels; a quadratic way would take 256 times as long
    assert large < 80 * max(small, 0.004)


@pytest.mark.skipif(not TILES.is_file(), reason="no tiles.npz beside the repository")
def test_real_sprites_on_a_key_come_out_exactly() -> None:
    tiles = np.load(TILES)["pixels"]
    share = (tiles[..., 3] >= 128).mean(axis=(1, 2))
    chosen = tiles[(share > 0.1) & (share < 0.8)][::40]
    exact = 0
    for one in chosen:
        padded = np.pad(one, ((2, 2), (2, 2), (0, 0)))
        truth = padded[..., 3] >= 128
        picture = np.where(truth[..., None], padded[..., :3], np.uint8([255, 0, 255]))
        exact += np.array_equal(there(picture, CutoutOptions(smallest_part=0.0)), truth)
    assert exact >= 0.9 * len(chosen)
