"""From the service's values to `/v1`'s JSON, and back."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ...errors import InputError
from ...workflow.values import Value
from ..answers import moment
from ..intake import BATCH
from ..views import RequestView
from . import shapes

PREFIX = "/v1"
# what a request calls a role
ROLES = {
    "prompt": "prompt",
    "negative_prompt": "negative",
    "steps": "steps",
    "guidance_scale": "cfg",
    "width": "width",
    "height": "height",
    "model": "model",
}
_DATA_URL = re.compile(r"data:image/[a-z0-9.+-]+;base64,", re.IGNORECASE)


def settings(body: shapes.JobRequest) -> list[tuple[str, Value]]:
    """The parameters of a workflow that a request sets, its own fields first."""
    given = [(role, getattr(body, name)) for name, role in ROLES.items()]
    if body.seed is not None:
        given.append(("seed", "random" if body.seed < 0 else body.seed))
    return [
        *((name, value) for name, value in given if value is not None),
        *body.parameters.items(),
    ]


def picture_bytes(text: str, role: str) -> bytes:
    """The picture that base64 stands for; raises InputError."""
    found = _DATA_URL.match(text[:100])
    try:
        return base64.b64decode(text[found.end() if found else 0 :], validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(
            f"{role} is neither the id of an asset nor a picture in base64 ({error})"
        ) from error


def taken(view: RequestView) -> dict[str, Any]:
    """A Taken."""
    here = f"{PREFIX}/jobs/{view.id}"
    return {
        "job_id": view.id,
        "status": view.status.value,
        "queue_position": view.queue_position,
        "seed": view.notes.get("seed"),
        "workflow": view.notes.get("workflow"),
        "warnings": list(view.warnings),
        "url": here,
        "stream_url": f"{here}/stream",
    }


def batch(views: Sequence[RequestView]) -> dict[str, Any]:
    """A Batch."""
    return {"batch_id": views[0].labels[BATCH], "jobs": [taken(view) for view in views]}


def job(view: RequestView) -> dict[str, Any]:
    """A Job."""
    told = None if view.progress is None else progress(view.progress.to_json())
    return {
        **taken(view),
        "created_at": moment(view.created_at),
        "started_at": moment(view.started_at),
        "completed_at": moment(view.ended_at),
        "expires_at": moment(view.expires_at),
        "progress": told,
        "images": images(view),
        "error": None if view.error is None else asdict(view.error),
        "parameters": dict(view.notes.get("parameters", {})),
        "labels": dict(view.labels),
        "server": view.server or None,
    }


def progress(told: Mapping[str, Any]) -> dict[str, Any]:
    """A Progress, from `ProgressView.to_json`."""
    return {
        "value": told["value"],
        "step": told["step"],
        "steps": told["steps"],
        "node": told["current_node_class"],
        "message": told["message"],
    }


def images(view: RequestView, contents: Sequence[bytes] = ()) -> list[dict[str, Any]]:
    """The Images of a job; with `contents` their bytes, too."""
    found = [
        {
            "id": one.id,
            "name": one.name,
            "node": one.node_id,
            "content_type": one.content_type,
            "bytes": one.size,
            # the bytes are v2's to give, whoever asks
            "url": f"/api/v2/assets/{one.id}/content",
        }
        for one in view.outputs
    ]
    for one, content in zip(found, contents, strict=bool(contents)):
        one["image_base64"] = base64.b64encode(content).decode("ascii")
    return found
