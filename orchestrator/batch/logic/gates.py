"""Gates: what a picture must measure up to before it counts as done.

A *measure* is a named function of a picture that gives a number, or None where it does not apply; a
gate bounds it. What can be measured in the pixels alone is in `comfy_nodes.ops.measures`, here is
what else a batch knows of a picture.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

from comfy_nodes.ops.measures.catalogue import MEASURES as OF_PIXELS
from comfy_nodes.ops.measures.measure import Asked, Needs, Of, within
from comfy_nodes.ops.measures.measure import Measure as OfPixels

from .jobs import Gate

if TYPE_CHECKING:
    import numpy as np

    from comfy_nodes.ops.measures.subject import Subject

# The gate that compares a picture with the others of its batch.
DUPLICATE = "duplicate"
# The gate that demands a picture's graph; what is measured is also kept where a picture has none.
GRAPH = "graph"
# Beside what is measured: bytes that came behind the end of a picture, and were cut off.
CUT = "cut"


@dataclass(frozen=True, kw_only=True)
class JudgedPicture:
    """A picture as gates see it."""

    # uint8 [height, width, 4], red, green, blue, alpha
    rgba: np.ndarray
    # pictures that stay, earlier in the manifest, with exactly these pixels
    twins: int = 0
    # whether the file carries the graph that was sent
    has_graph: bool = False

    @cached_property
    def subject(self) -> Subject:
        """Its pixels as the measures see them; what several gates need is worked out once."""
        from comfy_nodes.ops.measures.subject import Subject

        # Who names a gate for tiles makes tiles.
        return Subject(self.rgba, Asked(tile=True))


Function: TypeAlias = Callable[[JudgedPicture], float | None]


@dataclass(frozen=True, kw_only=True)
class GateMeasure:
    """A number that can be taken of a picture, and the bounds that a gate has by itself."""

    name: str
    # what the number is, for people
    about: str
    function: Function
    minimum: float | None
    maximum: float | None


@dataclass(frozen=True, kw_only=True)
class GateVerdict:
    """What a gate said."""

    gate: Gate
    # None where the measure does not apply, which passes
    value: float | None
    passed: bool

    def __str__(self) -> str:
        if self.value is None:
            return f"{self.gate.name} does not apply"
        if self.passed:
            return f"{self.gate.name} is {self.value:g}"
        low, value = self.gate.minimum, self.value
        if low is not None and low == self.gate.maximum:
            return f"{self.gate.name} is {value:g}, and must be {low:g}"
        if low is not None and not value >= low:
            return f"{self.gate.name} is {value:g}, and must be at least {low:g}"
        return f"{self.gate.name} is {value:g}, and must be at most {self.gate.maximum:g}"


MEASURES: dict[str, GateMeasure] = {}


def measure(
    name: str, about: str, *, minimum: float | None = None, maximum: float | None = None
) -> Callable[[Function], Function]:
    """Make a function known as a measure; the bounds are those of a gate that gives none."""

    def enter(function: Function) -> Function:
        MEASURES[name] = GateMeasure(
            name=name, about=about, function=function, minimum=minimum, maximum=maximum
        )
        return function

    return enter


def gate(name: str, minimum: float | None = None, maximum: float | None = None) -> Gate:
    """A gate with these bounds, or with the measure's own where both are None."""
    if minimum is None and maximum is None:
        minimum, maximum = MEASURES[name].minimum, MEASURES[name].maximum
    return Gate(name=name, minimum=minimum, maximum=maximum)


def judge(picture: JudgedPicture, gates: Iterable[Gate]) -> list[GateVerdict]:
    """What each gate says of a picture. A value that is no number passes no gate."""
    return [_verdict(picture, one) for one in gates]


def _verdict(picture: JudgedPicture, gate: Gate) -> GateVerdict:
    value = MEASURES[gate.name].function(picture)
    return GateVerdict(
        gate=gate,
        value=None if value is None else float(value),
        passed=within(value, gate.minimum, gate.maximum),
    )


def takes_any_graph(gates: Iterable[Gate]) -> bool:
    """Whether pictures may carry another graph than the one that was sent: the gate asks for 0."""
    return any(one.name == GRAPH and one.minimum == 0 for one in gates)


def pixels_sha256(picture: JudgedPicture) -> str:
    """SHA-256 over width, height and RGBA pixels: what `Artifact.pixels_sha256` holds."""
    height, width = picture.rgba.shape[:2]
    digest = hashlib.sha256(f"{width}x{height}:".encode())
    digest.update(picture.rgba.tobytes())
    return digest.hexdigest()


@measure(GRAPH, "1 where the picture carries the graph that was sent, 0 where not", minimum=1)
def _graph(picture: JudgedPicture) -> float:
    return picture.has_graph


@measure(DUPLICATE, "pictures earlier in the manifest with exactly the same pixels", maximum=0)
def _duplicate(picture: JudgedPicture) -> float:
    return picture.twins


def _enter(one: OfPixels) -> None:
    """A measure of pixels as a gate, where a name says all that it needs."""
    if one.of is Of.PICTURE and one.needs in (Needs.NOTHING, Needs.TILE):
        enter = measure(one.name, one.about, minimum=one.minimum, maximum=one.maximum)
        enter(lambda picture: one.function(picture.subject))


for _one in OF_PIXELS.values():
    _enter(_one)
