"""Taking measures: of pictures, of frames, of sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..arrays import Bytes
from .catalogue import MEASURES
from .measure import NOTHING_ASKED, Asked, Measure, Mend, Of
from .subject import Subject


@dataclass(frozen=True)
class Reading:
    """What a measure gave; a value of None says that it does not apply."""

    measure: Measure
    value: float | None

    @property
    def passed(self) -> bool:
        """Whether the value is within the measure's bounds, or there is none."""
        return self.measure.allows(self.value)

    def with_colours(self, most: int | None) -> Reading:
        """The same, with as many colours as there may be; other measures stay as they are."""
        if most is None or self.measure.name != "colours":
            return self
        many = self.value is not None and self.value > most
        mend = Mend.PALETTE if many else self.measure.mend
        return replace(self, measure=replace(self.measure, maximum=most, mend=mend))

    @property
    def bound(self) -> str:
        """The measure's bounds, for people: "at most 1"."""
        low, high = self.measure.minimum, self.measure.maximum
        parts = [] if low is None else [f"at least {low:g}"]
        return " and ".join(parts if high is None else [*parts, f"at most {high:g}"])

    def to_json(self) -> dict[str, Any]:
        """Shape for programs; bounds that there are, and null for a value that does not apply."""
        bounds = {"min": self.measure.minimum, "max": self.measure.maximum}
        return {
            "name": self.measure.name,
            "value": None if self.value is None else round(self.value, 4),
            "passed": self.passed,
            **{name: bound for name, bound in bounds.items() if bound is not None},
        }


def of_picture(picture: Bytes, asked: Asked = NOTHING_ASKED) -> list[Reading]:
    """All measures of one picture, uint8 [H, W, 3 or 4], for which nothing more need be said.

    Raises BadInput for what is no picture, and for cells or guides that do not fit in it.
    """
    subject = Subject(picture, asked)
    return [
        Reading(one, one.function(subject))
        for one in MEASURES.values()
        if one.of is Of.PICTURE and asked.has(one.needs)
    ]


def of_frames(frames: Sequence[Bytes]) -> list[Reading]:
    """All measures of the frames of one animation, in their order. Raises BadInput."""
    subjects = [Subject(frame) for frame in frames]
    return [
        Reading(one, one.function(subjects)) for one in MEASURES.values() if one.of is Of.FRAMES
    ]


def of_sets(sets: Sequence[Sequence[Bytes]]) -> list[Reading]:
    """All measures of several animations of one thing. Raises BadInput."""
    subjects = [[Subject(frame) for frame in frames] for frames in sets]
    return [Reading(one, one.function(subjects)) for one in MEASURES.values() if one.of is Of.SETS]
