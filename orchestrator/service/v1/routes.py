"""The routes of `/v1`: form only, all that is decided is decided in `service.service`."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.responses import StreamingResponse

from ...errors import RequestRefused
from ..answers import frame, json_answer
from ..bodies import StrictRoute, caller_of, once_of, service_of
from ..cursors import cursor_of, place_of
from ..events import STATUS, Event
from ..intake import BATCH, Caller, Wanted
from ..prompting import Prompt
from ..service import Service
from ..streams import last_event_id, stream
from ..v2.shapes import ErrorEnvelope
from ..views import RequestView, Status
from . import form, shapes

# s that an answer may wait
_LONGEST_WAIT = 120.0
# bytes of all pictures of a job that a `complete` event carries; more are links
_MOST_CARRIED = 16 * 1024 * 1024
_DONE = b"data: [DONE]\n\n"
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorEnvelope} for status in (400, 401, 404, 413, 422, 429)
}

router = APIRouter(
    prefix=form.PREFIX, route_class=StrictRoute, tags=["Sprites from prompts"], responses=_ERRORS
)
Who = Annotated[Caller, Depends(caller_of)]
Wait = Annotated[float | None, Query(ge=0, le=_LONGEST_WAIT, description="s to wait for its end.")]


@router.post(
    "/jobs",
    status_code=202,
    responses={
        200: {"model": shapes.Job, "description": "It is done; with `wait` only."},
        202: {"model": shapes.Taken | shapes.Batch, "description": "A batch for a manifest."},
        409: {"model": ErrorEnvelope},
    },
)
async def post_job(
    request: Request, body: shapes.JobRequest, caller: Who, wait: Wait = None
) -> Response:
    """Make a sprite from a prompt, or run a named workflow.

    With `wait` the answer comes when the job is done, or as it is after so many seconds. With an
    `Idempotency-Key` the same request is taken once in 24 hours.
    """
    service = service_of(request)
    once = once_of(request, body.model_dump(mode="json"))
    webhook = await service.check_webhook(body.webhook_url)
    made = await asyncio.to_thread(
        service.submit, caller, lambda: _wanted(service, caller, body, webhook), once
    )
    headers = {"Location": f"{form.PREFIX}/jobs/{made.view.id}"}
    if made.replayed:
        headers["Idempotency-Replayed"] = "true"
    if body.manifest is not None:
        return json_answer(form.batch(made.views), 202, headers)
    if wait:
        view = await service.wait(caller, made.view.id, wait)
        if view.status.is_final:
            return json_answer(form.job(view), 200, headers)
        return json_answer(form.taken(view), 202, headers)
    return json_answer(form.taken(made.view), 202, headers)


@router.get("/jobs", responses={200: {"model": shapes.JobPage}})
async def list_jobs(
    request: Request,
    caller: Who,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    cursor: Annotated[str | None, Query(max_length=64)] = None,
    status: Annotated[list[Status] | None, Query()] = None,
    batch: Annotated[str | None, Query(max_length=64, description="Of one manifest.")] = None,
) -> Response:
    """List the caller's jobs, the newest first."""
    found, more = await asyncio.to_thread(
        service_of(request).page,
        caller,
        limit=limit,
        statuses=frozenset(status or ()),
        labels={} if batch is None else {BATCH: batch},
        before=None if cursor is None else place_of(cursor),
        outputs=True,
    )
    page: dict[str, Any] = {"jobs": [form.job(view) for view in found]}
    if more is not None:
        page["next_cursor"] = cursor_of(more)
    return json_answer(page)


@router.delete("/jobs", responses={200: {"model": shapes.Cancelled}})
async def cancel_jobs(
    request: Request,
    caller: Who,
    which: Annotated[Literal["waiting", "all"], Query()] = "waiting",
) -> Response:
    """Take back the caller's jobs: those that wait, or all of them."""
    count = await asyncio.to_thread(
        service_of(request).cancel_all, caller, waiting_only=which == "waiting"
    )
    return json_answer({"cancelled": count})


@router.get("/jobs/{job_id}", responses={200: {"model": shapes.Job}})
async def get_job(request: Request, job_id: str, caller: Who, wait: Wait = None) -> Response:
    """Tell of one job; with `wait` once it is done."""
    service = service_of(request)
    view = service.glimpse(caller, job_id)
    if wait and (view is None or not view.status.is_final):
        view = await service.wait(caller, job_id, wait)
    if view is None:
        view = await asyncio.to_thread(service.get, caller, job_id)
    return json_answer(form.job(view))


@router.delete("/jobs/{job_id}", responses={200: {"model": shapes.Job}})
async def cancel_job(request: Request, job_id: str, caller: Who) -> Response:
    """Take a job back; one that has ended stays as it is."""
    view = await asyncio.to_thread(service_of(request).cancel, caller, job_id)
    return json_answer(form.job(view))


@router.get(
    "/jobs/{job_id}/stream",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}}},
)
async def stream_job(
    request: Request,
    job_id: str,
    caller: Who,
    images: Annotated[Literal["base64", "link"], Query()] = "base64",
) -> Response:
    """Tell what happens to a job, as server-sent events.

    `status`, `progress` and `preview` as it goes on, `complete` with its pictures, in base64 or as
    links, or `error`; then `data: [DONE]`. With `Last-Event-ID` it goes on behind that event.
    """
    service = service_of(request)
    await asyncio.to_thread(service.watchable, caller, job_id)
    after = last_event_id(request.headers.get("last-event-id"))
    told = _Stream(service, caller, job_id, carries=images == "base64")
    return stream(service, caller, job_id, after, told.of, told.moved, _DONE)


@router.get("/models", responses={200: {"model": shapes.Models}})
async def list_models(request: Request, caller: Who) -> Response:
    """List the models that the servers have."""
    service = service_of(request)
    found = await asyncio.to_thread(service.models)
    models = [
        {
            "name": one.name,
            "servers": list(one.servers),
            "width": one.size and one.size[0],
            "height": one.size and one.size[1],
        }
        for one in found
    ]
    return json_answer({"models": models, "default": service.workflows.model or None})


@router.get("/workflows", responses={200: {"model": shapes.Workflows}})
async def list_workflows(request: Request, caller: Who) -> Response:
    """List the workflows that a job may name, and what they take."""
    service = service_of(request)
    found = await asyncio.to_thread(service.workflow_views)
    told = [
        {"name": one.name, "parameters": dict(one.parameters), "problem": one.problem}
        for one in found
    ]
    return json_answer({"workflows": told, "default": service.workflows.default})


@router.get("/servers", responses={200: {"model": shapes.Servers}})
async def list_servers(request: Request, caller: Who) -> Response:
    """List the servers, what they are, and how they do."""
    service = service_of(request)
    told = []
    for view, known, job_id in service.servers():
        stats = known.stats if known else None
        told.append(
            {
                "name": view.name,
                "open": view.is_open,
                "words": view.words,
                "kind": stats and ("engine" if stats.is_engine else stats.kind),
                "version": stats and stats.version,
                "device": stats and stats.device,
                "vram_total": stats and stats.vram_total,
                "vram_free": stats and stats.vram_free,
                "job_id": job_id if job_id and service.owns(caller, job_id) else None,
                "done": view.done,
                "failures": view.failures,
                "worker": view.worker or None,
            }
        )
    return json_answer({"servers": told})


@router.get("/workers", responses={200: {"model": shapes.Workers}})
async def list_workers(request: Request, caller: Who) -> Response:
    """List the workers, which make jobs on servers of their own, and how those do."""
    found = await asyncio.to_thread(service_of(request).workers)
    return json_answer({"workers": [worker.to_json(servers) for worker, servers in found]})


class _Stream:
    """A job's events in `/v1`'s form."""

    def __init__(self, service: Service, caller: Caller, id: str, *, carries: bool) -> None:
        self._service, self._caller, self._id = service, caller, id
        self._carries = carries

    async def of(self, event: Event) -> bytes:
        """The frame of an event; none for what `/v1` does not tell."""
        match event.kind:
            case "status" if Status(event.data["status"]).is_final:
                return await self._end(event)
            case "status":
                return frame(STATUS, dict(event.data), event.id)
            case "progress":
                return frame("progress", form.progress(event.data), event.id)
            case "preview":
                return event.frame
        return b""

    def moved(self, status: Status, place: int) -> bytes:
        """The frame for a job that waits at another place now."""
        return frame(STATUS, {"status": status.value, "queue_position": place})

    async def _end(self, event: Event) -> bytes:
        view = await asyncio.to_thread(self._service.get, self._caller, self._id)
        if view.status is Status.SUCCEEDED:
            images = await asyncio.to_thread(self._images, view)
            told = {"job_id": view.id, "seed": view.notes.get("seed"), "images": images}
            return frame("complete", told, event.id)
        error = view.error
        told = {
            "job_id": view.id,
            "code": error.code if error else view.status.value,
            "message": error.message if error else f"the job is {view.status.value}",
            "node": error.node_id if error else None,
        }
        return frame("error", told, event.id)

    def _images(self, view: RequestView) -> list[dict[str, Any]]:
        small = sum(one.size for one in view.outputs) <= _MOST_CARRIED
        if not self._carries or not small:
            return form.images(view)
        return form.images(view, [self._service.bytes_of(one) for one in view.outputs])


def _wanted(
    service: Service, caller: Caller, body: shapes.JobRequest, webhook: str
) -> list[Wanted]:
    """What a request means, its pictures kept as assets."""
    if body.manifest is not None:
        if body.model_fields_set - {"manifest", "webhook_url"}:
            raise RequestRefused("invalid_request", "a manifest stands alone in a request")
        made = service.batch(caller, body.manifest)
        return [replace(one, webhook=webhook) for one in made]
    return [_prompted(service, caller, body, webhook)]


def _prompted(service: Service, caller: Caller, body: shapes.JobRequest, webhook: str) -> Wanted:
    given = {"image": body.image, "mask": body.mask}
    pictures = {
        role: service.picture(caller, text, partial(form.picture_bytes, text, role))
        for role, text in given.items()
        if text is not None
    }
    prompt = Prompt(workflow=body.workflow or "", settings=form.settings(body), pictures=pictures)
    made = service.asked(caller, prompt)
    return replace(made, labels=body.labels, priority=body.priority, webhook=webhook)
