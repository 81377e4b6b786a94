import numpy as np
import pytest

from comfy_nodes.errors import BadInput
from comfy_nodes.ops.color import oklab, pack
from comfy_nodes.ops.palette import find_palette, parse_palette, repaint


def picture(seed: int = 0, side: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def colors_of(image: np.ndarray) -> set[int]:
    return set(np.unique(pack(image[..., :3])).tolist())


def test_palettes_are_read_as_people_write_them() -> None:
    palette = parse_palette("#FF0000, 00ff00;\n#00f  ff0000")
    assert palette is not None
    assert palette.tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    assert parse_palette("  \n") is None


@pytest.mark.parametrize("wrong", ["#12345", "red", "#ff0000 #gg0000", "#"])
def test_what_is_no_colour_is_named(wrong: str) -> None:
    with pytest.raises(BadInput, match=wrong.split()[-1]):
        parse_palette(wrong)


def test_too_many_colours_are_refused() -> None:
    with pytest.raises(BadInput, match="257"):
        parse_palette(" ".join(f"{i:06x}" for i in range(257)))


def test_few_colours_are_kept_exactly() -> None:
    small = picture()[:2, :3]
    assert colors_of(find_palette(small, 6)[None]) == colors_of(small)
    assert np.array_equal(repaint(small, find_palette(small, 6)), small)


@pytest.mark.parametrize("count", [2, 7, 16, 256])
@pytest.mark.parametrize("dither", [False, True])
def test_repainting_twice_is_repainting_once(count: int, dither: bool) -> None:
    once = repaint(picture(), find_palette(picture(), count), dither=dither)
    assert len(colors_of(once)) <= count
    again = repaint(once, find_palette(once, count), dither=dither)
    assert np.array_equal(again, once)


def test_a_found_palette_has_only_colours_of_the_picture() -> None:
    assert colors_of(find_palette(picture(), 12)[None]) <= colors_of(picture())


def test_groups_of_shades_become_their_groups() -> None:
    rng = np.random.default_rng(3)
    groups = np.array([[200, 30, 30], [30, 160, 40], [240, 240, 240], [20, 20, 60]])
    choice = rng.integers(0, 4, (50, 50))
    shades = (groups[choice] + rng.integers(-6, 7, (50, 50, 3))).clip(0, 255).astype(np.uint8)
    result = repaint(shades, find_palette(shades, 4))
    for group in range(4):
        assert len(colors_of(result[choice == group][None])) == 1


def test_dithering_mixes_two_colours_in_the_right_part() -> None:
    grey = np.full((32, 32, 3), 99, dtype=np.uint8)  # half way from black to white in OKLab
    palette = np.array([[0, 0, 0], [255, 255, 255]], dtype=np.uint8)
    share = repaint(grey, palette, dither=True).mean() / 255
    assert 0.4 < share < 0.6
    assert repaint(grey, palette).min() == repaint(grey, palette).max()


def test_dithering_sets_bayers_pattern_wherever_the_picture_begins_a_tile() -> None:
    # Of sixteen pixels n are of the second colour where it makes up n + 0.25 sixteenths, and they
    # are those that Bayer's matrix names first.
    order = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]])
    palette = np.array([[0, 0, 0], [255, 255, 255]], dtype=np.uint8)
    lightness = oklab(np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1))[:, 0]
    for part in range(8):
        grey = int(np.abs(lightness - (part + 0.25) / 16).argmin())
        assert part - 0.5 < lightness[grey] * 16 < part + 0.5
        shown = repaint(np.full((8, 6, 3), grey, dtype=np.uint8), palette, dither=True)
        assert np.array_equal(shown[..., 0] == 255, np.tile(order < part, (2, 2))[:8, :6])


def test_alpha_and_the_source_stay() -> None:
    rgba = np.concatenate([picture(), picture(1)[..., :1]], axis=-1)
    before = rgba.copy()
    result = repaint(rgba, np.array([[1, 2, 3]], dtype=np.uint8))
    assert np.array_equal(result[..., 3], before[..., 3])
    assert np.array_equal(rgba, before)
    assert colors_of(result) == {0x010203}


def test_a_picture_of_very_many_colours_is_repainted_as_well() -> None:
    many = picture(4, side=220)  # 48,400 pixels of nearly as many colours
    palette = find_palette(many, 16)
    assert colors_of(palette[None]) <= colors_of(many)
    assert len(palette) == 16
    once = repaint(many, palette)
    assert np.array_equal(repaint(once, find_palette(once, 16)), once)
