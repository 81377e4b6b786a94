"""From the service's values to Comfy API v2's JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ..answers import frame, moment
from ..assets import Asset
from ..events import OUTPUT, Event
from ..views import ProgressView, RequestView, Status

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
        "outputs": [output(one.to_json(), origin, view.expires_at) for one in view.outputs],
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


def _final_progress(view: RequestView) -> dict[str, Any] | None:
    if view.progress is not None:
        return view.progress.to_json()
    if view.status is not Status.SUCCEEDED:
        return None
    return ProgressView(value=1.0, nodes_done=view.nodes, nodes_total=view.nodes).to_json()


def output(told: Mapping[str, Any], origin: str, expires_at: float) -> dict[str, Any]:
    """An Output, from `OutputView.to_json`."""
    return {
        **told,
        "url": f"{origin}{PREFIX}/assets/{told['id']}/content",
        "url_expires_at": moment(expires_at),
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


class EventFrames:
    """A job's events as v2's server-sent events."""

    def __init__(self, origin: str, expires_at: float) -> None:
        self._origin = origin
        self._expires_at = expires_at

    async def of(self, event: Event) -> bytes:
        """The frame of an event; the same for all who watch, but for links."""
        if event.kind != OUTPUT:
            return event.frame
        return frame(OUTPUT, output(event.data, self._origin, self._expires_at), event.id)

    def moved(self, status: Status, place: int) -> bytes:
        """The frame for a job that waits at another place now."""
        return frame("status", {"status": status.value, "queue_position": place})
