import numpy as np
import pytest

from comfy_nodes.errors import BadInput
from comfy_nodes.ops.alpha import components, cut_out

WHITE, INK, RED = (255, 255, 255), (20, 10, 30), (200, 30, 30)


def potion() -> np.ndarray:
    """An outlined red square on white with a highlight in it."""
    picture = np.full((64, 64, 3), 255, dtype=np.uint8)
    picture[10:50, 10:50] = INK
    picture[12:48, 12:48] = RED
    picture[18:23, 18:23] = WHITE
    return picture


def test_the_background_goes_and_the_highlight_stays() -> None:
    sprite = cut_out(potion(), 0.1, 0.001)
    expected = np.zeros((64, 64), dtype=bool)
    expected[10:50, 10:50] = True
    assert np.array_equal(sprite, expected)


def ring() -> np.ndarray:
    picture = potion()
    picture[28:44, 28:44] = INK
    picture[30:42, 30:42] = WHITE
    return picture


def test_the_hole_of_a_ring_goes_too() -> None:
    sprite = cut_out(ring(), 0.1, 0.01)
    assert not sprite[30:42, 30:42].any()
    assert sprite[28:30, 28:44].all()
    assert sprite[18:23, 18:23].all()
    assert cut_out(ring(), 0.1, 1.0)[30:42, 30:42].all()


def test_noise_and_compression_in_the_background_are_tolerated() -> None:
    noise = np.random.default_rng(0).integers(-6, 1, (64, 64, 3))
    picture = np.clip(potion() + noise, 0, 255).astype(np.uint8)
    clean = cut_out(potion(), 0.1, 0.01)
    assert np.array_equal(cut_out(picture, 0.1, 0.01), clean)


def test_any_plain_colour_can_be_the_background() -> None:
    picture = potion()
    picture[(picture == 255).all(axis=-1)] = (0, 120, 255)
    assert np.array_equal(cut_out(picture, 0.1, 0.01), cut_out(potion(), 0.1, 0.01))


def test_a_diagonal_outline_does_not_leak() -> None:
    picture = np.full((21, 21, 3), 255, dtype=np.uint8)
    for i in range(11):
        for y, x in ((i, 10 - i), (i, 10 + i), (20 - i, 10 - i), (20 - i, 10 + i)):
            picture[y, x] = INK
    picture[0, :10] = picture[0, 11:] = WHITE
    sprite = cut_out(picture, 0.1, 1.0)
    assert sprite[10, 10]
    assert not sprite[0, 0]


def test_a_picture_of_nothing_is_refused() -> None:
    with pytest.raises(BadInput, match="lower the tolerance"):
        cut_out(np.full((8, 8, 3), 7, dtype=np.uint8), 0.1, 0.01)


def flood(flags: np.ndarray) -> np.ndarray:
    """Components the plain way, to check against."""
    labels = np.zeros(flags.shape, dtype=int)
    for start in zip(*np.nonzero(flags), strict=True):
        if labels[start]:
            continue
        stack, label = [start], labels.max() + 1
        while stack:
            y, x = stack.pop()
            inside = 0 <= y < flags.shape[0] and 0 <= x < flags.shape[1]
            if inside and flags[y, x] and not labels[y, x]:
                labels[y, x] = label
                stack += [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
    return labels


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.9, 1.0])
def test_components_agree_with_a_flood_fill(share: float) -> None:
    flags = np.random.default_rng(5).random((23, 31)) < share
    ours, plain = components(flags), flood(flags)
    assert np.array_equal(ours > 0, flags)
    pairs = {(a, b) for a, b in zip(ours.ravel(), plain.ravel(), strict=True)}
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


def test_the_tolerance_is_a_distance_in_oklab() -> None:
    picture = np.full((16, 16, 3), 255, dtype=np.uint8)
    picture[4:12, 4:12] = 200  # 0.17 darker than white
    assert cut_out(picture, 0.16, 0.0)[4:12, 4:12].all()
    with pytest.raises(BadInput, match="lower the tolerance"):
        cut_out(picture, 0.18, 0.0)


def test_a_hole_of_just_the_smallest_share_goes() -> None:
    picture = ring()
    share = 12 * 12 / picture[..., 0].size
    assert not cut_out(picture, 0.1, share)[30:42, 30:42].any()
    assert cut_out(picture, 0.1, share * 1.01)[30:42, 30:42].all()
