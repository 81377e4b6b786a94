"""The ASGI application: both faces and the page over one service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from ..errors import SpriteworksError
from ..guard import Guard
from ..patience import Patience
from ..version import __version__
from .answers import answer_to, error_answer, http_answer, refusal
from .health import router as health
from .journal import Journal, Told, visit_of
from .page.routes import router as pages
from .service import Service
from .v1.routes import router as v1
from .v2.routes import router as v2

# bytes of a body; a file may be as large as assets may be, and the form around it
MAX_BODY = 1024**3 + 64 * 1024

_DESCRIPTION = """\
Sprites from prompts, and ComfyUI workflows, on every server there is.

`/v1` takes a prompt and a few numbers. `/api/v2` is [Comfy API v2](https://docs.comfy.org): any
workflow in API format, with uploads, for Comfy's SDKs. Both see the same jobs.

Where API keys were made (`spriteworks keys create`), each request needs one:
`Authorization: Bearer KEY`. Errors are `{"error": {"code", "message", "details"}}`.
"""


def create_app(
    service: Service, *, loopback_only: bool = True, told: Told | None = None
) -> FastAPI:
    """The application; the service starts and stops with it.

    With `loopback_only` it answers to names of this machine only, which keeps out DNS rebinding.
    `told` is told of each request.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(service.start)
        sending = asyncio.create_task(service.webhooks.run())
        yield
        sending.cancel()
        with suppress(asyncio.CancelledError):
            await sending
        await asyncio.to_thread(service.stop)

    app = _routed(lifespan)
    app.state.service = service
    app.add_middleware(Patience)
    app.add_middleware(Guard, max_body=MAX_BODY, loopback_only=loopback_only, refuse=refusal)
    # Around all others: what they refuse is a request, too.
    app.add_middleware(Journal, told=told)
    app.add_exception_handler(SpriteworksError, _our_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _not_valid)
    app.add_exception_handler(Exception, _fault)
    return app


def description() -> dict[str, Any]:
    """The OpenAPI of the service, as `GET /openapi.json` gives it."""
    return _routed(None).openapi()


def _routed(lifespan: Any) -> FastAPI:
    app = FastAPI(
        title="Spriteworks",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: f"{route.tags[0]}: {route.name}",
    )
    # routes are tried in order, and what is asked for most comes first
    for face in (v2, v1, health, pages):
        app.include_router(face)
    made = app.openapi

    def openapi() -> dict[str, Any]:
        told = made()
        schemes = told["components"].setdefault("securitySchemes", {})
        schemes["key"] = {"type": "http", "scheme": "bearer"}
        # where no key was made, none is needed
        told["security"] = [{"key": []}, {}]
        return told

    app.openapi = openapi  # type: ignore[method-assign]
    return app


async def _our_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, SpriteworksError)
    return answer_to(error)


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return http_answer(error)


async def _fault(request: Request, _: Exception) -> Response:
    # What happened stands in the log; whoever asks learns nothing of the inside.
    visit = visit_of(request)
    which = f" (request {visit.id})" if visit else ""
    return error_answer(500, "internal_error", f"this is a fault of Spriteworks{which}")


async def _not_valid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = [
        {"field": ".".join(map(str, one["loc"])), "problem": one["msg"]}
        for one in error.errors()[:20]
    ]
    message = "; ".join(f"{one['field']}: {one['problem']}" for one in problems)
    return error_answer(422, "invalid_request", message, details={"problems": problems})
