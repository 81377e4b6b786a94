"""Comfy API v2's routes: form only, all that is decided is decided in `service.service`."""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import ExitStack
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.responses import StreamingResponse

from ...errors import NotFound, RequestRefused
from ..answers import content_answer, json_answer, origin_of
from ..bodies import StrictRoute, caller_of, once_of, service_of
from ..cursors import cursor_of, place_of
from ..intake import Caller, Wanted
from ..streams import last_event_id, stream
from ..uploads import check_length, receive
from ..views import Status
from . import form, shapes

# What `extra_data` may have: logins for nodes that ask other services.
_SECRETS = frozenset({"api_key_comfy_org", "auth_token_comfy_org"})
_FILTER = re.compile(r"metadata\[(.{1,64})\]", re.DOTALL)
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": shapes.ErrorEnvelope} for status in (400, 401, 404, 413, 422, 429)
}

router = APIRouter(
    prefix=form.PREFIX, route_class=StrictRoute, tags=["Comfy API v2"], responses=_ERRORS
)
Who = Annotated[Caller, Depends(caller_of)]


# ------------------------------------------------------------------------------- jobs


@router.get("/jobs/{job_id}", responses={200: {"model": shapes.Job}})
async def get_job(request: Request, job_id: str, caller: Who) -> Response:
    """Tell of one job."""
    service = service_of(request)
    view = service.glimpse(caller, job_id)
    if view is None:
        view = await asyncio.to_thread(service.get, caller, job_id)
    return json_answer(form.job(view, origin_of(request)))


@router.post(
    "/jobs",
    status_code=201,
    responses={201: {"model": shapes.Job}, 409: {"model": shapes.ErrorEnvelope}},
)
async def post_job(request: Request, body: shapes.JobRequest, caller: Who) -> Response:
    """Take a graph and run it.

    With an `Idempotency-Key` the same request is taken once in 24 hours; what comes again gets the
    same job and the header `Idempotency-Replayed: true`.
    """
    service = service_of(request)
    wanted = Wanted(
        workflow=body.workflow,
        labels=body.metadata or {},
        priority=body.priority,
        secrets=_secrets(body.extra_data),
        webhook=await service.check_webhook(body.webhook_url),
    )
    once = once_of(request, body.model_dump(mode="json"))
    taken = await asyncio.to_thread(service.submit, caller, lambda: [wanted], once)
    headers = {"Location": f"{form.PREFIX}/jobs/{taken.view.id}"}
    if taken.replayed:
        headers["Idempotency-Replayed"] = "true"
    return json_answer(form.job(taken.view, origin_of(request)), 201, headers)


@router.get("/jobs", responses={200: {"model": shapes.JobPage}})
async def list_jobs(
    request: Request,
    caller: Who,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    cursor: Annotated[str | None, Query(max_length=64)] = None,
    status: Annotated[list[Status] | None, Query()] = None,
) -> Response:
    """List the caller's jobs, the newest first; `metadata[NAME]=VALUE` keeps those with a label."""
    found, more = await asyncio.to_thread(
        service_of(request).page,
        caller,
        limit=limit,
        statuses=frozenset(status or ()),
        labels=_labels_asked(request),
        before=None if cursor is None else place_of(cursor),
    )
    page: dict[str, Any] = {"jobs": [form.item(view) for view in found]}
    if more is not None:
        page["next_cursor"] = cursor_of(more)
    return json_answer(page)


@router.post("/jobs/{job_id}/cancel", responses={200: {"model": shapes.Job}})
async def cancel_job(request: Request, job_id: str, caller: Who) -> Response:
    """Take a job back; one that has ended stays as it is."""
    view = await asyncio.to_thread(service_of(request).cancel, caller, job_id)
    return json_answer(form.job(view, origin_of(request)))


@router.get("/jobs/{job_id}/workflow", responses={200: {"model": shapes.JobWorkflow}})
async def get_workflow(request: Request, job_id: str, caller: Who) -> Response:
    """Give the graph of a job, as it was posted."""
    graph = await asyncio.to_thread(service_of(request).workflow, caller, job_id)
    return json_answer({"workflow": graph, "format": "api"})


@router.get(
    "/jobs/{job_id}/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}}},
)
async def get_events(request: Request, job_id: str, caller: Who) -> Response:
    """Tell what happens to a job, as server-sent events, until it has come to its end.

    First how it stands: `status`, the latest `progress`, the latest `preview`. Then each of these
    as they come, `output` for each file, `log`. With `Last-Event-ID` it goes on behind that event.
    """
    service = service_of(request)
    view = await asyncio.to_thread(service.watchable, caller, job_id)
    frames = form.EventFrames(origin_of(request), view.expires_at)
    after = last_event_id(request.headers.get("last-event-id"))
    return stream(service, caller, job_id, after, frames.of, frames.moved)


@router.get("/health", responses={200: {"model": shapes.Health}})
async def health() -> Response:
    """Say that the service is there; needs no key."""
    return json_answer({"status": "healthy"})


# ------------------------------------------------------------------------------- assets


_UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "content_type": {"type": "string"},
                        "file_path": {"type": "string"},
                        "expected_hash": {"type": "string"},
                        "tags": {"type": "array", "items": {"type": "string"}},
                    },
                }
            }
        },
    }
}


@router.post(
    "/assets",
    status_code=201,
    responses={
        200: {"model": shapes.Asset},
        201: {"model": shapes.Asset},
        409: {"model": shapes.ErrorEnvelope},
    },
    openapi_extra=_UPLOAD,
)
async def post_asset(request: Request, caller: Who) -> Response:
    """Keep a file, once however often its bytes are sent."""
    service = service_of(request)
    most = service.assets.most_bytes
    check_length(request.headers.get("content-length"), most)
    with ExitStack() as stack:
        part = await asyncio.to_thread(stack.enter_context, service.receiving())
        sent = await receive(request.stream(), request.headers.get("content-type", ""), part)
        found = await asyncio.to_thread(
            service.upload,
            caller,
            part,
            name=sent.text("file_path") or sent.name or "upload.bin",
            content_type=sent.text("content_type") or sent.content_type,
            expected_hash=sent.text("expected_hash") or None,
            tags=sent.texts.get("tags", []),
        )
    told = form.asset(found, origin_of(request), time.time())
    return json_answer(told, 201 if found.created_new else 200)


@router.post(
    "/assets/from-hash",
    status_code=201,
    responses={200: {"model": shapes.Asset}, 201: {"model": shapes.Asset}},
)
async def asset_from_hash(request: Request, body: shapes.FromHash, caller: Who) -> Response:
    """Make another asset of bytes that the caller has uploaded before."""
    service = service_of(request)
    try:
        found = await asyncio.to_thread(
            service.from_hash, caller, body.hash, body.file_path, body.tags
        )
    except NotFound as error:
        raise RequestRefused("blob_not_found", str(error)) from error
    return json_answer(form.asset(found, origin_of(request), time.time()), 201)


@router.head(
    "/assets/by-hash/{hash}",
    response_class=Response,
    responses={200: {"description": "They are there."}},
)
async def has_hash(request: Request, hash: str, caller: Who) -> Response:
    """Say whether the caller has uploaded these bytes before: 200 or 404."""
    there = await asyncio.to_thread(service_of(request).has_hash, caller, hash)
    return Response(status_code=200 if there else 404)


@router.get("/assets/{asset_id}", responses={200: {"model": shapes.Asset}})
async def get_asset(request: Request, asset_id: str, caller: Who) -> Response:
    """Tell of a file."""
    found = await asyncio.to_thread(service_of(request).asset, caller, asset_id)
    return json_answer(form.asset(found, origin_of(request), time.time()))


@router.delete("/assets/{asset_id}", status_code=204)
async def delete_asset(request: Request, asset_id: str, caller: Who) -> Response:
    """Remove a file."""
    await asyncio.to_thread(service_of(request).delete_asset, caller, asset_id)
    return Response(status_code=204)


@router.get(
    "/assets/{asset_id}/content",
    response_class=Response,
    responses={
        200: {"content": {"*/*": {}}},
        206: {"description": "The part that `Range` asks for."},
        416: {"model": shapes.ErrorEnvelope},
    },
)
async def get_content(request: Request, asset_id: str, caller: Who) -> Response:
    """Give the bytes of a file, or the part of them that a `Range` header asks for."""
    opened = await asyncio.to_thread(
        service_of(request).content,
        caller,
        asset_id,
        request.headers.get("range"),
        request.headers.get("if-range"),
    )
    return content_answer(opened)


# ------------------------------------------------------------------------------- inside


def _secrets(extra_data: dict[str, Any] | None) -> dict[str, str]:
    if extra_data is None:
        return {}
    unknown = sorted(set(extra_data) - _SECRETS)
    if unknown or not extra_data:
        raise RequestRefused(
            "invalid_request",
            f"extra_data may have {', '.join(sorted(_SECRETS))}, and "
            f"{'has nothing' if not extra_data else f'has {unknown[0][:64]!r}'}; leave it out",
        )
    if not all(isinstance(value, str) and value for value in extra_data.values()):
        raise RequestRefused("invalid_request", "the logins in extra_data are texts")
    return dict(extra_data)


def _labels_asked(request: Request) -> dict[str, str]:
    labels = {}
    for name, value in request.query_params.multi_items():
        if not name.startswith("metadata"):
            continue
        found = _FILTER.fullmatch(name)
        if found is None or found.group(1) in labels:
            raise RequestRefused(
                "invalid_metadata_filter", "labels are asked for as metadata[NAME]=VALUE, each once"
            )
        labels[found.group(1)] = value
    return labels
