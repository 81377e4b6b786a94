"""Rectangles packed into as little area as possible, never turned.

A strip of fixed width is filled from its lowest place on: of the rectangles that fit there the
highest goes in, one that fills the place or ends level with its neighbours first; where none fits,
the place is lost (E. Burke, G. Kendall, G. Whitwell, "A new placement heuristic for the orthogonal
stock-cutting problem", 2004, with heights in place of widths for the order). One strip of 512
rectangles takes 15 ms, so many widths are tried and the smallest area is kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..errors import BadInput

Size = tuple[int, int]
"""Width and height in px."""

MOST = 16_384
"""Most rectangles of one packing: the time grows with their square."""

LARGEST = 16_384
"""Longest side of a page, in px: what most graphics cards can hold as a texture."""


@dataclass(frozen=True)
class Spot:
    """Where a rectangle's top left corner is: which page, from 0, and px."""

    page: int
    x: int
    y: int


@dataclass(frozen=True)
class Packing:
    """Where each rectangle is, in the order given, and the size of each page."""

    spots: tuple[Spot, ...]
    pages: tuple[Size, ...]


def pack(
    sizes: Sequence[Size], *, padding: int = 0, largest: int = 4096, power_of_two: bool = False
) -> Packing:
    """Pack rectangles of these sizes, at least `padding` px apart, on as few pages as found.

    A page is at most `largest` px wide and high, and no larger than its rectangles need; with
    `power_of_two` its sides are powers of two. Raises BadInput for a rectangle that no page can
    hold.
    """
    _check(sizes, padding, largest)
    limit = _largest_power(largest) if power_of_two else largest
    for width, height in sizes:
        if max(width, height) > limit:
            raise BadInput(
                f"A frame of {width}x{height} does not fit on a page of {limit}x{limit}."
            )
    # With the padding at each rectangle's right and below it, a page ends where the next would be.
    rest = {
        index: (width + padding, height + padding) for index, (width, height) in enumerate(sizes)
    }
    spots: dict[int, Spot] = {}
    pages: list[Size] = []
    while rest:
        page = _smallest(rest, padding, limit, power_of_two)
        if page is None:
            page = _fill(rest, limit + padding, limit + padding)
        width, height = _extent(page, rest)
        size = width - padding, height - padding
        if power_of_two:
            size = _power(size[0]), _power(size[1])
        spots |= {index: Spot(len(pages), x, y) for index, (x, y) in page.items()}
        pages.append(size)
        rest = {index: size for index, size in rest.items() if index not in page}
    return Packing(tuple(spots[index] for index in range(len(sizes))), tuple(pages))


def rows(
    count: int, cell: Size, columns: int, *, padding: int = 0, largest: int = LARGEST
) -> Packing:
    """A grid of equal cells, row by row, `padding` px apart, on one page.

    Raises BadInput where the page would be larger than `largest`.
    """
    _check([cell] * min(count, 1), padding, largest)
    if not 1 <= columns <= MOST or count > MOST:
        raise BadInput(f"A grid has 1 to {MOST} columns and frames, not {columns} and {count}.")
    across, down = min(columns, count), -(-count // columns)
    step_x, step_y = cell[0] + padding, cell[1] + padding
    page = across * step_x - padding, down * step_y - padding
    if max(page) > largest:
        raise BadInput(
            f"{count} cells of {cell[0]}x{cell[1]} in {across} columns are {page[0]}x{page[1]}; a "
            f"page is at most {largest}x{largest}."
        )
    spots = (Spot(0, index % columns * step_x, index // columns * step_y) for index in range(count))
    return Packing(tuple(spots), (page,))


def _check(sizes: Sequence[Size], padding: int, largest: int) -> None:
    if not 1 <= len(sizes) <= MOST:
        raise BadInput(f"A sheet has 1 to {MOST} frames, not {len(sizes)}.")
    if not 0 <= padding <= 256:
        raise BadInput(f"The padding is 0 to 256 px, not {padding}.")
    if not 1 <= largest <= LARGEST:
        raise BadInput(f"The largest page is 1 to {LARGEST} px wide and high, not {largest}.")
    if min(min(size) for size in sizes) < 1:
        raise BadInput("A frame is at least one pixel wide and high.")


_Places = dict[int, tuple[int, int]]
_Sizes = dict[int, Size]


def _smallest(sizes: _Sizes, padding: int, limit: int, power_of_two: bool) -> _Places | None:
    """The packing of all of them on the smallest page that is found; None where none is."""
    best: tuple[float, _Places] | None = None
    for width in _widths(sizes, padding, limit, power_of_two):
        places = _fill(sizes, width, limit + padding)
        if len(places) < len(sizes):
            continue
        across, down = _extent(places, sizes)
        if power_of_two:
            across, down = _power(across - padding), _power(down - padding)
        # a page of two squares may be 5% smaller than a square one, and still not be taken
        score = across * down * (1 + 0.05 * (max(across, down) / min(across, down) - 1))
        if best is None or score < best[0]:
            best = score, places
    return None if best is None else best[1]


def _widths(sizes: _Sizes, padding: int, limit: int, power_of_two: bool) -> Iterable[int]:
    """Widths to try, padding included: around the square's, and whole rows of the widest."""
    area = sum(width * height for width, height in sizes.values())
    widest = max(width for width, _ in sizes.values())
    top = limit + padding
    if power_of_two:
        powers = (2**exponent + padding for exponent in range(limit.bit_length()))
        return [width for width in powers if widest <= width <= top]
    side = math.sqrt(area)
    # few where one takes long, and more where chance decides more
    tries = max(6, min(96, 4096 // len(sizes)))
    around = [round(side * (0.7 + 0.75 * step / tries)) for step in range(tries + 1)]
    in_rows = [widest * count for count in range(1, len(sizes) + 1)]
    near = [width for width in in_rows if side / 2 <= width <= side * 2]
    near = near[:: max(1, len(near) // tries)]
    found = {min(max(width, widest), top) for width in (*around, *near)}
    return sorted(found | {top} if side > 0.6 * top else found)


def _fill(sizes: _Sizes, width: int, height: int) -> _Places:
    """Places in a page of that width and at most that height; without those that do not fit."""
    left = sorted(sizes, key=lambda index: (-sizes[index][1], -sizes[index][0], index))
    line = _Skyline(width)
    places: _Places = {}
    while left:
        at = line.lowest()
        chosen = line.best(at, left, sizes, height)
        if chosen is None:
            if not line.lose(at):
                break
            continue
        index = left.pop(chosen)
        places[index] = line.put(at, sizes[index])
    return places


class _Skyline:
    """The upper edge of what is packed by now, as steps from left to right."""

    def __init__(self, width: int) -> None:
        self.x, self.y, self.width = [0], [0], [width]

    def lowest(self) -> int:
        return self.y.index(min(self.y))

    def best(self, at: int, left: Sequence[int], sizes: _Sizes, height: int) -> int | None:
        """Which of `left`, highest first, goes on the lowest step; None where none fits."""
        floor, room = self.y[at], self.width[at]
        before, after = self._walls(at)
        best, most = None, -1
        for position, index in enumerate(left):
            wide, high = sizes[index]
            if wide > room or floor + high > height:
                continue
            fills = wide == room
            points = (
                4 * fills + 2 * (floor + high == before) + 2 * (fills and floor + high == after)
            )
            if points > most:
                best, most = position, points
        return best

    def put(self, at: int, size: Size) -> tuple[int, int]:
        """Put a rectangle on the left of a step; its place."""
        wide, high = size
        x, y = self.x[at], self.y[at]
        if wide == self.width[at]:
            self.y[at] = y + high
        else:
            self.x[at] += wide
            self.width[at] -= wide
            for steps, value in ((self.x, x), (self.y, y + high), (self.width, wide)):
                steps.insert(at, value)
        self._join(at)
        return x, y

    def lose(self, at: int) -> bool:
        """Raise a step to its lower neighbour; False where it has none."""
        if len(self.y) == 1:
            return False
        self.y[at] = min(wall for wall in self._walls(at) if wall >= 0)
        self._join(at)
        return True

    def _walls(self, at: int) -> tuple[int, int]:
        """How high the steps before and after are; -1 where the page ends."""
        before = self.y[at - 1] if at else -1
        after = self.y[at + 1] if at + 1 < len(self.y) else -1
        return before, after

    def _join(self, at: int) -> None:
        """Make one step of this and its neighbours on one level."""
        for left in (at, at - 1):
            if 0 <= left < len(self.y) - 1 and self.y[left] == self.y[left + 1]:
                self.width[left] += self.width[left + 1]
                del self.x[left + 1], self.y[left + 1], self.width[left + 1]


def _extent(places: _Places, sizes: _Sizes) -> Size:
    return (
        max(x + sizes[index][0] for index, (x, _) in places.items()),
        max(y + sizes[index][1] for index, (_, y) in places.items()),
    )


def _power(side: int) -> int:
    """The smallest power of two from `side` on."""
    return 1 << (side - 1).bit_length()


def _largest_power(side: int) -> int:
    return 1 << (side.bit_length() - 1)
