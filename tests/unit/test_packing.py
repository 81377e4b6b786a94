"""Rectangles on pages: inside, apart, few, and as tight as was promised."""

from __future__ import annotations

import random
import time
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comfy_nodes.errors import BadInput
from comfy_nodes.ops.packing import Packing, Size, pack, rows


def check(packing: Packing, sizes: list[Size], padding: int) -> None:
    """Every rectangle is inside its page, and none is nearer to another than the padding."""
    taken = [np.zeros((height + padding, width + padding), bool) for width, height in packing.pages]
    for spot, size in zip(packing.spots, sizes, strict=True):
        width, height = size[::-1] if spot.turned else size
        page = taken[spot.page]
        assert 0 <= spot.x <= page.shape[1] - width - padding
        assert 0 <= spot.y <= page.shape[0] - height - padding
        own = page[spot.y : spot.y + height + padding, spot.x : spot.x + width + padding]
        assert not own.any()
        own[:] = True


@settings(max_examples=1000)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=40),
    padding=st.integers(0, 4),
    largest=st.sampled_from([64, 100, 256, 4096]),
    power_of_two=st.booleans(),
    turn=st.booleans(),
)
def test_no_two_overlap(
    sizes: list[Size], padding: int, largest: int, power_of_two: bool, turn: bool
) -> None:
    packing = pack(sizes, padding=padding, largest=largest, power_of_two=power_of_two, turn=turn)
    check(packing, sizes, padding)
    assert turn or not any(spot.turned for spot in packing.spots)
    for page in packing.pages:
        assert max(page) <= largest
        assert not power_of_two or all(side & (side - 1) == 0 for side in page)


def test_the_check_sees_a_planted_overlap() -> None:
    sizes = [(10, 10)] * 5
    packing = pack(sizes, padding=2)
    check(packing, sizes, 2)
    with pytest.raises(AssertionError):
        check(packing, [(11, 10), *sizes[1:]], 2)


def box_of_512(seed: int) -> list[Size]:
    chance = random.Random(seed)
    return [(chance.randint(12, 96), chance.randint(12, 96)) for _ in range(512)]


@pytest.mark.parametrize("seed", range(5))
def test_512_rectangles_fill_94_of_100(seed: int) -> None:
    sizes = box_of_512(seed)
    packing = pack(sizes, padding=2)
    check(packing, sizes, 2)
    assert len(packing.pages) == 1
    width, height = packing.pages[0]
    covered = sum((wide + 2) * (high + 2) for wide, high in sizes)
    assert covered / ((width + 2) * (height + 2)) >= 0.97
    assert max(width, height) / min(width, height) < 1.5


def test_turning_takes_less_room_where_it_can() -> None:
    crossed = [(50, 20), (20, 50)]
    assert set(pack(crossed).pages[0]) == {50, 70}
    assert set(pack(crossed, turn=True).pages[0]) == {50, 40}
    for seed in range(5):
        sizes = box_of_512(seed)[:40]
        turned = pack(sizes, padding=2, turn=True)
        check(turned, sizes, 2)
        pages = turned.pages[0], pack(sizes, padding=2).pages[0]
        areas = [width * height for width, height in pages]
        # a page of two squares may be 5% smaller than a square one, and still not be taken
        assert areas[0] <= areas[1] * 1.05


def test_a_square_is_never_turned() -> None:
    assert not any(spot.turned for spot in pack([(9, 9)] * 20, turn=True).spots)


def test_the_order_given_does_not_matter_for_the_page() -> None:
    sizes = box_of_512(7)[:60]
    assert pack(sizes).pages == pack(sizes[::-1]).pages
    assert pack(sizes) == pack(list(sizes))


@pytest.mark.parametrize(
    ("count", "page"), [(1, (64, 64)), (4, (130, 130)), (9, (196, 196)), (16, (262, 262))]
)
def test_equal_squares_make_a_square(count: int, page: Size) -> None:
    assert pack([(64, 64)] * count, padding=2).pages == (page,)


def test_what_fits_exactly_is_one_page() -> None:
    assert pack([(64, 64)] * 16, largest=256).pages == ((256, 256),)
    assert pack([(64, 64)] * 17, largest=256).pages == ((256, 256), (64, 64))
    assert pack([(30, 62)] * 8, padding=2, largest=126).pages == ((126, 126),)


def test_power_of_two_goes_down_to_what_the_limit_allows() -> None:
    assert pack([(60, 60)] * 5, largest=200, power_of_two=True).pages == ((128, 128), (64, 64))
    with pytest.raises(BadInput, match="150x20 does not fit on a page of 128x128"):
        pack([(150, 20)], largest=200, power_of_two=True)


def test_rows_are_a_grid() -> None:
    packing = rows(5, (10, 20), 3, padding=2)
    assert packing.pages == ((34, 42),)
    assert [(spot.x, spot.y) for spot in packing.spots] == [
        (0, 0),
        (12, 0),
        (24, 0),
        (0, 22),
        (12, 22),
    ]
    assert rows(2, (10, 20), 8).pages == ((20, 20),)


@pytest.mark.parametrize(
    ("sizes", "options", "told"),
    [
        ([], {}, "1 to 16384 frames, not 0"),
        ([(0, 4)], {}, "at least one pixel"),
        ([(4, 4)], {"padding": -1}, "padding is 0 to 256"),
        ([(4, 4)], {"largest": 0}, "largest page is 1 to 16384"),
        ([(300, 4)], {"largest": 256}, "300x4 does not fit on a page of 256x256"),
    ],
)
def test_what_cannot_be_packed_is_told(
    sizes: list[Size], options: dict[str, int], told: str
) -> None:
    with pytest.raises(BadInput, match=told):
        pack(sizes, **options)


def test_a_grid_that_is_too_large_is_told() -> None:
    with pytest.raises(BadInput, match="a page is at most 16384x16384"):
        rows(9, (4000, 10), 9)
    with pytest.raises(BadInput, match="columns"):
        rows(9, (10, 10), 0)


def test_pairs_on_one_page_are_apart_in_one_direction() -> None:
    sizes = box_of_512(3)[:100]
    packing = pack(sizes, padding=3, largest=400)
    assert len(packing.pages) > 1
    placed = list(zip(packing.spots, sizes, strict=True))
    for (a, (aw, ah)), (b, (bw, bh)) in combinations(placed, 2):
        if a.page == b.page:
            gaps = (b.x - a.x - aw, a.x - b.x - bw, b.y - a.y - ah, a.y - b.y - bh)
            assert max(gaps) >= 3


@pytest.mark.benchmark
def test_how_tight_and_how_fast() -> None:
    """`-m benchmark -s`: fill, and seconds of processor time, of 512 rectangles."""
    for seed in range(5):
        sizes = box_of_512(seed)
        begun = time.process_time()
        packing = pack(sizes, padding=2)
        took = time.process_time() - begun
        width, height = packing.pages[0]
        covered = sum((wide + 2) * (high + 2) for wide, high in sizes)
        print(f"{width}x{height}: {covered / ((width + 2) * (height + 2)):.4f}, {took:.2f} s")
