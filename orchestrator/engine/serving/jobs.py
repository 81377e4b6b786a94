"""The routes below `/api/jobs`: where jobs are, and their cancelling, as in ComfyUI 0.33.0."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from ...errors import ProtocolError
from ...protocol import JobsOverview, JobsQuery, read_job_ids, refused_ids
from ..execution.jobs import GraphQueue
from .bodies import json_answer, json_object


def add_job_routes(router: APIRouter, queue: GraphQueue) -> None:
    """Add the routes, without their `/api`, to a router."""
    # Plain functions run in a thread: there may be ten thousand records.

    @router.get("/jobs")
    def get_jobs(request: Request) -> Response:
        try:
            query = JobsQuery.from_query(request.query_params)
        except ProtocolError as error:
            return _refused(error)
        return json_answer(query.answer(_overview(queue).all()))

    @router.get("/jobs/{job_id}")
    def get_job(job_id: str) -> Response:
        found = _overview(queue).one(job_id)
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


def _overview(queue: GraphQueue) -> JobsOverview:
    running, pending, records = queue.overview()
    return JobsOverview(
        running=[job.to_json() for job in running],
        pending=[job.to_json() for job in pending],
        history=records,
    )
