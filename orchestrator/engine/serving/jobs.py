"""The routes below `/api/jobs`: where jobs are, and their cancelling, as in ComfyUI 0.33.0."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, Request, Response

from ...errors import ProtocolError
from ...protocol import JobsQuery, JobStatus, ended_job, read_job_ids, refused_ids, waiting_job
from ..execution.jobs import JobQueue
from .bodies import json_answer, json_object


def add_job_routes(router: APIRouter, queue: JobQueue) -> None:
    """Add the routes, without their `/api`, to a router."""
    # Plain functions run in a thread: there may be ten thousand records.

    @router.get("/jobs")
    def get_jobs(request: Request) -> Response:
        try:
            query = JobsQuery.from_query(request.query_params)
        except ProtocolError as error:
            return _refused(error)
        return json_answer(query.answer(_every_job(queue)))

    @router.get("/jobs/{job_id}")
    def get_job(job_id: str) -> Response:
        found = _one_job(queue, job_id)
        if found is None:
            return json_answer({"error": f"there is no job {job_id}"}, 404)
        return json_answer(found)

    @router.post("/jobs/{job_id}/cancel")
    async def cancel_one(job_id: str) -> Response:
        return json_answer({"cancelled": queue.cancel(job_id)})

    @router.post("/jobs/cancel")
    async def cancel_several(request: Request) -> Response:
        try:
            ids = read_job_ids(await json_object(request))
        except ProtocolError as error:
            return _refused(error)
        if (refusal := refused_ids(ids)) is not None:
            return json_answer(refusal, 400)
        # a list, so that all are cancelled and not only the first that can be
        return json_answer({"cancelled": any([queue.cancel(each) for each in ids])})


def _refused(error: ProtocolError) -> Response:
    return json_answer({"error": str(error)}, 400)


def _every_job(queue: JobQueue) -> Iterator[dict[str, Any]]:
    running, pending, records = queue.overview()
    yield from (waiting_job(job.to_json(), JobStatus.IN_PROGRESS) for job in running)
    yield from (waiting_job(job.to_json(), JobStatus.PENDING) for job in pending)
    yield from (ended_job(prompt_id, record) for prompt_id, record in records.items())


def _one_job(queue: JobQueue, prompt_id: str) -> dict[str, Any] | None:
    running, pending, records = queue.overview()
    if prompt_id in records:
        return ended_job(prompt_id, records[prompt_id], whole=True)
    for jobs, status in ((running, JobStatus.IN_PROGRESS), (pending, JobStatus.PENDING)):
        for job in jobs:
            if job.prompt_id == prompt_id:
                return waiting_job(job.to_json(), status)
    return None
