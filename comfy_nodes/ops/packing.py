"""Rectangles packed into as little area as possible, turned only where that is asked for.

A strip of fixed width is filled from its lowest place on: of the rectangles that fit there the
highest goes in, one that fills the place or ends level with its neighbours first; where none fits,
the place is lost (E. Burke, G. Kendall, G. Whitwell, "A new placement heuristic for the orthogonal
stock-cutting problem", 2004, with heights in place of widths for the order). One strip of 512
rectangles takes 15 ms, so many widths are tried and the smallest area is kept. Where rectangles may
be turned, both ways of each are candidates.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

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
    # by 90 degrees: it takes its height in width, and its width in height
    turned: bool = False


@dataclass(frozen=True)
class Packing:
    """Where each rectangle is, in the order given, and the size of each page."""

    spots: tuple[Spot, ...]
    pages: tuple[Size, ...]


def pack(
    sizes: Sequence[Size],
    *,
    padding: int = 0,
    largest: int = 4096,
    power_of_two: bool = False,
    turn: bool = False,
    names: Sequence[str] = (),
) -> Packing:
    """Pack rectangles of these sizes, at least `padding` px apart, on as few pages as found.

    A page is at most `largest` px wide and high, and no larger than its rectangles need; with
    `power_of_two` its sides are powers of two. With `turn` a rectangle may be turned by 90 degrees,
    where all take less room so. `names` are what an error calls the rectangles. Raises BadInput for
    a rectangle that no page can hold.
    """
    _check(sizes, padding, largest)
    limit = _largest_power(largest) if power_of_two else largest
    for index, (width, height) in enumerate(sizes):
        if max(width, height) > limit:
            what = f"Frame {names[index]}" if names else "A frame"
            raise BadInput(
                f"{what} of {width}x{height} does not fit on a page of {limit}x{limit}; the "
                f"largest page that can be had is {LARGEST}x{LARGEST}."
            )
    # With the padding at each rectangle's right and below it, a page ends where the next would be.
    rest = {
        index: (width + padding, height + padding) for index, (width, height) in enumerate(sizes)
    }
    spots: dict[int, Spot] = {}
    pages: list[Size] = []
    while rest:
        page = _page(rest, padding, limit, power_of_two, turn)
        width, height = _extent(page)
        size = width - padding, height - padding
        if power_of_two:
            size = _power(size[0]), _power(size[1])
        spots |= {index: Spot(len(pages), at.x, at.y, at.turned) for index, at in page.items()}
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


_Sizes = dict[int, Size]


@dataclass(frozen=True)
class _Box:
    """A rectangle as it is to be put on a page, or was put there."""

    index: int
    width: int
    height: int
    turned: bool
    x: int = 0
    y: int = 0


_Places = dict[int, _Box]


def _page(sizes: _Sizes, padding: int, limit: int, power_of_two: bool, turn: bool) -> _Places:
    """The smallest page with all of them that is found, else one that is full.

    Turning is a gain on the whole, not for each set: what is not turned is tried, too.
    """
    ways = [_boxes(sizes, turned=False)]
    if turn:
        ways.append([*ways[0], *_boxes(sizes, turned=True)])
    found = [_smallest(boxes, padding, limit, power_of_two) for boxes in ways]
    whole = [page for page in found if page is not None]
    if whole:
        return min(whole, key=lambda page: _score(page, padding, power_of_two))
    full = [_fill(boxes, limit + padding, limit + padding) for boxes in ways]
    return max(full, key=lambda page: sum(at.width * at.height for at in page.values()))


def _boxes(sizes: _Sizes, turned: bool) -> list[_Box]:
    if not turned:
        return [_Box(index, wide, high, False) for index, (wide, high) in sizes.items()]
    return [_Box(index, high, wide, True) for index, (wide, high) in sizes.items() if wide != high]


def _smallest(
    boxes: Sequence[_Box], padding: int, limit: int, power_of_two: bool
) -> _Places | None:
    """The packing of all of them on the smallest page that is found; None where none is."""
    count = len({box.index for box in boxes})
    tried = (
        _fill(boxes, width, limit + padding)
        for width in _widths(boxes, count, padding, limit, power_of_two)
    )
    whole = [places for places in tried if len(places) == count]
    return min(whole, key=lambda page: _score(page, padding, power_of_two), default=None)


def _score(places: _Places, padding: int, power_of_two: bool) -> float:
    """The area of a page, and more for one that is far from a square."""
    across, down = _extent(places)
    if power_of_two:
        across, down = _power(across - padding), _power(down - padding)
    # a page of two squares may be 5% smaller than a square one, and still not be taken
    return across * down * (1 + 0.05 * (max(across, down) / min(across, down) - 1))


def _widths(
    boxes: Sequence[_Box], count: int, padding: int, limit: int, power_of_two: bool
) -> Iterable[int]:
    """Widths to try, padding included: around the square's, and whole rows of the widest."""
    least: dict[int, int] = {}
    for box in boxes:
        least[box.index] = min(box.width, least.get(box.index, box.width))
    area = sum(box.width * box.height for box in boxes if not box.turned)
    widest = max(least.values())
    top = limit + padding
    if power_of_two:
        powers = (2**exponent + padding for exponent in range(limit.bit_length()))
        return [width for width in powers if widest <= width <= top]
    side = math.sqrt(area)
    # few where one takes long, and more where chance decides more
    tries = max(6, min(96, 4096 // count))
    around = [round(side * (0.7 + 0.75 * step / tries)) for step in range(tries + 1)]
    in_rows = [widest * times for times in range(1, count + 1)]
    near = [width for width in in_rows if side / 2 <= width <= side * 2]
    near = near[:: max(1, len(near) // tries)]
    found = {min(max(width, widest), top) for width in (*around, *near)}
    return sorted(found | {top} if side > 0.6 * top else found)


def _fill(boxes: Sequence[_Box], width: int, height: int) -> _Places:
    """Places in a page of that width and at most that height; without those that do not fit."""
    left = sorted(boxes, key=lambda box: (-box.height, -box.width, box.index, box.turned))
    line = _Skyline(width)
    places: _Places = {}
    both = any(box.turned for box in boxes)
    while left:
        at = line.lowest()
        chosen = line.best(at, left, height)
        if chosen is None:
            if not line.lose(at):
                break
            continue
        box = left.pop(chosen)
        if both:
            left = [other for other in left if other.index != box.index]
        x, y = line.put(at, box)
        places[box.index] = replace(box, x=x, y=y)
    return places


class _Skyline:
    """The upper edge of what is packed by now, as steps from left to right."""

    def __init__(self, width: int) -> None:
        self.x, self.y, self.width = [0], [0], [width]

    def lowest(self) -> int:
        return self.y.index(min(self.y))

    def best(self, at: int, left: Sequence[_Box], height: int) -> int | None:
        """Which of `left`, highest first, goes on the lowest step; None where none fits."""
        floor, room = self.y[at], self.width[at]
        before, after = self._walls(at)
        best, most = None, -1
        for position, box in enumerate(left):
            wide, high = box.width, box.height
            if wide > room or floor + high > height:
                continue
            fills = wide == room
            points = (
                4 * fills + 2 * (floor + high == before) + 2 * (fills and floor + high == after)
            )
            if points > most:
                best, most = position, points
        return best

    def put(self, at: int, box: _Box) -> tuple[int, int]:
        """Put a rectangle on the left of a step; its place."""
        wide, high = box.width, box.height
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


def _extent(places: _Places) -> Size:
    return (
        max(at.x + at.width for at in places.values()),
        max(at.y + at.height for at in places.values()),
    )


def _power(side: int) -> int:
    """The smallest power of two from `side` on."""
    return 1 << (side - 1).bit_length()


def _largest_power(side: int) -> int:
    return 1 << (side.bit_length() - 1)
