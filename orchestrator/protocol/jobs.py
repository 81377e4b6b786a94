"""What the routes below `/api/jobs` say of a job that waits, runs or is over.

Fields and order are those of ComfyUI 0.33.0. Of the versions tried 0.3.64 has none of these routes,
0.8.2 to 0.24.0 have those that list, 0.28.0 those that cancel, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ..errors import ProtocolError
from .http import HistoryRecord, JobState, is_prompt_id
from .job_outputs import listed, summary


class JobStatus(str, Enum):
    """Where a job is, in the words of `/api/jobs`."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


_STATUS_OF = {
    JobState.SUCCEEDED: JobStatus.COMPLETED,
    JobState.FAILED: JobStatus.FAILED,
    JobState.INTERRUPTED: JobStatus.CANCELLED,
}
_ENDS = ("execution_success", "execution_error", "execution_interrupted")


# ----------------------------------------------------------------------------- one job


def waiting_job(item: Sequence[Any], status: JobStatus) -> dict[str, Any]:
    """A job that waits or runs, from its five items in `GET /queue`."""
    number, prompt_id, _, extra_data, _ = item
    job = {
        "id": prompt_id,
        "status": status.value,
        "priority": number,
        "create_time": extra_data.get("create_time"),
        "outputs_count": 0,
        "previewable_outputs_count": 0,
        "workflow_id": _workflow_id(extra_data),
    }
    return _without_none(job)


def ended_job(prompt_id: str, record: Mapping[str, Any], *, whole: bool = False) -> dict[str, Any]:
    """A job that is over, from its history record; `whole` adds outputs, graph and messages."""
    number, _, graph, extra_data, _ = record["prompt"]
    history = HistoryRecord.from_json(prompt_id, record)
    job = _without_none(
        {
            "id": prompt_id,
            "status": _STATUS_OF[history.state].value,
            "priority": number,
            "create_time": extra_data.get("create_time"),
            "execution_start_time": _when(history, "execution_start"),
            "execution_end_time": _when(history, *_ENDS),
            "execution_error": history.message("execution_error"),
            **summary(history.outputs),
            "workflow_id": _workflow_id(extra_data),
        }
    )
    if whole:
        job["outputs"] = listed(history.outputs)
        job["execution_status"] = record.get("status")
        job["workflow"] = {"prompt": graph, "extra_data": extra_data}
    return job


def _workflow_id(extra_data: Mapping[str, Any]) -> Any:
    """The id of the canvas file that the editor sends along."""
    pnginfo = extra_data.get("extra_pnginfo")
    workflow = pnginfo.get("workflow") if isinstance(pnginfo, Mapping) else None
    return workflow.get("id") if isinstance(workflow, Mapping) else None


def _when(history: HistoryRecord, *names: str) -> Any:
    """The time in ms of the last message of these names."""
    times = (data.get("timestamp") for name, data in reversed(history.messages) if name in names)
    return next(times, None)


def _without_none(job: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in job.items() if value is not None}


# ----------------------------------------------------------------------------- many jobs


@dataclass(frozen=True, kw_only=True)
class JobsOverview:
    """All jobs of a server at one moment, as its queue and its history give them."""

    running: Sequence[Sequence[Any]]
    pending: Sequence[Sequence[Any]]
    # {id: history record}
    history: Mapping[str, Mapping[str, Any]]

    def all(self) -> Iterator[dict[str, Any]]:
        """Every job, for `JobsQuery.answer`."""
        yield from self._waiting()
        yield from (ended_job(prompt_id, record) for prompt_id, record in self.history.items())

    def one(self, prompt_id: str) -> dict[str, Any] | None:
        """A job with all that is known of it; None where there is none of that id."""
        if prompt_id in self.history:
            return ended_job(prompt_id, self.history[prompt_id], whole=True)
        return next((job for job in self._waiting() if job["id"] == prompt_id), None)

    def _waiting(self) -> Iterator[dict[str, Any]]:
        yield from (waiting_job(item, JobStatus.IN_PROGRESS) for item in self.running)
        yield from (waiting_job(item, JobStatus.PENDING) for item in self.pending)


@dataclass(frozen=True, kw_only=True)
class JobsQuery:
    """Which jobs `GET /api/jobs` lists, and in which order."""

    statuses: frozenset[str] = frozenset(JobStatus)
    workflow_id: str = ""
    # by how long they ran, otherwise by when they came
    by_duration: bool = False
    newest_first: bool = True
    # at least 1; None lists all
    limit: int | None = None
    offset: int = 0

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> JobsQuery:
        """Read the query of the address; raises ProtocolError for what it cannot mean."""
        sort_by = query.get("sort_by", "created_at").lower()
        order = query.get("sort_order", "desc").lower()
        _one_of("sort_by", sort_by, ("created_at", "execution_duration"))
        _one_of("sort_order", order, ("asc", "desc"))
        limit = _integer(query, "limit")
        if limit is not None and limit <= 0:
            raise ProtocolError(f"limit must be a positive integer, not {limit}")
        return cls(
            statuses=_statuses(query.get("status", "")),
            workflow_id=query.get("workflow_id", ""),
            by_duration=sort_by == "execution_duration",
            newest_first=order == "desc",
            limit=limit,
            offset=max(_integer(query, "offset") or 0, 0),
        )

    def answer(self, jobs: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        """The body of the answer, of all the jobs that there are."""
        found = [
            job
            for job in jobs
            if job["status"] in self.statuses and self.workflow_id in ("", job.get("workflow_id"))
        ]
        key = _duration if self.by_duration else _age
        found.sort(key=key, reverse=self.newest_first)
        page = found[self.offset :]
        page = page if self.limit is None else page[: self.limit]
        return {
            "jobs": page,
            "pagination": {
                "offset": self.offset,
                "limit": self.limit,
                "total": len(found),
                "has_more": self.offset + len(page) < len(found),
            },
        }


def _statuses(text: str) -> frozenset[str]:
    named = [word.strip().lower() for word in text.split(",") if word.strip()]
    known = [status.value for status in JobStatus]
    for word in named:
        _one_of("status", word, known)
    return frozenset(named if text else known)


def _one_of(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ProtocolError(f"{name} is {value!r}; it can be {', '.join(known)}")


def _integer(query: Mapping[str, str], name: str) -> int | None:
    try:
        return int(query[name]) if name in query else None
    except ValueError as error:
        raise ProtocolError(f"{name} must be an integer, not {query[name]!r}") from error


def _age(job: Mapping[str, Any]) -> Any:
    return job.get("create_time", 0)


def _duration(job: Mapping[str, Any]) -> Any:
    start, end = job.get("execution_start_time"), job.get("execution_end_time")
    return end - start if start and end else 0


# ----------------------------------------------------------------------------- cancelling


def read_job_ids(body: Any) -> list[Any]:
    """The ids in the body of `POST /api/jobs/cancel`; raises ProtocolError where it has none."""
    ids = body.get("job_ids") if isinstance(body, dict) else None
    if not isinstance(ids, list):
        raise ProtocolError("job_ids must be a list of ids")
    return ids


def refused_ids(ids: Iterable[Any]) -> dict[str, Any] | None:
    """The body of the answer 400 where some of the ids are no canonical UUIDs, else None."""
    wrong = [
        each if isinstance(each, str) else repr(each) for each in ids if not is_prompt_id(each)
    ]
    if not wrong:
        return None
    return {"error": "job_ids must be canonical lower-case UUIDs", "invalid_ids": wrong}
