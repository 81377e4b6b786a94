"""Measures: each catches a planted fault and passes a clean sprite."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from comfy_nodes.errors import BadInput
from comfy_nodes.ops.cleaning import cleaned
from comfy_nodes.ops.measures import cells
from comfy_nodes.ops.measures.catalogue import MEASURES
from comfy_nodes.ops.measures.measure import Asked, Needs, Of
from comfy_nodes.ops.measures.subject import Subject
from comfy_nodes.ops.measures.taking import of_frames, of_picture, of_sets

Pixels = NDArray[np.uint8]

RED, DARK, LIGHT, KEY = (200, 40, 40, 255), (30, 10, 20, 255), (240, 120, 100, 255), (90, 160, 230)
GUIDES = (4, 4, 4, 4)


def sprite(height: int = 20, left: int = 6, top: int = 8) -> Pixels:
    """A red box of 20 by `height` pixels with a dark outline and some light, 32x32."""
    made = np.zeros((32, 32, 4), np.uint8)
    made[top : top + height, left : left + 20] = DARK
    made[top + 1 : top + height - 1, left + 1 : left + 19] = RED
    made[top + 3 : top + 6, left + 3 : left + 7] = LIGHT
    return made


def on_key(picture: Pixels) -> Pixels:
    """The same with the background's colour behind the mask."""
    return np.where(picture[..., 3:] == 0, np.array([*KEY, 0], np.uint8), picture)


def with_hole(color: tuple[int, ...]) -> Pixels:
    """The same with an area in a dark frame, as between an arm and a body."""
    framed = painted(on_key(sprite()), slice(14, 21), slice(11, 17), DARK)
    return painted(framed, slice(15, 20), slice(12, 16), color)


def tile() -> Pixels:
    """16x16 that goes on over its edges."""
    y, x = np.mgrid[:16, :16] * (2 * np.pi / 16)
    wave = 128 + 50 * np.sin(x) + 40 * np.cos(y)
    return np.repeat(wave[..., None], 3, axis=2).astype(np.uint8)


def panel() -> Pixels:
    """24x24 with a frame of four pixels, alike all along it."""
    made = np.full((24, 24, 3), 90, np.uint8)
    made[:2] = made[-2:] = 30
    made[:, :2] = made[:, -2:] = 30
    made[:4, :4] = (200, 180, 40)
    return made


def sheet() -> Pixels:
    """Two cells of 32x32 side by side, each with space around."""
    return np.concatenate([sprite(), sprite()], axis=1)


def enlarged(picture: Pixels, pitch: int) -> Pixels:
    return picture.repeat(pitch, axis=0).repeat(pitch, axis=1)


def painted(picture: Pixels, y: Any, x: Any, color: tuple[int, ...]) -> Pixels:
    changed = picture.copy()
    changed[y, x] = color
    return changed


def noisy(picture: Pixels, most: int) -> Pixels:
    rng = np.random.default_rng(1)
    noise = rng.integers(-most, most + 1, (*picture.shape[:2], 3))
    changed = picture.copy()
    seen = np.clip(picture[..., :3].astype(int) + noise, 0, 255)
    changed[..., :3] = np.where(picture[..., 3:] > 0, seen, 0)
    return changed


def drawing(side: int = 48) -> Pixels:
    """Pixel art with steps everywhere, RGB."""
    rng = np.random.default_rng(4)
    colors = np.array([[20, 20, 30], [200, 60, 50], [240, 200, 90], [60, 120, 200]], np.uint8)
    return colors[rng.integers(0, 4, (side, side))]


def uneven() -> Pixels:
    """Cells of almost ten pixels, blurred: fake pixels as models draw them."""
    small = drawing(32)
    at = (np.arange(310) / 9.7).astype(int).clip(0, 31)
    big = small[at][:, at].astype(float)
    for axis in (0, 1):
        big = (np.roll(big, 1, axis) + 2 * big + np.roll(big, -1, axis)) / 4
    return big.astype(np.uint8)


def two_sizes() -> Pixels:
    """Cells of 5 pixels above, of 9 below."""
    upper, lower = enlarged(drawing(54), 5)[:180, :270], enlarged(drawing(30), 9)[:90]
    return np.concatenate([upper, lower])


PALETTE = np.array([RED[:3], DARK[:3], LIGHT[:3]], np.uint8)
OUTLINE_ROW = (slice(8, 9), slice(7, 24))

# what is clean, what is not, and what was said of both
CASES: dict[str, tuple[Pixels, Pixels, Asked]] = {
    "opaque": (sprite(), np.zeros((32, 32, 4), np.uint8), Asked()),
    "blank": (sprite(), np.full((32, 32, 4), 255, np.uint8), Asked()),
    "colours": (sprite(), np.full((32, 32, 4), 255, np.uint8), Asked()),
    "pixel_size": (drawing(), enlarged(drawing(), 8), Asked()),
    "grid_energy": (enlarged(drawing(), 8), uneven(), Asked()),
    "spacing_deviation": (enlarged(drawing(), 8), uneven(), Asked()),
    "block_consistency": (enlarged(drawing(), 8), uneven(), Asked()),
    "pixel_sizes": (enlarged(drawing(), 6), two_sizes(), Asked()),
    "colours_per_shade": (sprite(), noisy(sprite(), 6), Asked()),
    "in_palette": (sprite(), painted(sprite(), 12, 12, (201, 40, 40, 255)), Asked(palette=PALETTE)),
    "palette_distance": (sprite(), noisy(sprite(), 40), Asked(palette=PALETTE)),
    "alpha_binary": (sprite(), painted(sprite(), 7, 10, (*RED[:3], 90)), Asked()),
    "background": (
        sprite(),
        on_key(sprite())[..., :3].copy(),
        Asked(),
    ),
    "fringe": (
        on_key(sprite()),
        painted(on_key(sprite()), 7, 10, (94, 158, 226, 255)),
        Asked(),
    ),
    "enclosed_background": (
        on_key(sprite()),
        with_hole((*KEY, 255)),
        Asked(),
    ),
    "specks": (sprite(), painted(sprite(), 3, 3, RED), Asked()),
    "orphans": (sprite(), painted(sprite(), 7, 12, (190, 190, 200, 255)), Asked()),
    "outline": (sprite(), painted(sprite(), *OUTLINE_ROW, RED), Asked()),
    "pinholes": (
        sprite(),
        painted(sprite(), slice(10, 26, 3), slice(8, 24, 3), (0, 0, 0, 0)),
        Asked(),
    ),
    "largest_piece": (
        sprite(),
        painted(sprite(), slice(None), slice(9, 32, 4), (0, 0, 0, 0)),
        Asked(),
    ),
    "seam": (tile(), tile()[:, :5], Asked(tile=True)),
    "bleed": (sheet(), painted(sheet(), 12, 31, RED), Asked(cell=(32, 32))),
    "nine_slice": (panel(), painted(panel(), 12, 1, (255, 255, 255)), Asked(guides=GUIDES)),
}

STILL = [sprite(), sprite(), sprite()]
FRAMES: dict[str, tuple[list[Pixels], list[Pixels]]] = {
    "height_variation": (STILL, [sprite(), sprite(23, top=5), sprite()]),
    "baseline_jitter": (STILL, [sprite(), sprite(top=12), sprite()]),
    "centroid_jitter": (STILL, [sprite(), sprite(left=9), sprite()]),
    "palette_overlap": (STILL, [noisy(sprite(), 30), sprite(), sprite()]),
    "flicker": (
        STILL,
        [sprite(), painted(sprite(), slice(14, 20), 12, (203, 43, 38, 255)), sprite()],
    ),
    "consistency": (
        STILL,
        [sprite(), painted(sprite(), slice(0, 26), slice(10, 32), 4 * (0,)), sprite()],
    ),
}
# Of these any value can be right, so a gate that says nothing else bounds nothing.
ANY_VALUE = {"width", "height", "drawn_width", "drawn_height"}


def value(name: str, picture: Pixels, asked: Asked | None = None) -> float | None:
    return MEASURES[name].function(Subject(picture, asked or Asked()))


def test_every_measure_has_a_case() -> None:
    known = {*CASES, *FRAMES, *ANY_VALUE, "scale_variation", "snap_changes"}
    assert known == set(MEASURES)


@pytest.mark.parametrize("name", CASES)
def test_a_planted_fault_is_caught_and_a_clean_sprite_passes(name: str) -> None:
    clean, faulty, asked = CASES[name]
    measure = MEASURES[name]
    assert measure.allows(value(name, clean, asked)), value(name, clean, asked)
    assert not measure.allows(value(name, faulty, asked)), value(name, faulty, asked)


@pytest.mark.parametrize("name", FRAMES)
def test_a_planted_fault_of_frames_is_caught(name: str) -> None:
    still, faulty = FRAMES[name]
    (good,) = [one for one in of_frames(still) if one.measure.name == name]
    (bad,) = [one for one in of_frames(faulty) if one.measure.name == name]
    assert good.passed, good.value
    assert not bad.passed, bad.value


def shaded(top: int, left: int, *, lighter: int = 0) -> Pixels:
    """A sprite whose neighbouring columns differ by a shade, at a place."""
    shade = np.arange(60, 220, 8)
    colors = np.stack([shade, shade // 2, shade // 3, np.full(20, 255)], axis=1)
    colors[:, :3] += lighter
    picture = np.zeros((48, 48, 4), np.uint8)
    picture[top : top + 24, left : left + 20] = colors
    return picture


def test_a_sprite_that_moves_as_a_whole_does_not_flicker() -> None:
    def flickers(frames: list[Pixels]) -> bool:
        (found,) = [one for one in of_frames(frames) if one.measure.name == "flicker"]
        return not found.passed

    assert not flickers([shaded(10 + n % 2, 4 + n) for n in range(16)])
    assert flickers([shaded(10 + n % 2, 4 + n, lighter=6 * (n == 5)) for n in range(16)])
    assert flickers([shaded(10, 4, lighter=6 * (n == 5)) for n in range(16)])


def test_sets_of_another_scale_are_caught() -> None:
    (good,) = of_sets([[sprite()] * 2, [sprite(top=2)] * 3])
    (bad,) = of_sets([[sprite()] * 2, [sprite(23, top=2)] * 3])
    assert (good.value, good.passed) == (0, True)
    assert (bad.value, bad.passed) == (3, False)


def test_a_snap_that_changes_its_own_result_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    assert value("snap_changes", enlarged(drawing(), 8)) == 0

    real = cells.snap

    def never_done(picture: Pixels) -> Any:
        return real(picture[::2, ::2])

    monkeypatch.setattr(cells, "snap", never_done)
    assert value("snap_changes", enlarged(drawing(), 8)) == 1


def test_clean_sprites_pass_everything() -> None:
    for picture in (sprite(), on_key(sprite()), drawing()):
        assert [
            (one.measure.name, one.value) for one in of_picture(picture) if not one.passed
        ] == []
    assert [one for one in of_frames(STILL) if not one.passed] == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("width", 32),
        ("height", 32),
        ("drawn_width", 20),
        ("drawn_height", 20),
        ("colours", 3),
        ("opaque", 400 / 1024),
        ("specks", 0),
        ("outline", 1),
        ("pixel_size", 1),
        ("alpha_binary", 1),
        ("largest_piece", 1),
        ("pinholes", 0),
    ],
)
def test_values_of_a_sprite_that_is_known(name: str, expected: float) -> None:
    assert value(name, sprite()) == expected


def test_the_drawn_size_is_that_of_the_box_around_all_that_is_seen() -> None:
    one = np.zeros((12, 30, 4), np.uint8)
    assert (value("drawn_width", one), value("drawn_height", one)) == (0, 0)
    one[2, 4, 3], one[9, 20, 3], one[11, 29, 3] = 255, 128, 127
    assert (value("drawn_width", one), value("drawn_height", one)) == (17, 8)


def test_values_of_faults_that_are_known() -> None:
    assert value("specks", painted(sprite(), [3, 3, 30], [3, 6, 30], RED)) == 3
    assert value("outline", painted(sprite(), *OUTLINE_ROW, RED)) == pytest.approx(1 - 17 / 76)
    assert value("pixel_size", enlarged(drawing(), 8)) == 8
    assert value("grid_energy", enlarged(drawing(), 8)) == 1
    assert value("block_consistency", enlarged(drawing(), 8)) == 1
    assert value("spacing_deviation", enlarged(drawing(), 8)) == 0
    assert value("in_palette", sprite(), Asked(palette=PALETTE[:1])) == pytest.approx(312 / 400)
    assert value("bleed", painted(sheet(), 12, 31, RED), Asked(cell=(32, 32))) == 1
    assert value("bleed", painted(sheet(), 12, 63, RED), Asked(cell=(32, 32))) == 0


def test_a_light_spot_inside_and_a_tip_of_the_sprite_are_no_faults() -> None:
    """An eye of one pixel, and a hand that sticks out in the outline's colour."""
    with_eye = painted(sprite(), 18, 14, (255, 255, 255, 255))
    with_hand = painted(sprite(), 18, 5, DARK)
    for picture in (with_eye, with_hand):
        assert all(one.passed for one in of_picture(picture))


def test_a_shade_between_outline_and_inside_is_no_orphan() -> None:
    grey, white = (150, 150, 155, 255), (235, 235, 235, 255)
    corner = painted(sprite(), 27, 6, grey)
    assert value("orphans", corner) == 1
    assert value("orphans", painted(corner, 26, 7, white)) == 0
    assert value("orphans", painted(painted(corner, 26, 7, grey), 27, 6, white)) == 1


def test_a_sprite_of_the_background_s_colour_has_no_fringe() -> None:
    """A blade in nearly the background's colour, which reaches into the sprite."""
    blade = painted(on_key(sprite()), slice(8, 28), slice(20, 26), (94, 158, 226, 255))
    assert value("fringe", blade) == 0
    rim = painted(on_key(sprite()), slice(8, 28), 25, (94, 158, 226, 255))
    assert value("fringe", rim) == 20


def test_a_light_part_of_the_background_s_colour_is_no_background() -> None:
    """It is what the cut-out keeps as one: a spot with a shade of its own."""
    shade = [(*(part + step for part in KEY), 255) for step in (-8, -5, -8, -6)]
    spot = painted(on_key(sprite()), slice(15, 20), slice(12, 16), np.array(shade))
    assert Subject(spot).near(Subject(spot).key, 0.04)[15, 12]
    assert value("enclosed_background", spot) == 0


def test_a_measure_says_where_it_does_not_apply() -> None:
    plain = np.full((32, 32, 3), 90, np.uint8)
    for name in ("outline", "orphans", "specks", "fringe", "pinholes", "largest_piece"):
        assert value(name, plain) is None, name
    unlined = painted(sprite(), slice(8, 28), slice(6, 26), RED)
    assert value("outline", unlined) is None
    assert value("fringe", sprite()) is None, "nobody knows what was behind it"
    assert value("fringe", painted(sprite(), 0, 0, (190, 190, 200, 0)), None) is None
    assert value("fringe", sprite(), Asked(key=KEY)) == 0
    for name in ("grid_energy", "spacing_deviation", "block_consistency"):
        assert value(name, sprite()) is None, name


def test_what_was_not_asked_for_is_not_measured() -> None:
    names = {one.measure.name for one in of_picture(tile())}
    asked = {one.name for one in MEASURES.values() if one.needs is not Needs.NOTHING}
    assert asked == {"seam", "bleed", "nine_slice", "in_palette", "palette_distance"}
    assert not names & asked
    assert "seam" in {one.measure.name for one in of_picture(tile(), Asked(tile=True))}


@pytest.mark.parametrize(
    ("picture", "asked", "sentence"),
    [
        (np.zeros((0, 4, 3), np.uint8), Asked(), "without pixels"),
        (np.zeros((4, 4), np.uint8), Asked(), r"\[H, W, 3 or 4\]"),
        (np.zeros((4, 4, 3), np.float32), Asked(), r"\[H, W, 3 or 4\]"),
        (np.zeros((4, 4, 3), np.uint8), Asked(cell=(3, 4)), "not whole cells of 3x4"),
        (np.zeros((4, 4, 3), np.uint8), Asked(guides=(2, 2, 1, 1)), "leave nothing to stretch"),
    ],
)
def test_what_cannot_be_measured_is_said(picture: Pixels, asked: Asked, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        of_picture(picture, asked)


PICTURES = st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from([3, 4])).flatmap(
    lambda shape: arrays.arrays(
        np.uint8, shape, elements=st.sampled_from([0, 1, 60, 127, 128, 200, 255])
    )
)
ALL_ASKED = Asked(tile=True, cell=(1, 1), guides=(0, 0, 0, 0), palette=PALETTE, key=KEY)


@settings(max_examples=80)
@given(PICTURES)
def test_no_picture_is_too_odd_and_the_answer_is_always_the_same(picture: Pixels) -> None:
    kept = picture.copy()
    first, second = of_picture(picture, ALL_ASKED), of_picture(picture.copy(), ALL_ASKED)
    assert first == second
    assert np.array_equal(picture, kept)
    assert all(one.value is None or np.isfinite(one.value) for one in first)
    of_frames([picture, picture[::-1].copy()])
    of_sets([[picture], [picture[:1]]])


@pytest.mark.parametrize("shape", [(1, 1), (1, 64), (64, 1), (2, 2), (70, 70)])
@pytest.mark.parametrize("color", [(0, 0, 0, 0), (9, 9, 9, 0), (9, 9, 9, 127), (9, 9, 9, 255)])
def test_pictures_of_one_colour(shape: tuple[int, int], color: tuple[int, ...]) -> None:
    picture = np.broadcast_to(np.array(color, np.uint8), (*shape, 4)).copy()
    of_picture(picture, ALL_ASKED)
    of_frames([picture] * 3)
    of_frames([])
    of_sets([])
    of_sets([[], [picture]])


@settings(max_examples=30)
@given(PICTURES, st.integers(0, 6), st.integers(1, 6))
def test_space_around_a_sprite_changes_nothing_of_the_sprite(
    picture: Pixels, before: int, behind: int
) -> None:
    if picture.shape[2] == 3:
        picture = np.concatenate([picture, picture[..., :1]], axis=2)
    # A frame of nothing, so that no edge of the picture cuts the sprite.
    picture = np.pad(picture, ((1, 1), (1, 1), (0, 0)))
    padded = np.pad(picture, ((before, behind), (behind, before), (0, 0)))
    names = "colours colours_per_shade specks orphans outline pinholes largest_piece fringe"
    asked = Asked(key=KEY)
    for name in [*names.split(), "enclosed_background"]:
        assert value(name, picture, asked) == value(name, padded, asked), name


def test_frames_of_two_sizes_are_measured_where_that_means_something() -> None:
    found = {one.measure.name: one.value for one in of_frames([sprite(), sprite()[4:]])}
    assert found["height_variation"] == 0
    assert (found["baseline_jitter"], found["flicker"]) == (None, None)


def test_names_and_bounds_need_no_numpy() -> None:
    code = (
        "import sys; from comfy_nodes.ops.measures.catalogue import MEASURES; assert MEASURES;"
        "sys.exit('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_measure_says_what_it_is_and_can_be_taken() -> None:
    for name, measure in MEASURES.items():
        assert measure.name == name
        assert measure.about
        assert measure.function.__doc__
        assert name in ANY_VALUE or (measure.minimum, measure.maximum) != (None, None)
    assert {one.of for one in MEASURES.values()} == set(Of)


@pytest.mark.parametrize("name", ["fringe", "enclosed_background", "specks", "orphans", "pinholes"])
def test_cleaning_takes_away_what_was_found_and_nothing_else(name: str) -> None:
    clean, faulty, asked = CASES[name]
    if name == "enclosed_background":
        clean = with_hole((*KEY, 0))
    made = cleaned(faulty, asked)
    assert value(name, faulty, asked) != 0
    assert value(name, made, asked) in (0, None)
    assert np.array_equal(cleaned(made, asked), made), "once is enough"
    assert np.array_equal(cleaned(clean, asked), clean)
    changed = (made != faulty).any(axis=-1)
    assert np.array_equal(changed, (clean != faulty).any(axis=-1))


@settings(max_examples=60)
@given(PICTURES)
def test_cleaning_takes_any_picture_and_makes_up_no_colour(picture: Pixels) -> None:
    made = cleaned(picture, Asked(key=KEY))
    assert made.shape == picture.shape
    if picture.shape[2] == 3:
        assert np.array_equal(made, picture)
        return
    seen = {(0, 0, 0), *(tuple(one) for one in picture.reshape(-1, 4)[:, :3].tolist())}
    assert {tuple(one) for one in made.reshape(-1, 4)[:, :3].tolist()} <= seen
    assert (picture[..., 3] >= 128).any() == (made[..., 3] >= 128).any()


def test_the_page_has_every_measure_with_its_bounds(repository: Path) -> None:
    page = (repository / "docs" / "measures.md").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line.startswith("| `")]
    found = {}
    for line in lines:
        name, about, good, *_ = [cell.strip() for cell in line.strip("|").split(" | ")]
        found[name.strip("`")] = (about, good)
    said = {}
    for name, one in MEASURES.items():
        bounds = {"min": one.minimum, "max": one.maximum}
        good = ", ".join(f"{kind} {bound:g}" for kind, bound in bounds.items() if bound is not None)
        said[name] = (one.about, good or "-")
    assert found == said
