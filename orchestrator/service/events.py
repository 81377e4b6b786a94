"""What happens to jobs, for whoever watches: a snapshot first, then each change, with ids.

Any thread publishes and never waits for a watcher. There is one copy of every event, however many
watch: a watcher is a place in it and asks for the next when it has sent the last. So a slow one
costs nothing and holds nobody up. Of what only the latest counts of (progress, previews) it gets
the latest; everything else it gets all of, or, where it is too far behind, a snapshot again.

Events are hints: the truth is in the database, and a job that the hub does not know (any more) is
told to it by `seed` before somebody watches it.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from itertools import islice
from operator import attrgetter
from typing import Any

# Kinds of which a watcher needs only the latest, in the order of a snapshot.
LATEST = ("progress", "preview")
STATUS, OUTPUT = "status", "output"
# Events of one job that are kept for those who come back, beside its outputs, which all are.
RING = 512
# s that a job which has ended stays, and how many of them at most
LINGER = 120.0
_MOST_ENDED = 2000

_id = attrgetter("id")


class Event:
    """One change of a job. `data` is as JSON has it, and nobody changes it any more."""

    __slots__ = ("_frame", "data", "id", "kind")

    def __init__(self, id: int, kind: str, data: Mapping[str, Any]) -> None:
        # grows from event to event, over all jobs and over restarts
        self.id = id
        self.kind = kind
        self.data = data
        self._frame: bytes | None = None

    @property
    def frame(self) -> bytes:
        """The event as server-sent events have it (HTML standard, section 9.2), made once.

        JSON has no line ends in it, so nothing in `data` begins another field or event.
        """
        if self._frame is None:
            text = json.dumps(self.data, separators=(",", ":"))
            self._frame = f"id: {self.id}\nevent: {self.kind}\ndata: {text}\n\n".encode()
        return self._frame

    def __repr__(self) -> str:
        return f"Event({self.id}, {self.kind!r}, {self.data!r})"


class _Channel:
    """What is known of one job."""

    __slots__ = ("events", "final", "latest", "since", "status", "waiting", "watchers")

    def __init__(self, since: int) -> None:
        # all but those of LATEST, by id
        self.events: list[Event] = []
        self.latest: dict[str, Event] = {}
        self.status: Event | None = None
        # Up to this id events are missing, outputs aside.
        self.since = since
        # the event after which nothing comes
        self.final: Event | None = None
        # of watchers that have seen everything: {loop: {future: None}}
        self.waiting: dict[asyncio.AbstractEventLoop, dict[asyncio.Future[bool], None]] = {}
        self.watchers = 0

    def add(self, event: Event) -> None:
        if event.kind in LATEST:
            self.latest[event.kind] = event
            return
        self.events.append(event)
        if event.kind == STATUS:
            self.status = event
        # twice as many, so that not every event moves all of them
        if len(self.events) > 2 * RING:
            old, new = self.events[:-RING], self.events[-RING:]
            kept = [one for one in old if one.kind == OUTPUT]
            if len(kept) < len(old):
                self.since = max(one.id for one in old if one.kind != OUTPUT)
            self.events = kept + new


class EventHub:
    """All jobs that somebody may want to watch."""

    def __init__(self, *, linger: float = LINGER) -> None:
        self._lock = threading.Lock()
        self._channels: dict[str, _Channel] = {}
        # when each job ended that did, the first to end first
        self._ended: OrderedDict[str, float] = OrderedDict()
        self._linger = linger
        # In µs: an id of an earlier run is smaller as long as a run makes fewer than a million
        # events a second. JavaScript keeps such numbers exactly until the year 2255.
        self._last = time.time_ns() // 1000
        # watchers to wake in each loop, at its next turn
        self._woken: dict[asyncio.AbstractEventLoop, list[Iterable[asyncio.Future[bool]]]] = {}
        # whether nobody is told any more
        self.is_closed = False

    def close(self) -> None:
        """Let all go who watch, as the service ends; they may come back to the next run."""
        with self._lock:
            self.is_closed = True
            for channel in self._channels.values():
                self._wake(channel)

    def __len__(self) -> int:
        """How many jobs are known."""
        return len(self._channels)

    def knows(self, job_id: str) -> bool:
        return job_id in self._channels

    def latest(self, job_id: str, kind: str) -> Event | None:
        """The latest event of a kind of LATEST; None where there is none."""
        channel = self._channels.get(job_id)
        return None if channel is None else channel.latest.get(kind)

    def watchers(self, job_id: str) -> int:
        """How many watch a job; a preview for nobody need not be made."""
        channel = self._channels.get(job_id)
        return 0 if channel is None else channel.watchers

    def publish(
        self, job_id: str, kind: str, data: Mapping[str, Any], *, final: bool = False
    ) -> None:
        """Tell all who watch a job; `final` with its last status, after which nothing counts.

        From any thread, without waiting. Progress and previews of a job that the hub does not know
        are dropped: late ones do not bring back a job that has ended.
        """
        with self._lock:
            channel = self._channels.get(job_id)
            if channel is None:
                if kind in LATEST:
                    return
                channel = self._channels[job_id] = _Channel(self._last)
            if channel.final is not None:
                return
            self._add(job_id, channel, kind, data, final)
            self._wake(channel)
            self._forget_old()

    def seed(
        self, job_id: str, events: Iterable[tuple[str, Mapping[str, Any]]], *, final: bool = False
    ) -> bool:
        """Tell what the database knows of a job, where the hub knows nothing; says whether it did.

        `final`: the last of `events` is the job's last status.
        """
        known = list(events)
        with self._lock:
            channel = self._channels.get(job_id)
            # One that is watched already, and of which nothing is known yet, is told, too.
            if channel is not None and (channel.events or channel.latest):
                return False
            if channel is None:
                channel = self._channels[job_id] = _Channel(self._last)
            for number, (kind, data) in enumerate(known):
                last = final and number == len(known) - 1
                self._add(job_id, channel, kind, data, last)
            self._wake(channel)
            self._forget_old()
            return True

    def forget(self, job_id: str) -> None:
        """Know nothing of a job any more; who watches it now gets no more events."""
        with self._lock:
            self._channels.pop(job_id, None)
            self._ended.pop(job_id, None)

    def watch(self, job_id: str, after: int | None = None) -> Watcher:
        """Watch a job: a snapshot, then what happens, until its last status.

        `after` is the id of the last event that somebody has who comes back (Last-Event-ID): what
        came since then is told, or a snapshot, where that is no longer known.
        """
        with self._lock:
            channel = self._channels.get(job_id)
            if channel is None:
                channel = self._channels[job_id] = _Channel(self._last)
            channel.watchers += 1
            resumed = after if after is not None and channel.since <= after <= self._last else None
            # An id from before is good for nothing but the outputs that came later.
            return Watcher(self, job_id, channel, resumed)

    # ------------------------------------------------------------------------ inside

    def _add(
        self, job_id: str, channel: _Channel, kind: str, data: Mapping[str, Any], final: bool
    ) -> None:
        self._last += 1
        event = Event(self._last, kind, data)
        channel.add(event)
        if final:
            channel.final = event
            channel.latest.clear()
            self._ended[job_id] = time.monotonic()

    def _wake(self, channel: _Channel) -> None:
        waiting, channel.waiting = channel.waiting, {}
        for loop, futures in waiting.items():
            known = self._woken.get(loop)
            if known is not None:
                # its next turn is ordered already
                known.append(futures)
                continue
            self._woken[loop] = [futures]
            try:
                loop.call_soon_threadsafe(self._turn, loop)
            except RuntimeError:
                # The loop has ended, and its watchers with it.
                del self._woken[loop]

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            every = self._woken.pop(loop, [])
        for futures in every:
            for future in futures:
                if not future.done():
                    future.set_result(True)

    def _forget_old(self) -> None:
        now = time.monotonic()
        while self._ended:
            job_id, at = next(iter(self._ended.items()))
            if now - at < self._linger and len(self._ended) <= _MOST_ENDED:
                return
            del self._ended[job_id]
            self._channels.pop(job_id, None)

    def _leave(self, job_id: str, channel: _Channel) -> None:
        with self._lock:
            channel.watchers -= 1
            nothing = not channel.events and not channel.latest and not channel.watchers
            if nothing and self._channels.get(job_id) is channel:
                del self._channels[job_id]


class Watcher:
    """One who watches a job: `async for event in watcher`, or `next` with a time limit.

    For one task of one event loop. Close it at the end, best by `with`.
    """

    __slots__ = ("_channel", "_closed", "_hub", "_job_id", "_seen", "_skip", "_todo", "ended")

    def __init__(self, hub: EventHub, job_id: str, channel: _Channel, after: int | None) -> None:
        self._hub = hub
        self._job_id = job_id
        self._channel = channel
        self._closed = False
        # whether the last event was given
        self.ended = False
        # id of the last event given: of each of LATEST, and of all others, which is under OUTPUT
        self._seen = dict.fromkeys((*LATEST, OUTPUT), after or 0)
        # kinds of a snapshot that are still to be given
        self._todo: list[str] = []
        # Up to this id all but outputs is in the snapshot.
        self._skip = 0
        if after is None:
            self._catch_up()

    async def next(self, timeout: float | None = None) -> Event | None:
        """The next event; None when `timeout` s have passed without one, or after the last.

        None at once where the hub is closed.
        """
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        while not self._closed:
            with self._hub._lock:
                if self._hub.is_closed:
                    return None
                event = self._take()
                if event is not None or self.ended:
                    return event
                future: asyncio.Future[bool] = loop.create_future()
                self._channel.waiting.setdefault(loop, {})[future] = None
            if not await self._woken(loop, future, deadline):
                return None
        return None

    async def _woken(
        self,
        loop: asyncio.AbstractEventLoop,
        future: asyncio.Future[bool],
        deadline: float | None,
    ) -> bool:
        timer = None if deadline is None else loop.call_at(deadline, _give_up, future)
        try:
            return await future
        finally:
            if timer is not None:
                timer.cancel()
            with self._hub._lock:
                self._channel.waiting.get(loop, {}).pop(future, None)

    def __aiter__(self) -> Watcher:
        return self

    async def __anext__(self) -> Event:
        event = await self.next()
        if event is None:
            raise StopAsyncIteration
        return event

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._hub._leave(self._job_id, self._channel)

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------------------ inside

    def _catch_up(self) -> None:
        """Give a snapshot next: the status, what is latest, and the outputs not given yet."""
        self._skip = self._hub._last
        # A status ends the stream where it is the last; outputs come before that one.
        over = self._channel.final is not None
        self._todo = [] if over else [STATUS, *LATEST]

    def _take(self) -> Event | None:
        """The next event, where there is one now; the hub is locked."""
        channel = self._channel
        if max(self._seen[OUTPUT], self._skip) < channel.since:
            self._catch_up()
        while self._todo:
            kind = self._todo.pop(0)
            event = channel.status if kind == STATUS else channel.latest.get(kind)
            if event is None or event is channel.final:
                continue
            if kind == STATUS:
                self._skip = max(self._skip, event.id)
            elif event.id > self._seen[kind]:
                self._seen[kind] = event.id
            else:
                continue
            return event
        return self._in_order()

    def _in_order(self) -> Event | None:
        channel = self._channel
        found = self._kept_for_all()
        for kind, latest in channel.latest.items():
            if latest.id > self._seen[kind] and (found is None or latest.id < found.id):
                found = latest
        if found is not None:
            self._seen[found.kind if found.kind in LATEST else OUTPUT] = found.id
        self.ended = channel.final is not None and self._seen[OUTPUT] >= channel.final.id
        return found

    def _kept_for_all(self) -> Event | None:
        """The next of those that nobody misses, and that no snapshot has told of."""
        channel = self._channel
        begin = bisect_right(channel.events, self._seen[OUTPUT], key=_id)
        for event in islice(channel.events, begin, None):
            if event.id > self._skip or event.kind == OUTPUT or event is channel.final:
                return event
        return None


def _give_up(future: asyncio.Future[bool]) -> None:
    if not future.done():
        future.set_result(False)
