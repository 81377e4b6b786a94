"""How far two pictures are apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..runs.looking import look


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The worst of some pairs of pictures."""

    # peak signal-to-noise ratio of the worst pair; None where all pairs are equal
    db: float | None
    # largest difference of any channel of any pixel, of 255
    largest: int

    def to_json(self) -> dict[str, Any]:
        """Shape for files; rounded to 0.01 dB."""
        return {"db": None if self.db is None else round(self.db, 2), "largest": self.largest}


def difference(ours: Sequence[bytes], theirs: Sequence[bytes]) -> Difference | None:
    """Compare pictures pair by pair; None where they are not as many or not as large."""
    import numpy as np

    if len(ours) != len(theirs) or not ours:
        return None
    worst, largest = math.inf, 0
    for one, other in zip(ours, theirs, strict=True):
        a, b = _pixels(one), _pixels(other)
        if a.shape != b.shape:
            return None
        apart = a - b
        largest = max(largest, int(np.abs(apart).max()))
        mean = float((apart**2).mean())
        if mean > 0:
            worst = min(worst, 10 * math.log10(255**2 / mean))
    return Difference(db=None if math.isinf(worst) else worst, largest=largest)


def _pixels(content: bytes) -> Any:
    import numpy as np

    picture = look(content).image
    mode = "RGBA" if picture.mode in ("RGBA", "LA", "PA") else "RGB"
    return np.asarray(picture.convert(mode), dtype=np.float64)
