"""ComfyUI's HTTP and WebSocket routes over the engine, each with and without /api.

Those of jobs.py answer below /api only.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI, Request, WebSocket
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, PlainTextResponse, Response
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect

from ...errors import InputError, OutputError, ProtocolError, SpriteworksError
from ...guard import Guard
from ...patience import Patience
from ...protocol import PromptRequest, QueueStatus, is_prompt_id, new_prompt_id
from .. import host
from ..execution.graph_worker import GraphWorker
from ..execution.jobs import GraphJob, GraphQueue
from ..execution.validation import GraphVerdict, check, problem
from ..folders import MODEL_KINDS, Folders, OutsideFolder
from . import files
from .bodies import json_answer, json_object
from .files import UploadedFile
from .hub import Hub
from .jobs import add_job_routes
from .registry import NodeRegistry, engine_nodes, import_libraries
from .stats import system_stats

logger = logging.getLogger(__name__)

# ComfyUI's default, in bytes
MAX_BODY = 100 * 1024 * 1024
# Logins of the editor's user at a service; no node of ours asks for them, so they are kept nowhere.
_SECRETS = ("auth_token_comfy_org", "api_key_comfy_org")


class Engine:
    """The parts of a running engine."""

    def __init__(self, folders: Folders, registry: NodeRegistry | None = None) -> None:
        self.folders = folders
        self.registry = registry or NodeRegistry(engine_nodes, import_libraries)
        self.hub = Hub(
            {"supports_preview_metadata": True, "max_upload_size": MAX_BODY, "assets": False}
        )
        self.queue = GraphQueue(self._queue_changed)
        self.worker = GraphWorker(self.queue, self.registry.settled, self.hub)

    def start(self) -> None:
        """Begin to load nodes and to work; call in the event loop of the server."""
        host.use_folders(self.folders)
        self.hub.start()
        self.registry.start()
        self.worker.start()

    def stop(self) -> None:
        """Interrupt what runs and end the worker."""
        self.worker.stop()

    def _queue_changed(self) -> None:
        self.hub.send(QueueStatus(queue_remaining=self.queue.remaining()), None)


def create_app(
    engine: Engine, *, loopback_only: bool = True, names: Collection[str] = ()
) -> FastAPI:
    """The ASGI application; the engine starts and stops with it.

    With `loopback_only` it answers to names of this machine only, which keeps out DNS rebinding,
    and to `names`.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        engine.start()
        yield
        await run_in_threadpool(engine.stop)

    app = FastAPI(lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None)
    app.add_middleware(Patience)
    app.add_middleware(Guard, max_body=MAX_BODY, loopback_only=loopback_only, names=names)
    app.add_exception_handler(SpriteworksError, _our_error)
    app.add_exception_handler(ClientDisconnect, _nobody_there)
    router = APIRouter()
    for add in (_add_jobs, _add_files, _add_facts, _add_socket):
        add(router, engine)
    job_routes = APIRouter()
    add_job_routes(job_routes, engine.queue)
    app.include_router(router)
    for each in (router, job_routes):
        app.include_router(each, prefix="/api")
    return app


async def _nobody_there(_: Request, error: Exception) -> Response:
    """The client went away before its body was whole: nobody hears the answer."""
    logger.debug("a client went away amid its request")
    return Response(status_code=400)


async def _our_error(_: Request, error: Exception) -> Response:
    status = 500
    if isinstance(error, (InputError, ProtocolError)):
        status = 400
    elif isinstance(error, OutputError):
        # 507 is "insufficient storage"
        status = 507
    return PlainTextResponse(str(error), status)


def _add_jobs(router: APIRouter, engine: Engine) -> None:
    queue = engine.queue

    @router.post("/prompt")
    async def post_prompt(request: Request) -> Response:
        try:
            wanted = PromptRequest.from_json(await json_object(request))
        except ProtocolError as error:
            refused = problem("no_prompt", "The body is no job", str(error))
            return json_answer({"error": refused, "node_errors": {}}, 400)
        return await run_in_threadpool(_submit, engine, wanted)

    @router.get("/prompt")
    async def get_prompt() -> Response:
        return json_answer({"exec_info": {"queue_remaining": queue.remaining()}})

    @router.get("/queue")
    async def get_queue() -> Response:
        running, pending = queue.snapshot()
        return json_answer(
            {
                "queue_running": [job.to_json() for job in running],
                "queue_pending": [job.to_json() for job in pending],
            }
        )

    @router.post("/queue")
    async def post_queue(request: Request) -> Response:
        return _change(await json_object(request), queue.clear, queue.delete)

    @router.get("/history")
    async def get_history(max_items: int | None = None, offset: int = -1) -> Response:
        return json_answer(queue.history(max_items, offset))

    @router.get("/history/{prompt_id}")
    async def get_record(prompt_id: str) -> Response:
        return json_answer(queue.record(prompt_id))

    @router.post("/history")
    async def post_history(request: Request) -> Response:
        return _change(await json_object(request), queue.clear_history, queue.delete_history)

    @router.post("/interrupt")
    async def interrupt(request: Request) -> Response:
        try:
            prompt_id = (await json_object(request)).get("prompt_id")
        except ProtocolError:
            # as in ComfyUI a body that cannot be read means: whatever runs
            prompt_id = None
        queue.interrupt(prompt_id or None)
        return Response()

    @router.post("/free")
    async def free(request: Request) -> Response:
        body = await json_object(request)
        # Models live only in the cached results, so both wishes are the same here.
        if body.get("unload_models") or body.get("free_memory"):
            queue.ask_to_free()
        return Response()


def _submit(engine: Engine, wanted: PromptRequest) -> Response:
    number = wanted.number
    if number is None:
        number = engine.queue.take_number(wanted.front)
    if wanted.prompt_id is not None and not is_prompt_id(wanted.prompt_id):
        message = "The prompt_id is no UUID in lower case with hyphens"
        refused = problem("invalid_prompt_id", message, "Without one the server gives an id")
        return json_answer({"error": refused, "node_errors": {}}, 400)
    verdict: GraphVerdict = check(wanted.graph, engine.registry.nodes(), wanted.targets)
    if verdict.error is not None:
        return json_answer({"error": verdict.error, "node_errors": verdict.node_errors}, 400)
    extra_data = {key: value for key, value in wanted.extra_data.items() if key not in _SECRETS}
    extra_data["create_time"] = int(time.time() * 1000)
    if wanted.client_id is not None:
        extra_data["client_id"] = wanted.client_id
    job = GraphJob(
        number=number,
        prompt_id=wanted.prompt_id or new_prompt_id(),
        graph=verdict.graph,
        extra_data=extra_data,
        outputs=verdict.outputs,
    )
    engine.queue.put(job)
    return json_answer(
        {"prompt_id": job.prompt_id, "number": job.number, "node_errors": verdict.node_errors}
    )


def _change(
    body: dict[str, Any], clear: Callable[[], None], delete: Callable[[list[str]], None]
) -> Response:
    if body.get("clear"):
        clear()
    if isinstance(ids := body.get("delete"), list):
        # anything else is no id of a job
        delete([each for each in ids if isinstance(each, str)])
    return Response()


def _add_files(router: APIRouter, engine: Engine) -> None:
    folders = engine.folders

    @router.post("/upload/image")
    async def upload_image(request: Request) -> Response:
        upload, _ = await _upload(request)
        saved = await run_in_threadpool(files.save_upload, folders, upload)
        return _saved(saved)

    @router.post("/upload/mask")
    async def upload_mask(request: Request) -> Response:
        upload, original = await _upload(request)

        def save() -> Response:
            merged = files.masked(folders, original, upload.content)
            plain = UploadedFile(**{**vars(upload), "content": merged})
            return _saved(files.save_upload(folders, plain))

        return await run_in_threadpool(save)

    @router.get("/view")
    async def view(request: Request) -> Response:
        query = dict(request.query_params)
        if "filename" not in query:
            return Response(status_code=404)
        try:
            path = await run_in_threadpool(files.find_view, folders, query)
        except OutsideFolder as error:
            return PlainTextResponse(str(error), 400)
        except InputError as error:
            return PlainTextResponse(str(error), 404)
        wanted_as = request.headers.get("Sec-Fetch-Dest", "")
        shown = await run_in_threadpool(files.view, path, query, wanted_as)
        if isinstance(shown.content, bytes):
            return Response(shown.content, media_type=shown.media_type, headers=shown.headers)
        return FileResponse(
            shown.content,
            media_type=shown.media_type,
            filename=path.name,
            content_disposition_type=shown.disposition,
            headers=shown.headers,
        )


def _saved(saved: files.FileRef) -> Response:
    return json_answer({"name": saved.filename, "subfolder": saved.subfolder, "type": saved.type})


async def _upload(request: Request) -> tuple[UploadedFile, str]:
    """The file of a multipart form and its `original_ref`; raises InputError without a file."""
    async with request.form() as form:
        image = form.get("image")
        if not isinstance(image, UploadFile) or not image.filename:
            raise InputError("the form has no file called image")
        upload = UploadedFile(
            filename=image.filename,
            content=await image.read(),
            type=str(form.get("type") or "input"),
            subfolder=str(form.get("subfolder") or ""),
            overwrite=form.get("overwrite") in ("true", "1"),
        )
        return upload, str(form.get("original_ref") or "")


def _add_facts(router: APIRouter, engine: Engine) -> None:
    folders = engine.folders

    # Plain functions run in a thread: these wait for imports or read the disk.
    @router.get("/object_info")
    def object_info() -> Response:
        nodes = engine.registry.nodes()
        return json_answer({name: cls.GET_NODE_INFO_V1() for name, cls in nodes.items()})

    @router.get("/object_info/{name}")
    def one_object_info(name: str) -> Response:
        cls = engine.registry.nodes().get(name)
        return json_answer({} if cls is None else {name: cls.GET_NODE_INFO_V1()})

    @router.get("/system_stats")
    def stats() -> Response:
        # A server that cannot load its nodes is not well, and torch is imported by one thread.
        engine.registry.nodes()
        return json_answer(system_stats())

    @router.get("/features")
    async def features() -> Response:
        return json_answer(engine.hub.features)

    @router.get("/models")
    async def models() -> Response:
        return json_answer(list(MODEL_KINDS))

    @router.get("/models/{kind}")
    def models_of(kind: str) -> Response:
        if kind not in MODEL_KINDS:
            return Response(status_code=404)
        return json_answer(list(folders.models(kind)))

    @router.get("/embeddings")
    def embeddings() -> Response:
        return json_answer([name.rpartition(".")[0] for name in folders.models("embeddings")])


def _add_socket(router: APIRouter, engine: Engine) -> None:
    @router.websocket("/ws")
    async def socket(websocket: WebSocket) -> None:
        await engine.hub.serve(websocket, engine.queue.remaining())
