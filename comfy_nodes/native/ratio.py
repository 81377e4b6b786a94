"""Widths that are no whole multiple of the first one."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction


class _Ratio:
    """A factor such as 3/2 whose product with a fitting whole number is a whole number.

    ComfyUI's networks compute a level's channels as factor times the first level's and pass the
    product to PyTorch, which wants an int.
    """

    def __init__(self, value: Fraction) -> None:
        self._value = value

    def __mul__(self, other: int) -> int:
        return int(self._value * other)

    __rmul__ = __mul__


def multipliers(channels: Sequence[int]) -> list[int | _Ratio]:
    """Each level's channels as a factor of the first level's: ints wherever possible."""
    ratios = [Fraction(width, channels[0]) for width in channels]
    return [int(ratio) if ratio.denominator == 1 else _Ratio(ratio) for ratio in ratios]
