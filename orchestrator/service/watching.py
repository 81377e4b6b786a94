"""From what servers tell to how requests stand: what runs where, how far it is, why it failed."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ..protocol import Event, ExecutionError, Graph, Preview
from .progress import Tracker
from .views import ErrorView, ProgressView

# s between two previews and two progress messages of a request that watchers get
_PREVIEWS, _PROGRESS = 0.4, 0.1


@dataclass(kw_only=True)
class _Run:
    """What is heard of one attempt."""

    key: str
    server: str
    tracker: Tracker
    started: bool = False
    error: ErrorView | None = None
    progress: ProgressView | None = None
    # s, monotonic, of the last that was told
    told: float = field(default=-float("inf"))
    shown: float = field(default=-float("inf"))


@dataclass(frozen=True, kw_only=True, slots=True)
class News:
    """What an event means for a request."""

    key: str
    # True where its server has just begun to run it
    started: bool = False
    progress: ProgressView | None = None
    # an intermediate picture, in the words of Comfy API v2
    preview: Mapping[str, str] | None = None


class Runs:
    """The attempts that servers have. May be used by several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._by_prompt: dict[str, _Run] = {}
        self._by_key: dict[str, str] = {}
        # what each server runs
        self._now: dict[str, str] = {}

    def sent(self, key: str, prompt_id: str, graph: Graph, server: str) -> None:
        """A graph is about to be sent, or is on a server since an earlier process sent it."""
        with self._lock:
            self._drop(key)
            self._by_prompt[prompt_id] = _Run(key=key, server=server, tracker=Tracker(graph))
            self._by_key[key] = prompt_id

    def ended(self, key: str) -> ErrorView | None:
        """A request is no longer on a server; returns the error that its server told of, if any."""
        with self._lock:
            run = self._drop(key)
            return run.error if run else None

    def progress(self, key: str) -> ProgressView | None:
        """How far a request is; None where it does not run."""
        run = self._by_prompt.get(self._by_key.get(key, ""))
        return run.progress if run else None

    def on(self, server: str) -> str:
        """The request that a server runs; "" where it runs none."""
        run = self._by_prompt.get(self._now.get(server, ""))
        return run.key if run else ""

    def heard(self, server: str, event: Event) -> News | None:
        """What a server's event means; None where nothing that watchers should know."""
        with self._lock:
            prompt_id = getattr(event, "prompt_id", None) or self._now.get(server, "")
            run = self._by_prompt.get(prompt_id)
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
            self._now[server] = prompt_id
            started = run.tracker.started and not run.started
            run.started = run.started or started
            run.progress = run.tracker.view()
            if not started and now - run.told < _PROGRESS and run.progress.value < 1:
                return None
            run.told = now
            return News(key=run.key, started=started, progress=run.progress)

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
        return News(key=run.key, preview=shown)

    def _drop(self, key: str) -> _Run | None:
        prompt_id = self._by_key.pop(key, None)
        if prompt_id is None:
            return None
        run = self._by_prompt.pop(prompt_id)
        if self._now.get(run.server) == prompt_id:
            del self._now[run.server]
        return run


def _error_of(event: ExecutionError) -> ErrorView:
    memory = "out of memory" in event.exception_message.lower()
    return ErrorView(
        code="out_of_memory" if memory else "node_execution_error",
        message=event.exception_message.strip() or event.exception_type or "the node failed",
        node_id=event.node_id,
        class_type=event.node_type,
        traceback="".join(event.traceback) or None,
    )
