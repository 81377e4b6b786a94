"""What those ask who look after the service: is it there, is it ready, how does it do."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response

from .answers import json_answer
from .bodies import service_of
from .metrics import CONTENT_TYPE, exposition
from .v1.shapes import Ready
from .v2.shapes import Health

router = APIRouter(tags=["Operation"])


@router.get("/health", responses={200: {"model": Health}})
async def health() -> Response:
    """Say that the process is there; needs no key."""
    return json_answer({"status": "healthy"})


@router.get("/ready", responses={200: {"model": Ready}, 503: {"model": Ready}})
async def ready(request: Request) -> Response:
    """Say whether jobs can be served now, and what is wrong where not; needs no key."""
    found = await asyncio.to_thread(service_of(request).ready)
    told = {"ready": found.is_ready, "checks": dict(found.checks)}
    return json_answer(told, 200 if found.is_ready else 503)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request) -> Response:
    """Give figures for Prometheus, counted in the database; needs no key."""
    service = service_of(request)
    text = await asyncio.to_thread(exposition, service)
    return Response(text, headers={"Content-Type": CONTENT_TYPE})
