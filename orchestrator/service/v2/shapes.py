"""Comfy API v2's requests and answers, as its OpenAPI has them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..views import Status

_GRAPH: Any = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 32, "height": 32}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "sprite"}},
}


class JobRequest(BaseModel):
    """A graph to run."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"workflow": _GRAPH}]})

    workflow: dict[str, Any] = Field(
        description="The graph (API format). Where a file's name would stand, an asset may: "
        '`{"__type": "core/ASSET", "info": {"id": ...}}`.'
    )
    extra_data: dict[str, Any] | None = Field(
        default=None,
        description="`api_key_comfy_org`, for nodes that ask Comfy's services. Kept in memory "
        "only, but where workers make jobs: after a restart of the service such nodes fail.",
    )
    metadata: dict[str, Any] | None = Field(
        default=None,
        description="At most 16 labels, texts of up to 512 characters, to find the job by.",
        examples=[{"client": "acme"}],
    )
    priority: int = Field(
        default=0, ge=-100, le=100, description="The higher the sooner; an extension of ours."
    )
    webhook_url: str | None = Field(
        default=None,
        max_length=2048,
        description="Told when the job has ended, signed as Standard Webhooks has it.",
    )


class FromHash(BaseModel):
    """Bytes that the caller has uploaded before."""

    hash: str = Field(examples=["blake3:" + 64 * "0"])
    file_path: str | None = Field(default=None, examples=["hero.png"])
    tags: list[str] = Field(default_factory=list)


class Progress(BaseModel):
    """How far a job is; complete in itself."""

    value: float = Field(ge=0, le=1, examples=[0.42])
    nodes_done: int
    nodes_total: int
    current_node: str | None = None
    current_node_class: str | None = None
    step: int | None = None
    steps: int | None = None
    message: str | None = Field(default=None, examples=["KSampler 21/50"])


class Output(BaseModel):
    """A file that a job made; it is an asset."""

    node_id: str
    name: str = Field(examples=["sprite_00001_.png"])
    type: Literal["image", "video", "audio", "text", "file", "latent"]
    content_type: str
    size_bytes: int
    id: str
    hash: str | None
    url: str
    url_expires_at: datetime
    job_id: str | None = None


class JobError(BaseModel):
    """Why a job failed."""

    code: str = Field(examples=["node_execution_error"])
    message: str
    node_id: str | None = None
    class_type: str | None = None
    traceback: str | None = None


class JobUrls(BaseModel):
    """Links to follow, relative to the host."""

    self: str
    events: str
    cancel: str


class Job(BaseModel):
    """A job, from its submission until it expires."""

    id: str
    status: Status
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    expires_at: datetime
    queue_position: int | None = Field(description="From 1, among those that wait.")
    progress: Progress | None
    outputs: list[Output]
    error: JobError | None
    metrics: dict[str, int | None] | None = Field(
        examples=[{"queue_ms": 120, "execution_ms": 42000}]
    )
    metadata: dict[str, str]
    urls: JobUrls


class JobItem(BaseModel):
    """A job in a list."""

    id: str
    status: Status
    create_time: datetime
    update_time: datetime
    metadata: dict[str, str]


class JobPage(BaseModel):
    """A page of jobs, the newest first."""

    jobs: list[JobItem]
    next_cursor: str | None = Field(default=None, description="Missing on the last page.")


class JobWorkflow(BaseModel):
    """The graph of a job, as it was posted."""

    workflow: dict[str, Any]
    format: Literal["api", "save"]


class Asset(BaseModel):
    """A file of the caller."""

    id: str
    hash: str | None
    size_bytes: int
    content_type: str = Field(description="Found by looking into the file.")
    file_path: str | None = None
    created_new: bool | None = None
    created_at: datetime
    url: str
    url_expires_at: datetime
    expires_at: datetime | None = None
    job_id: str | None = None


class Error(BaseModel):
    """What went wrong."""

    code: str = Field(examples=["invalid_workflow"])
    message: str
    details: dict[str, Any] | None = None


class ErrorEnvelope(BaseModel):
    """Every error's answer."""

    error: Error


class Health(BaseModel):
    """That the service is there."""

    status: Literal["healthy"]
