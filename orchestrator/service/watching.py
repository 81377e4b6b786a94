"""From what servers tell to how requests stand: what runs where, how far it is, why it failed."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ..protocol import Event, ExecutionError, Graph, Preview
from .request_progress import Tracker
from .views import ErrorView, ProgressView

# s between two previews and two progress messages of a request that watchers get
_PREVIEWS, _PROGRESS = 0.4, 0.1


@dataclass(kw_only=True)
class _Run:
    """What is heard of one attempt."""

    key: str
    server: str
    tracker: Tracker
    error: ErrorView | None = None
    progress: ProgressView | None = None
    # s, monotonic, of the last that was told
    told: float = field(default=-float("inf"))
    shown: float = field(default=-float("inf"))


@dataclass(frozen=True, kw_only=True, slots=True)
class News:
    """What an event means for a request."""

    progress: ProgressView | None = None
    # an intermediate picture, in the words of Comfy API v2
    preview: Mapping[str, str] | None = None


class Runs:
    """The attempts that servers have. May be used by several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._runs: dict[str, _Run] = {}
        # what each server runs
        self._now: dict[str, str] = {}

    def sent(self, key: str, graph: Graph, server: str) -> None:
        """A graph is about to be sent, or is on a server since an earlier process sent it."""
        with self._lock:
            self._runs[key] = _Run(key=key, server=server, tracker=Tracker(graph))

    def told(self, key: str, server: str, progress: ProgressView | None = None) -> bool:
        """Another process says that a server runs a request; whether that brings news of it."""
        with self._lock:
            run = self._runs.get(key)
            if run is None or run.server != server:
                run = self._runs[key] = _Run(key=key, server=server, tracker=Tracker({}))
            self._now[server] = key
            if progress is None or progress == run.progress:
                return False
            run.progress = progress
            return True

    def error(self, key: str) -> ErrorView | None:
        """What its server told of an error of a request; None where it told of none."""
        run = self._runs.get(key)
        return run.error if run else None

    def ended(self, key: str) -> None:
        """A request is no longer on a server."""
        with self._lock:
            run = self._runs.pop(key, None)
            if run is not None and self._now.get(run.server) == key:
                del self._now[run.server]

    def progress(self, key: str) -> ProgressView | None:
        """How far a request is; None where it does not run."""
        run = self._runs.get(key)
        return run.progress if run else None

    def on(self, server: str) -> str:
        """The request that a server runs; "" where it runs none."""
        return self._now.get(server, "")

    def heard(self, key: str, server: str, event: Event) -> News | None:
        """What a server's event means; None where nothing that watchers should know."""
        with self._lock:
            run = self._runs.get(key)
            if run is None:
                return None
            if isinstance(event, ExecutionError):
                run.error = _error_of(event)
                return None
            now = self._clock()
            if isinstance(event, Preview):
                return self._preview(run, event, now)
            if not run.tracker.take(event):
                return None
            self._now[server] = key
            run.progress = run.tracker.view()
            if now - run.told < _PROGRESS and run.progress.value < 1:
                return None
            run.told = now
            return News(progress=run.progress)

    def _preview(self, run: _Run, event: Preview, now: float) -> News | None:
        if now - run.shown < _PREVIEWS:
            return None
        run.shown = now
        node = event.node_id or (run.progress.node if run.progress else None) or ""
        kind = "image/png" if event.format == "png" else "image/jpeg"
        shown = {
            "node_id": node,
            "content_type": kind,
            "data_base64": base64.b64encode(event.image).decode("ascii"),
        }
        return News(preview=shown)


def _error_of(event: ExecutionError) -> ErrorView:
    memory = "out of memory" in event.exception_message.lower()
    return ErrorView(
        code="out_of_memory" if memory else "node_execution_error",
        message=event.exception_message.strip() or event.exception_type or "the node failed",
        node_id=event.node_id,
        class_type=event.node_type,
        traceback="".join(event.traceback) or None,
    )
