import numpy as np
import pytest

from comfy_nodes.ops.grid import FALLBACK_PIXELS, Grid, Method, find_grid, snap, with_offsets
from comfy_nodes.ops.pictures import Bytes


def sprite(cells: int, size: int, seed: int = 0) -> tuple[Bytes, Bytes]:
    """Blocks of random colours and the same blown up: (cells, picture)."""
    small = np.random.default_rng(seed).integers(0, 256, (cells, cells, 3), dtype=np.uint8)
    return small, np.kron(small, np.ones((size, size, 1), dtype=np.uint8))


def noisy(picture: Bytes, strength: float, seed: int = 1) -> Bytes:
    noise = np.random.default_rng(seed).normal(0, strength, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("size", [2, 3, 5, 8, 16])
def test_a_clean_grid_is_found_with_its_offset(size: int) -> None:
    _, picture = sprite(16, size)
    assert find_grid(picture) == Grid(size)
    assert find_grid(picture[1:, size - 1 :]) == Grid(size, x=1, y=size - 1)


@pytest.mark.parametrize("size", [4, 8, 12])
def test_a_noisy_grid_is_found_and_its_colours_are_kept(size: int) -> None:
    small, picture = sprite(16, size)
    bad = noisy(picture, 8)
    assert find_grid(bad) == Grid(size)
    result = snap(bad, find_grid(bad), Method.MEDIAN)
    assert np.abs(result[::size, ::size].astype(int) - small).mean() < 4


def test_mode_ignores_a_stray_quarter_of_the_cell() -> None:
    small, picture = sprite(8, 8)
    for y in range(0, 64, 8):
        picture[y : y + 4, ::8] = 255 - picture[y : y + 4, ::8]
    assert np.array_equal(snap(picture, Grid(8), Method.MODE)[::8, ::8], small)


def test_mode_takes_the_median_where_two_shades_are_as_common() -> None:
    cell = np.array([[[9], [80]], [[90], [240]]], dtype=np.uint8).repeat(3, axis=2)
    assert (snap(cell, Grid(2), Method.MODE) == 80).all()


def test_center_takes_the_middle_pixel() -> None:
    small, picture = sprite(4, 5)
    picture[0::5] = 0
    assert np.array_equal(snap(picture, Grid(5), Method.CENTER)[::5, ::5], small)


@pytest.mark.parametrize("method", list(Method))
@pytest.mark.parametrize("kind", ["clean", "noisy", "noise", "flat", "gradient", "cropped"])
def test_a_second_snap_is_byte_identical(method: Method, kind: str) -> None:
    _, clean = sprite(20, 6)
    random = np.random.default_rng(2).integers(0, 256, (90, 130, 3), dtype=np.uint8)
    ramp = np.tile(np.arange(200, dtype=np.uint8)[None, :, None], (150, 1, 3))
    flat = np.full((70, 70, 3), 9, dtype=np.uint8)
    pictures = {
        "clean": clean,
        "noisy": noisy(clean, 20),
        "noise": random,
        "flat": flat,
        "gradient": ramp,
        "cropped": noisy(clean, 10)[2:, 5:],
    }
    once = snap(pictures[kind], find_grid(pictures[kind]), method)
    assert np.array_equal(snap(once, find_grid(once), method), once)
    given = snap(pictures[kind], with_offsets(pictures[kind], 7), method)
    assert np.array_equal(snap(given, with_offsets(given, 7), method), given)


def test_a_picture_without_a_grid_gets_the_fallback() -> None:
    random = np.random.default_rng(0).integers(0, 256, (256, 300, 3), dtype=np.uint8)
    assert find_grid(random).size == 256 // FALLBACK_PIXELS


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 9, 3), (2, 2, 4), (9, 1, 3)])
def test_tiny_pictures_pass_through(shape: tuple[int, int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert snap(picture, find_grid(picture)).shape == shape
    assert snap(picture, with_offsets(picture, 128)).shape == shape


def test_alpha_is_snapped_too() -> None:
    _, picture = sprite(8, 4)
    alpha = np.kron(np.eye(8, dtype=np.uint8) * 255, np.ones((4, 4), dtype=np.uint8))
    rgba = np.concatenate([picture, alpha[..., None]], axis=-1)
    assert np.array_equal(snap(rgba, Grid(4)), rgba)


def test_a_grid_that_begins_inside_a_cell_changes_nothing_of_a_picture_on_it() -> None:
    small, picture = sprite(8, 5)
    cut = picture[2:, 3:]
    grid = find_grid(cut)
    assert (grid.x, grid.y) == (2, 3)
    for method in Method:
        snapped = snap(cut, grid, method)
        assert np.array_equal(snapped, cut)
        assert snapped[0, 0].tolist() == small[0, 0].tolist()


@pytest.mark.parametrize(
    ("cell", "chosen"),
    [
        # a shade is a cube of 8 steps: 2 and 3 are one, 12 is another
        ([2, 2, 3, 3, 12, 12, 12, 200, 90], 2),
        # of two shades as common as each other none is picked at random
        ([10, 10, 10, 10, 200, 200, 200, 200, 100], 100),
        ([10, 10, 10, 200, 200, 200, 100, 101, 99], 100),
    ],
)
def test_the_colour_of_a_cell_is_its_commonest_shade_or_else_the_median(
    cell: list[int], chosen: int
) -> None:
    picture = np.array(cell, dtype=np.uint8).reshape(3, 3, 1).repeat(3, axis=2)
    assert np.unique(snap(picture, Grid(3))).tolist() == [chosen]


def test_pixels_are_at_most_so_large() -> None:
    # Cells of 200 pixels lie on a grid of 100, too.
    _, picture = sprite(3, 200)
    assert find_grid(picture) == Grid(100)


def test_without_a_grid_the_short_side_has_so_many_pixels() -> None:
    noise = np.random.default_rng(2).integers(0, 256, (128, 512, 3), dtype=np.uint8)
    assert find_grid(noise) == Grid(128 // FALLBACK_PIXELS)
    assert find_grid(noise.transpose(1, 0, 2)) == Grid(128 // FALLBACK_PIXELS)


def test_what_is_snapped_is_another_picture() -> None:
    _, picture = sprite(4, 4)
    for size in (1, 4):
        assert not np.shares_memory(snap(picture, Grid(size)), picture)
