"""Jobs that go to a server as one graph, and how that is made easier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from .jobs import Attempt, Job
from .retry import Degradation

_AS_IS = Degradation()
_NAMES = tuple(field.name for field in fields(Degradation))


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """Jobs that go to a server as one graph, written down as an attempt."""

    attempt: Attempt
    # in the order of their pictures
    jobs: tuple[Job, ...]
    degradation: Degradation = _AS_IS

    @property
    def label(self) -> str:
        """The jobs, for a message."""
        more = len(self.jobs) - 1
        return f"{self.jobs[0].name}{f' and {more} more' if more else ''}"


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """A picture that did not pass a gate."""

    key: str
    reason: str


def packed(degradation: Degradation) -> dict[str, Any]:
    """What an attempt keeps of how it was made easier."""
    return {name: value for name in _NAMES if (value := getattr(degradation, name))}


def unpacked(values: Mapping[str, Any]) -> Degradation:
    """The same back from what an attempt keeps."""
    return Degradation(**{name: values[name] for name in _NAMES if name in values})
