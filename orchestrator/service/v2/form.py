"""From the service's values to Comfy API v2's JSON."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from ..answers import frame, moment
from ..assets import Asset
from ..events import Event
from ..views import OutputView, ProgressView, RequestView, Status
from ..watching import PreviewView

PREFIX = "/api/v2"
# s for which a link to a file that does not expire is said to hold
_LINK = 24 * 3600.0


def job(view: RequestView, origin: str) -> dict[str, Any]:
    """A Job."""
    here = f"{PREFIX}/jobs/{view.id}"
    return {
        "id": view.id,
        "status": view.status.value,
        "created_at": moment(view.created_at),
        "started_at": moment(view.started_at),
        "completed_at": moment(view.ended_at),
        "expires_at": moment(view.expires_at),
        "queue_position": view.queue_position,
        "progress": _final_progress(view),
        "outputs": [output(one, origin, view.expires_at) for one in view.outputs],
        "error": None if view.error is None else asdict(view.error),
        "metrics": {"queue_ms": view.queue_ms, "execution_ms": view.execution_ms},
        "metadata": dict(view.labels),
        "urls": {"self": here, "events": f"{here}/events", "cancel": f"{here}/cancel"},
    }


def item(view: RequestView) -> dict[str, Any]:
    """A job in a list."""
    return {
        "id": view.id,
        "status": view.status.value,
        "create_time": moment(view.created_at),
        "update_time": moment(view.updated_at),
        "metadata": dict(view.labels),
    }


def progress(view: ProgressView) -> dict[str, Any]:
    """A Progress."""
    return {
        "value": view.value,
        "nodes_done": view.nodes_done,
        "nodes_total": view.nodes_total,
        "current_node": view.node,
        "current_node_class": view.node_class,
        "step": view.step,
        "steps": view.steps,
        "message": view.message,
    }


def _final_progress(view: RequestView) -> dict[str, Any] | None:
    if view.progress is not None:
        return progress(view.progress)
    if view.status is not Status.SUCCEEDED:
        return None
    total = view.nodes
    return progress(ProgressView(value=1.0, nodes_done=total, nodes_total=total))


def output(view: OutputView, origin: str, expires_at: float) -> dict[str, Any]:
    """An Output."""
    return {
        "node_id": view.node_id,
        "name": view.name,
        "type": view.type,
        "content_type": view.content_type,
        "size_bytes": view.size,
        "id": view.id,
        "hash": view.hash,
        "url": f"{origin}{PREFIX}/assets/{view.id}/content",
        "url_expires_at": moment(expires_at),
        "job_id": view.job_id,
    }


def asset(found: Asset, origin: str, now: float) -> dict[str, Any]:
    """An Asset."""
    told = {
        "id": found.id,
        "hash": found.hash,
        "size_bytes": found.size,
        "content_type": found.content_type,
        "file_path": found.name,
        "created_new": found.created_new,
        "created_at": moment(found.created_at),
        "url": f"{origin}{PREFIX}/assets/{found.id}/content",
        "url_expires_at": moment(found.expires_at or now + _LINK),
        "expires_at": moment(found.expires_at),
    }
    return told if found.job_id is None else {**told, "job_id": found.job_id}


class Frames:
    """A job's events as v2's server-sent events."""

    def __init__(self, origin: str, expires_at: float) -> None:
        self._origin = origin
        self._expires_at = expires_at

    def of(self, event: Event) -> Iterator[bytes]:
        """The frame of an event; none for what v2 does not know."""
        match event.kind, event.data:
            case "status", {"status": Status() as status, "queue_position": place}:
                told = {"status": status.value, "queue_position": place}
                yield frame("status", told, event.id)
            case "progress", ProgressView() as view:
                yield frame("progress", progress(view), event.id)
            case "preview", PreviewView() as shown:
                data = {
                    "node_id": shown.node_id,
                    "content_type": shown.content_type,
                    "data_base64": base64.b64encode(shown.content).decode("ascii"),
                }
                yield frame("preview", data, event.id)
            case "output", OutputView() as view:
                yield frame("output", output(view, self._origin, self._expires_at), event.id)
            case "log", dict() as line:
                yield frame("log", line, event.id)

    def moved(self, status: Status, place: int) -> bytes:
        """The frame for a job that waits at another place now."""
        return frame("status", {"status": status.value, "queue_position": place})
