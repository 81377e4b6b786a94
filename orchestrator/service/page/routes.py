"""The routes of the page: form only, all that is decided is decided in `service.service`."""

from __future__ import annotations

import asyncio
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.responses import StreamingResponse

from ...errors import AccessDenied, NotFound, RequestRefused
from ...models.larger import comes_along, names
from ..answers import content_answer
from ..bodies import service_of
from ..cursors import cursor_of, place_of
from ..intake import BATCH, Caller, Wanted
from ..loop import ServerView
from ..marks import Verdict
from ..prompting import WorkflowView
from ..service import Service
from ..sessions import new_token
from ..views import Status
from . import exports
from .cards import all_pictures, job_cards, picture_cards, when
from .forms import fields, files_of, many, prompt_of
from .gate import (
    PageRoute,
    actor,
    back,
    check_form,
    page,
    set_cookie,
    token_of,
    viewer,
    wants_part,
)
from .live import Live, events
from .rendering import static

# requests of one page of the gallery, and of a batch
_GALLERY, _OF_BATCH = 60, 100

router = APIRouter(route_class=PageRoute, tags=["page"], include_in_schema=False)
Viewer = Annotated[Caller, Depends(viewer)]
Actor = Annotated[Caller, Depends(actor)]


def _signed_in(caller: Caller) -> bool:
    return bool(caller.owner)


# ------------------------------------------------------------------------------- making


@router.get("/")
async def make(
    request: Request,
    caller: Viewer,
    workflow: Annotated[str, Query(max_length=64)] = "",
    reuse: Annotated[str, Query(max_length=64)] = "",
) -> Response:
    """The form of a workflow, and what goes on."""
    service = service_of(request)
    values = await asyncio.to_thread(_making, service, caller, workflow, reuse)
    live = await asyncio.to_thread(Live(service, caller, token_of(request)).render)
    return page(request, "make", live=live, signed_in=_signed_in(caller), **values)


def _making(service: Service, caller: Caller, workflow: str, reuse: str) -> dict[str, Any]:
    given: dict[str, Any] = {}
    pictures: dict[str, str] = {}
    if reuse:
        view = service.get(caller, reuse)
        given = dict(view.notes.get("parameters", {}))
        workflow = str(view.notes.get("workflow") or workflow)
        pictures = service.pictures_of(caller, reuse)
    try:
        known = service.workflow_views()
    except RequestRefused as error:
        # no server has answered yet; the page is there all the same
        return {"workflows": [], "chosen": None, "fields": [], "problem": str(error), "models": []}
    chosen = _chosen(known, workflow or service.workflows.default)
    model = given.get("model") or chosen.parameters.get("model")
    return {
        "workflows": known,
        "chosen": chosen,
        "fields": fields(chosen, given, pictures),
        "problem": chosen.problem,
        "models": service.models(),
        "small_model": model if comes_along(model) else "",
        "larger_models": names(),
    }


def _chosen(known: list[WorkflowView], name: str) -> WorkflowView:
    found = next((one for one in known if one.name == name), None)
    if found is None:
        raise NotFound("there is no workflow of that name")
    return found


@router.post("/make")
async def post_make(request: Request, caller: Actor) -> Response:
    """Make what a form asks for."""
    service, form = service_of(request), await request.form()
    files = await files_of(form)
    count = many(_text(form.get("count")))

    def wanted() -> list[Wanted]:
        prompt = prompt_of(service, caller, form, files)
        made = [service.asked(caller, prompt)]
        drawn = any(name == "seed" and value == "random" for name, value in prompt.settings)
        if count > 1 and not drawn:
            has_seed = made[0].notes.get("seed") is not None
            raise RequestRefused(
                "invalid_parameter",
                "several pictures with one seed are the same: leave Seed empty"
                if has_seed
                else "this workflow has no seed, so that several pictures would be the same",
            )
        return made + [service.asked(caller, prompt) for _ in range(count - 1)]

    made = await asyncio.to_thread(service.submit, caller, wanted)
    # some workflows have no seed
    seed = made.view.notes.get("seed")
    words = "Asked for." if seed is None else f"Asked for; seed {seed}."
    if count > 1:
        words = f"Asked for {len(made.views)} pictures."
    return _told(request, words, made.view.warnings, "/")


@router.post("/make/again/{job_id}")
async def post_again(request: Request, job_id: str, caller: Actor) -> Response:
    """Make the same with another seed."""
    service = service_of(request)
    made = await asyncio.to_thread(service.submit, caller, lambda: [service.again(caller, job_id)])
    words = f"Asked for again; seed {made.view.notes.get('seed')}."
    return _told(request, words, made.view.warnings, "/")


@router.post("/make/cancel")
async def post_cancel(request: Request, caller: Actor) -> Response:
    """Take back one request, those of the caller that wait, or all."""
    service, form = service_of(request), await request.form()
    which = _text(form.get("which")) or "waiting"
    if which in ("waiting", "all"):
        count = await asyncio.to_thread(service.cancel_all, caller, waiting_only=which == "waiting")
        return _told(request, f"Cancelled: {count}.", (), "/")
    await asyncio.to_thread(service.cancel, caller, which)
    return _told(request, "Cancelled.", (), "/")


@router.get("/live")
async def stream(request: Request, caller: Viewer) -> Response:
    """What goes on, as server-sent events."""
    return StreamingResponse(
        events(service_of(request), caller, token_of(request)),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


@router.get("/live/preview/{job_id}")
async def preview(request: Request, job_id: str, caller: Viewer) -> Response:
    """The latest intermediate picture of a request."""
    service = service_of(request)
    await asyncio.to_thread(service.get, caller, job_id)
    found = service.hub.latest(job_id, "preview")
    if found is None:
        # It has ended since the page was told of it, and the page will be told that next.
        return Response(status_code=204)
    content = await asyncio.to_thread(_decoded, found.data["data_base64"])
    return Response(content, media_type=found.data["content_type"])


def _decoded(text: str) -> bytes:
    import base64

    return base64.b64decode(text)


# ------------------------------------------------------------------------------- gallery


@router.get("/gallery")
async def gallery(
    request: Request,
    caller: Viewer,
    show: Annotated[Literal["", "pick", "reject", "none"], Query()] = "",
    batch: Annotated[str, Query(max_length=64)] = "",
    cursor: Annotated[str | None, Query(max_length=64)] = None,
) -> Response:
    """What was made, the newest first."""
    service = service_of(request)

    def values() -> dict[str, Any]:
        found, more = service.page(
            caller,
            limit=_GALLERY,
            statuses=frozenset((Status.SUCCEEDED,)),
            labels={BATCH: batch} if batch else {},
            before=None if cursor is None else place_of(cursor),
            outputs=True,
            mark="" if show == "none" else show,
        )
        return {
            "pictures": all_pictures(service, found, show),
            "picked": service.marks.count_picked(caller.owner),
            "more": None if more is None else cursor_of(more),
        }

    told = await asyncio.to_thread(values)
    return page(
        request,
        "gallery",
        show=show,
        batch=batch,
        formats=exports.FORMATS,
        signed_in=_signed_in(caller),
        **told,
    )


@router.get("/pictures/{asset_id}")
async def picture(request: Request, asset_id: str, caller: Viewer) -> Response:
    """One picture, and how it was made."""
    service = service_of(request)

    def values() -> dict[str, Any]:
        asset = service.asset(caller, asset_id)
        view = service.get(caller, asset.job_id or "")
        cards = picture_cards(view, service.marks.of([asset_id]))
        card = next((one for one in cards if one.id == asset_id), None)
        if card is None:
            raise NotFound("this file is no picture that a job made")
        facts = {
            name: value
            for name, value in view.notes.get("parameters", {}).items()
            if value is not None
        }
        return {
            "picture": card,
            "facts": facts,
            "server": view.server,
            "seconds": (view.execution_ms or 0) / 1000,
            "warnings": view.warnings,
        }

    told = await asyncio.to_thread(values)
    return page(request, "picture", signed_in=_signed_in(caller), **told)


@router.get("/files/{asset_id}")
async def file(request: Request, asset_id: str, caller: Viewer) -> Response:
    """The bytes of a file of the caller's."""
    opened = await asyncio.to_thread(
        service_of(request).content,
        caller,
        asset_id,
        request.headers.get("range"),
        request.headers.get("if-range"),
    )
    return content_answer(opened)


@router.post("/pictures/{asset_id}/mark")
async def post_mark(request: Request, asset_id: str, caller: Actor) -> Response:
    """Pick a picture, reject it, or neither."""
    service, form = service_of(request), await request.form()
    text = _text(form.get("verdict"))
    if text not in ("pick", "reject", "none"):
        raise RequestRefused("invalid_parameter", "a mark is pick, reject or none")
    verdict = None if text == "none" else Verdict(text)

    def values() -> dict[str, Any]:
        asset = service.mark(caller, asset_id, verdict)
        view = service.get(caller, asset.job_id or "")
        cards = picture_cards(view, service.marks.of([asset_id]))
        return {
            "picture": next(one for one in cards if one.id == asset_id),
            "picked": service.marks.count_picked(caller.owner),
        }

    told = await asyncio.to_thread(values)
    if wants_part(request):
        return page(request, "marked", **told)
    return back(request, f"/pictures/{quote(asset_id, safe='')}")


@router.get("/sheet.zip")
async def sheet(
    request: Request, caller: Viewer, format: Annotated[list[str] | None, Query()] = None
) -> Response:
    """A sheet of what the caller has picked."""
    service = service_of(request)
    content = await asyncio.to_thread(
        lambda: exports.sheet(service, exports.picks(service, caller), format or ["phaser"])
    )
    return _download(content, "sprites-sheet.zip")


@router.get("/picks.zip")
async def picks(request: Request, caller: Viewer) -> Response:
    """What the caller has picked, as it was made."""
    service = service_of(request)
    content = await asyncio.to_thread(
        lambda: exports.pictures(service, exports.picks(service, caller))
    )
    return _download(content, "sprites-picks.zip")


def _download(content: bytes, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type="application/zip", headers=headers)


# ------------------------------------------------------------------------------- batches


@router.get("/batches")
async def batches(request: Request, caller: Viewer) -> Response:
    """The manifests that were posted, and how far each is."""
    found = await asyncio.to_thread(service_of(request).batches, caller)
    rows = [
        {"id": one.id, "name": one.name, "at": when(one.created_at), **_counted(one.counts)}
        for one in found
    ]
    return page(request, "batches", batches=rows, signed_in=_signed_in(caller))


def _counted(counts: Any) -> dict[str, Any]:
    total = sum(counts.values())
    done, failed = counts.get(Status.SUCCEEDED, 0), counts.get(Status.FAILED, 0)
    gone = counts.get(Status.CANCELED, 0) + counts.get(Status.EXPIRED, 0)
    left = total - done - failed - gone
    return {"total": total, "done": done, "failed": failed, "gone": gone, "left": left}


@router.post("/batches")
async def post_batch(request: Request, caller: Actor) -> Response:
    """Take a manifest, as text or as a file."""
    service, form = service_of(request), await request.form()
    file, text = form.get("file"), _text(form.get("manifest"))
    if isinstance(file, UploadFile) and file.size:
        try:
            text = (await file.read()).decode("utf-8")
        except UnicodeDecodeError as error:
            raise RequestRefused("invalid_manifest", "the manifest is not UTF-8") from error
    if not text.strip():
        raise RequestRefused("invalid_manifest", "choose a manifest, or write one")
    made = await asyncio.to_thread(service.submit, caller, lambda: service.batch(caller, text))
    to = f"/batches/{made.view.labels[BATCH]}"
    if wants_part(request):
        return Response(headers={"HX-Redirect": to})
    return back(request, to)


@router.get("/batches/{batch_id}")
async def batch(
    request: Request,
    batch_id: str,
    caller: Viewer,
    cursor: Annotated[str | None, Query(max_length=64)] = None,
) -> Response:
    """The pictures of one manifest, the failures first."""
    service = service_of(request)

    def values() -> dict[str, Any]:
        known = next((one for one in service.batches(caller) if one.id == batch_id), None)
        if known is None:
            raise NotFound("there is no batch of that id")
        labels = {BATCH: batch_id}
        failed, _ = service.page(
            caller, limit=_OF_BATCH, labels=labels, statuses=frozenset((Status.FAILED,))
        )
        before = None if cursor is None else place_of(cursor)
        found, more = service.page(
            caller, limit=_OF_BATCH, labels=labels, before=before, outputs=True
        )
        return {
            "batch": {"id": known.id, "name": known.name, "at": when(known.created_at)},
            "counts": _counted(known.counts),
            "failures": job_cards(service, caller, failed),
            "jobs": job_cards(service, caller, found),
            "more": None if more is None else cursor_of(more),
        }

    told = await asyncio.to_thread(values)
    return page(request, "batch", signed_in=_signed_in(caller), **told)


@router.post("/batches/{batch_id}/cancel")
async def post_cancel_batch(request: Request, batch_id: str, caller: Actor) -> Response:
    """Take back what waits of a batch."""
    service = service_of(request)

    def cancel() -> int:
        mine = [one for one in service.live(caller) if one.labels.get(BATCH) == batch_id]
        for view in mine:
            service.cancel(caller, view.id)
        return len(mine)

    count = await asyncio.to_thread(cancel)
    return _told(request, f"Cancelled: {count}.", (), f"/batches/{quote(batch_id, safe='')}")


# ------------------------------------------------------------------------------- servers


@router.get("/servers")
async def servers(request: Request, caller: Viewer) -> Response:
    """The servers, and how they do."""
    service = service_of(request)

    def values() -> list[dict[str, Any]]:
        service.ask_memory()
        return [_server(service, caller, *one) for one in service.servers()]

    found = await asyncio.to_thread(values)
    return page(request, "servers", servers=found, signed_in=_signed_in(caller))


def _server(
    service: Service, caller: Caller, view: ServerView, known: Any, job_id: str
) -> dict[str, Any]:
    stats = known.stats if known else None
    model, error = service.latest_on(caller, view.name)
    mine = job_id if job_id and service.owns(caller, job_id) else ""
    on_cpu = stats is not None and stats.device_type == "cpu"
    return {
        "name": view.name,
        "open": view.is_open,
        "words": view.words,
        "kind": "" if stats is None else "engine" if stats.is_engine else stats.kind,
        "version": stats.version if stats else "",
        "device": stats.device if stats else "",
        "total": 0 if stats is None else stats.ram_total if on_cpu else stats.vram_total,
        "free": 0 if stats is None else stats.ram_free if on_cpu else stats.vram_free,
        "busy": bool(job_id),
        "job": job_cards(service, caller, [service.get(caller, mine)])[0] if mine else None,
        "model": model,
        "error": error,
        "done": view.done,
        "failures": view.failures,
    }


# ------------------------------------------------------------------------------- people


@router.get("/sign-in")
async def sign_in(request: Request, next: Annotated[str, Query(max_length=200)] = "/") -> Response:
    """The form that asks for a key."""
    return page(request, "sign_in", problem="", next=next)


@router.post("/sign-in")
async def post_sign_in(request: Request) -> Response:
    """Begin a session with a key."""
    await check_form(request)
    service, form = service_of(request), await request.form()
    to = _inside(_text(form.get("next")))
    try:
        key = await service.keys.admit(_text(form.get("key")).strip())
    except AccessDenied as error:
        return page(request, "sign_in", 401, problem=str(error), next=to)
    token = await asyncio.to_thread(service.sessions.begin, key.id)
    answer = back(request, to)
    # A new one: whatever the browser had before may be known to somebody.
    set_cookie(request, answer, token)
    return answer


@router.post("/sign-out")
async def post_sign_out(request: Request) -> Response:
    """End the session."""
    await check_form(request)
    await asyncio.to_thread(service_of(request).sessions.end, token_of(request))
    answer = back(request, "/sign-in")
    set_cookie(request, answer, new_token())
    return answer


def _inside(path: str) -> str:
    """A path of this page; "/" for anything that could lead elsewhere."""
    ours = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if ours and "\\" not in path else "/"


# ------------------------------------------------------------------------------- files, inside


@router.get("/page/{name}")
async def static_file(request: Request, name: str) -> Response:
    """A script or a style."""
    found = static(PurePosixPath(name).name)
    if found is None:
        raise HTTPException(404, "there is no such file")
    headers = {"ETag": found.etag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == found.etag:
        return Response(status_code=304, headers=headers)
    return Response(found.content, media_type=found.content_type, headers=headers)


def _told(request: Request, words: str, warnings: Any, to: str) -> Response:
    if wants_part(request):
        return page(request, "notice", kind="done", words=words, warnings=warnings)
    return back(request, to)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
