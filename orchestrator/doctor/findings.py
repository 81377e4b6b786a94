"""What is found out about a machine, one thing at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any


class FindingState(Enum):
    """How a thing stands."""

    # there, and as it should be
    FINE = "ok"
    # not there, and nobody said that it is needed
    ABSENT = "absent"
    # not as it should be, and something will be slower, or run out
    POOR = "poor"
    # asked for and not there, or broken
    MISSING = "missing"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing."""

    # such as "torch" or "database"
    name: str
    state: FindingState
    # what was found
    text: str
    # what it would take; "" where nothing is to be done
    remedy: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "state": self.state.value,
            "text": self.text,
            "remedy": self.remedy,
        }


def is_well(findings: Iterable[Finding]) -> bool:
    """Whether nothing is missing that was asked for."""
    return all(one.state is not FindingState.MISSING for one in findings)


def absent(name: str, text: str, remedy: str, *, asked: bool) -> Finding:
    """What is not there; missing where it was asked for."""
    state = FindingState.MISSING if asked else FindingState.ABSENT
    return Finding(name=name, state=state, text=text, remedy=remedy)
