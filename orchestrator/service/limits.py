"""What a key may ask for: how much at once, how often, how large."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any

from ..errors import BadValue, LimitReached

# Buckets that are full say nothing and are dropped once there are more than this.
_MOST_BUCKETS = 1024
# s after which a client with a full queue may ask again; how long its jobs take is not known here
_QUEUE_PAUSE = 5.0


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The most that a key may ask for; None is no limit."""

    # jobs that wait at one time
    queue: int | None = None
    # requests a minute; as many may come at once
    rate: int | None = None
    # px of a picture
    width: int | None = None
    height: int | None = None
    # of one job
    steps: int | None = None
    batch_size: int | None = None

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is not None and (type(value) is not int or value < 1):
                raise BadValue(f"the limit {name} is {value!r}; give a whole number from 1 on")

    @classmethod
    def of(cls, data: dict[str, Any]) -> Limits:
        """Limits from what `to_json` gave; names of a newer version are left out."""
        known = {one.name for one in fields(cls)}
        return cls(**{name: value for name, value in data.items() if name in known})

    def to_json(self) -> dict[str, int]:
        """The limits that there are, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def check_size(
        self,
        *,
        width: int | None = None,
        height: int | None = None,
        steps: int | None = None,
        batch_size: int | None = None,
    ) -> None:
        """Raise BadValue where a job asks for more than this; None is not asked for."""
        asked = {"width": width, "height": height, "steps": steps, "batch_size": batch_size}
        for name, value in asked.items():
            most = getattr(self, name)
            if value is not None and most is not None and value > most:
                raise BadValue(f"{name} is {value}, and this key may ask for {most} at most")

    def check_queue(self, waiting: int, new: int = 1) -> None:
        """Raise LimitReached where `new` jobs beside those that wait are too many."""
        if self.queue is not None and waiting + new > self.queue:
            raise LimitReached(
                f"{waiting} jobs of this key wait, and {self.queue} may; wait until some are done, "
                "or cancel some",
                retry_after=_QUEUE_PAUSE,
            )


@dataclass
class _Bucket:
    tokens: float
    # when `tokens` was right
    at: float


class RateLimiter:
    """Requests a minute of each owner, by a token bucket in memory.

    A bucket holds a minute's requests and fills evenly, so that a burst is let through and the mean
    is kept. A restart of the service fills all of them.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[str, _Bucket] = {}

    def take(self, owner: str, limits: Limits) -> None:
        """Count a request; raises LimitReached for one too early, which then counts nothing."""
        if limits.rate is None:
            return
        now, speed = self._clock(), limits.rate / 60
        with self._lock:
            bucket = self._buckets.get(owner)
            if bucket is None:
                self._make_room(now)
                bucket = self._buckets[owner] = _Bucket(float(limits.rate), now)
            tokens = min(float(limits.rate), bucket.tokens + (now - bucket.at) * speed)
            bucket.at = now
            bucket.tokens = tokens - 1 if tokens >= 1 else tokens
        if tokens < 1:
            raise LimitReached(
                f"this key may send {limits.rate} requests a minute; wait",
                retry_after=(1 - tokens) / speed,
            )

    def _make_room(self, now: float) -> None:
        if len(self._buckets) < _MOST_BUCKETS:
            return
        # a minute fills any bucket
        for owner in [name for name, one in self._buckets.items() if now - one.at >= 60]:
            del self._buckets[owner]
