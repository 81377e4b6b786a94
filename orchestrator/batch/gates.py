"""Gates: what a picture must measure up to before it counts as done.

A *measure* is a named function of a picture that gives a number; a gate bounds it. A new one is a
function with `@measure(...)` over it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ..errors import InputError, ResultWrong
from ..runs.looking import look
from .jobs import Gate

if TYPE_CHECKING:
    import numpy as np

# alpha from which a pixel counts as there
_VISIBLE = 128
# The gate that compares a picture with the others of its batch.
DUPLICATE = "duplicate"
# The gate that demands a picture's graph; what is measured is also kept where a picture has none.
GRAPH = "graph"
# Beside what is measured: bytes that came behind the end of a picture, and were cut off.
CUT = "cut"
# of 255, by which two pixels may differ and still look the same
_ALIKE = 8


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture as gates see it."""

    # uint8 [height, width, 4], red, green, blue, alpha
    rgba: np.ndarray
    # pictures that stay, earlier in the manifest, with exactly these pixels
    twins: int = 0
    # whether the file carries the graph that was sent
    has_graph: bool = False


Function: TypeAlias = Callable[[Picture], float]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A number that can be taken of a picture, and the bounds that a gate has by itself."""

    name: str
    # what the number is, for people
    about: str
    function: Function
    minimum: float | None
    maximum: float | None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a gate said."""

    gate: Gate
    value: float
    passed: bool

    def __str__(self) -> str:
        if self.passed:
            return f"{self.gate.name} is {self.value:g}"
        low, value = self.gate.minimum, self.value
        if low is not None and low == self.gate.maximum:
            return f"{self.gate.name} is {value:g}, and must be {low:g}"
        if low is not None and not value >= low:
            return f"{self.gate.name} is {value:g}, and must be at least {low:g}"
        return f"{self.gate.name} is {value:g}, and must be at most {self.gate.maximum:g}"


MEASURES: dict[str, Measure] = {}


def measure(
    name: str, about: str, *, minimum: float | None = None, maximum: float | None = None
) -> Callable[[Function], Function]:
    """Make a function known as a measure; the bounds are those of a gate that gives none."""

    def enter(function: Function) -> Function:
        MEASURES[name] = Measure(
            name=name, about=about, function=function, minimum=minimum, maximum=maximum
        )
        return function

    return enter


def gate(name: str, minimum: float | None = None, maximum: float | None = None) -> Gate:
    """A gate with these bounds, or with the measure's own where both are None."""
    if minimum is None and maximum is None:
        minimum, maximum = MEASURES[name].minimum, MEASURES[name].maximum
    return Gate(name=name, minimum=minimum, maximum=maximum)


def judge(picture: Picture, gates: Iterable[Gate]) -> list[Verdict]:
    """What each gate says of a picture. A value that is no number passes no gate."""
    verdicts = []
    for one in gates:
        value = float(MEASURES[one.name].function(picture))
        passed = (one.minimum is None or value >= one.minimum) and (
            one.maximum is None or value <= one.maximum
        )
        verdicts.append(Verdict(gate=one, value=value, passed=passed))
    return verdicts


def takes_any_graph(gates: Iterable[Gate]) -> bool:
    """Whether pictures may carry another graph than the one that was sent: the gate asks for 0."""
    return any(one.name == GRAPH and one.minimum == 0 for one in gates)


def read_picture(path: Path) -> Picture:
    """Read a picture file; raises InputError where it is none or is cut off."""
    try:
        found = look(path)
        # Whether it is the one that was sent was seen when it came.
        return Picture(rgba=found.rgba, has_graph=found.graph is not None)
    except (OSError, ResultWrong) as error:
        raise InputError(f"{path} is not a picture that can be read ({error})") from error


def pixels_sha256(picture: Picture) -> str:
    """SHA-256 over width, height and RGBA pixels: what `Artifact.pixels_sha256` holds."""
    height, width = picture.rgba.shape[:2]
    digest = hashlib.sha256(f"{width}x{height}:".encode())
    digest.update(picture.rgba.tobytes())
    return digest.hexdigest()


@measure(GRAPH, "1 where the picture carries the graph that was sent, 0 where not", minimum=1)
def _graph(picture: Picture) -> float:
    return picture.has_graph


@measure("width", "width in pixels")
def _width(picture: Picture) -> float:
    return float(picture.rgba.shape[1])


@measure("height", "height in pixels")
def _height(picture: Picture) -> float:
    return float(picture.rgba.shape[0])


@measure("opaque", "share of pixels that are there (alpha 128 or more), 0 to 1", minimum=0.01)
def _opaque(picture: Picture) -> float:
    return float((picture.rgba[..., 3] >= _VISIBLE).mean())


@measure("colours", "number of different colours among the pixels that are there", minimum=2)
def _colours(picture: Picture) -> float:
    import numpy as np

    seen = picture.rgba[picture.rgba[..., 3] >= _VISIBLE][:, :3].astype(np.uint32)
    return len(np.unique(seen[:, 0] << 16 | seen[:, 1] << 8 | seen[:, 2]))


@measure(
    "blank",
    "share of pixels that look like the median pixel (within 8 of 255), 0 to 1",
    maximum=0.995,
)
def _blank(picture: Picture) -> float:
    import numpy as np

    # Pixels that are not there look the same, whatever colour they hide.
    colour = picture.rgba.astype(np.int16)
    colour[colour[..., 3] < _VISIBLE] = 0
    middle = np.median(colour.reshape(-1, 4), axis=0)
    return float((np.abs(colour - middle) <= _ALIKE).all(axis=-1).mean())


@measure(DUPLICATE, "pictures earlier in the manifest with exactly the same pixels", maximum=0)
def _duplicate(picture: Picture) -> float:
    return picture.twins
