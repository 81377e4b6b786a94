"""The routes below `/api/jobs` of the fake server in server.py."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import ProtocolError
from ..protocol import JobsOverview, JobsQuery, read_job_ids, refused_ids
from .http import HttpAnswer, HttpRequest, json_answer


def get_jobs(request: HttpRequest, job_id: str, jobs: JobsOverview) -> HttpAnswer:
    """Answer for all jobs, or for one."""
    if job_id:
        found = jobs.one(job_id)
        return json_answer(found or {"error": "there is no such job"}, 200 if found else 404)
    try:
        return json_answer(JobsQuery.from_query(request.query).answer(jobs.all()))
    except ProtocolError as error:
        return json_answer({"error": str(error)}, 400)


def cancel_jobs(request: HttpRequest, rest: str, cancel: Callable[[str], bool]) -> HttpAnswer:
    """Answer to `POST /api/jobs/{id}/cancel` and `POST /api/jobs/cancel`."""
    if rest != "cancel":
        return json_answer({"cancelled": cancel(rest.removesuffix("/cancel"))})
    try:
        ids = read_job_ids(request.json())
    except (ProtocolError, ValueError) as error:
        return json_answer({"error": str(error)}, 400)
    if (refusal := refused_ids(ids)) is not None:
        return json_answer(refusal, 400)
    return json_answer({"cancelled": any([cancel(each) for each in ids])})
