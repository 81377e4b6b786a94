"""How long a server may stay silent before it counts as frozen, learnt from its own jobs. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Patience:
    """Bounds in s."""

    # before a job has ended on the server: it loads a model, perhaps from a slow disk
    first: float = 900.0
    # however fast its jobs are
    least: float = 60.0
    # times the longest job that ended well
    factor: float = 4.0


class Pace:
    """Watches one server's signs of progress. Times are in s on one monotonic clock."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
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

    def is_overdue(self, now: float) -> bool:
        """Say whether the server has been silent for longer than it ever had reason to."""
        return now - self._sign > self.bound

    def silence(self, now: float) -> float:
        """Seconds since the last sign."""
        return now - self._sign
