"""How long a server may stay silent before it counts as frozen, learnt from its own jobs. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PaceBounds:
    """Bounds in s."""

    # before a job has ended on the server: it loads a model, perhaps from a slow disk
    first: float = 900.0
    # however fast its jobs are
    least: float = 60.0
    # times the longest job that ended well
    factor: float = 4.0


# Of a job's time, and in s at most, by which what the server says of it may be heard late.
_LATE, _LATEST = 0.05, 0.05
# Jobs below so many s follow on each other so fast that their pictures come home together.
_BRISK = 0.2


class Pace:
    """Watches one server's signs of progress. Times are in s on one monotonic clock."""

    def __init__(self, patience: PaceBounds) -> None:
        self._patience = patience
        # s that the last job took
        self._last: float | None = None
        self._longest = 0.0
        self._sign = 0.0
        self._model: str | None = None

    @property
    def bound(self) -> float:
        """The silence in s that is still in order."""
        if not self._longest:
            return self._patience.first
        return max(self._patience.least, self._patience.factor * self._longest)

    def began(self, now: float, model: str = "") -> None:
        """A job is waited for; another model than the last one's has to be loaded first."""
        if model != self._model:
            self._model, self._longest = model, 0.0
        self._sign = now

    def sign(self, now: float) -> None:
        """The server said or did something."""
        self._sign = now

    def ended(self, seconds: float) -> None:
        """A job ended well, `seconds` after the server could begin it."""
        self._longest = max(self._longest, seconds)
        self._last = seconds

    @property
    def gather(self) -> float:
        """How late, in s, news of the next job may be heard: a small part of what jobs take."""
        return 0.0 if self._last is None else min(_LATEST, _LATE * self._last)

    @property
    def is_brisk(self) -> bool:
        """Say whether jobs end so fast after each other that several pictures can go together."""
        return self._last is not None and self._last < _BRISK

    def is_overdue(self, now: float) -> bool:
        """Say whether the server has been silent for longer than it ever had reason to."""
        return now - self._sign > self.bound

    def silence(self, now: float) -> float:
        """Seconds since the last sign."""
        return now - self._sign
