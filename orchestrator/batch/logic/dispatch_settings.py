"""How the jobs of a run are handed out."""

from __future__ import annotations

from dataclasses import dataclass, field

from .retry import RetryLimits
from .scheduler import Rules


@dataclass(frozen=True, kw_only=True)
class DispatchSettings:
    """How jobs are handed out."""

    rules: Rules = field(default_factory=Rules)
    limits: RetryLimits = field(default_factory=RetryLimits)
    # pictures in one graph, where jobs differ in nothing but the seed
    batch_size: int = 1
    # the name under which attempts are claimed
    owner: str = ""
    # s for which an attempt is held, to be renewed (`leases.Renewal`); None where nobody else works
    # on the record
    lease: float | None = None
    # whether more jobs may come at any time, so that it is over only when it is stopped
    endless: bool = False

    @property
    def is_shared(self) -> bool:
        """Whether others may work on the record, or put something into it."""
        return self.endless or self.lease is not None
