"""How long, as people write it: 90s, 10m, 1.5h."""

from __future__ import annotations

import math
import re

from ..errors import BadValue

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_WRITTEN = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)", re.ASCII)


def seconds_in(text: str, option: str) -> float:
    """A time in s, more than 0; raises BadValue, which names the option."""
    found = _WRITTEN.fullmatch(text.strip().lower())
    seconds = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if not 0.0 < seconds < math.inf:
        raise BadValue(f"{option} {text}: write a time as 90s, 10m or 2h")
    return seconds
