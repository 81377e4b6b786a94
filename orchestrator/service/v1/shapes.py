"""The requests and answers of `/v1`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..v2.shapes import JobError
from ..views import Status

_PICTURE = "A picture: the id of an uploaded asset, or PNG, JPEG or WebP in base64."
# base64 of the largest picture that is taken in JSON; larger ones are uploaded
_MOST_BASE64 = 30 * 1024 * 1024

Name = Annotated[str, Field(min_length=1, max_length=64)]
Value = str | int | float | bool


class JobRequest(BaseModel):
    """What to make. Whatever is left out comes from the workflow."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "prompt": "a red potion, pixel art, game sprite",
                    "negative_prompt": "blurry, text",
                    "steps": 12,
                    "guidance_scale": 3.0,
                    "seed": 7,
                    "width": 128,
                    "height": 128,
                }
            ]
        },
    )

    prompt: str | None = Field(default=None, max_length=100_000)
    negative_prompt: str | None = Field(default=None, max_length=100_000)
    steps: int | None = Field(default=None, ge=1, le=10_000)
    guidance_scale: float | None = Field(default=None, ge=0, le=100)
    seed: int | None = Field(
        default=None, ge=-1, le=2**64 - 1, description="-1 takes any; the answer says which."
    )
    width: int | None = Field(default=None, ge=8, le=16_384)
    height: int | None = Field(default=None, ge=8, le=16_384)
    model: str | None = Field(default=None, min_length=1, max_length=512)
    workflow: Name | None = Field(
        default=None, description="One of `GET /v1/workflows`; else the service's own choice."
    )
    parameters: dict[str, Value] = Field(
        default_factory=dict,
        max_length=256,
        description='More of the workflow: a role such as `sampler`, `NODE_ID.input`, or `"Title"'
        ".input`, as `spriteworks run --set` takes them.",
    )
    image: str | None = Field(default=None, max_length=_MOST_BASE64, description=_PICTURE)
    mask: str | None = Field(default=None, max_length=_MOST_BASE64, description=_PICTURE)
    manifest: str | dict[str, Any] | None = Field(
        default=None,
        description="A manifest of `spriteworks batch`, YAML or JSON: a job for each of its "
        "pictures, at most 1,000. It stands alone, and has nothing of files, gates and rerolls.",
    )
    labels: dict[str, str] = Field(default_factory=dict, max_length=16)
    priority: int = Field(default=0, ge=-100, le=100, description="The higher the sooner.")
    webhook_url: str | None = Field(
        default=None, max_length=2048, description="Told when the job has ended; signed."
    )


class Image(BaseModel):
    """A file that a job made."""

    id: str
    name: str
    node: str
    content_type: str
    bytes: int
    url: str
    image_base64: str | None = Field(default=None, description="In `complete` events only.")


class Progress(BaseModel):
    """How far a job is."""

    value: float = Field(ge=0, le=1)
    step: int | None = None
    steps: int | None = None
    node: str | None = None
    message: str | None = None


class Taken(BaseModel):
    """A job that was taken."""

    job_id: str
    status: Status
    queue_position: int | None = None
    seed: int | None = None
    workflow: str | None = None
    warnings: list[str] = Field(
        description="What is worth knowing: a size that the model was not made for, for example."
    )
    url: str
    stream_url: str


class Batch(BaseModel):
    """The jobs of a manifest."""

    batch_id: str = Field(description="`GET /v1/jobs?batch=` lists them.")
    jobs: list[Taken]


class Job(Taken):
    """A job, as it is now."""

    created_at: datetime
    started_at: datetime | None = None
    completed_at: datetime | None = None
    expires_at: datetime
    progress: Progress | None = None
    images: list[Image]
    error: JobError | None = None
    parameters: dict[str, Any]
    labels: dict[str, str]
    server: str | None = None


class JobPage(BaseModel):
    """A page of jobs, the newest first."""

    jobs: list[Job]
    next_cursor: str | None = Field(default=None, description="Missing on the last page.")


class Cancelled(BaseModel):
    """How many jobs were taken back."""

    cancelled: int


class Model(BaseModel):
    """A model that a server has."""

    name: str
    servers: list[str]
    width: int | None = Field(default=None, description="What it was made for, where known.")
    height: int | None = None


class Models(BaseModel):
    """All models that loaders list."""

    models: list[Model]
    default: str | None = None


class Workflow(BaseModel):
    """A workflow that a job may name."""

    name: str
    parameters: dict[str, Any] = Field(
        description="Each role and its value; null follows the model."
    )
    problem: str = Field(description="Why no server here can run it; empty where one can.")


class Workflows(BaseModel):
    """All workflows that jobs may name."""

    workflows: list[Workflow]
    default: str


class Server(BaseModel):
    """A server."""

    name: str
    open: bool
    words: str = Field(description="Why it was set aside, or what was last said of it.")
    kind: str | None = None
    version: str | None = None
    device: str | None = None
    vram_total: int | None = None
    vram_free: int | None = None
    job_id: str | None = Field(default=None, description="What it runs, if that is the caller's.")
    done: int
    failures: int
    worker: str | None = Field(
        default=None, description="Which worker has it; null where the service itself does."
    )


class Servers(BaseModel):
    """All servers."""

    servers: list[Server]


class WorkerServer(BaseModel):
    """A server of a worker."""

    name: str
    open: bool
    words: str = Field(description="Why it was set aside, or what was last said of it.")
    kind: str | None = None
    version: str | None = None
    device: str | None = None
    vram_total: int | None = Field(default=None, description="Bytes, as of the others.")
    vram_free: int | None = None
    ram_total: int | None = None
    ram_free: int | None = None
    done: int
    failures: int


class Worker(BaseModel):
    """A process that makes jobs on servers of its own."""

    name: str
    status: Literal["live", "draining", "stale", "left"] = Field(
        description="`stale`: it gave no sign for 20 s; `left`: it ended in good order."
    )
    host: str
    pid: int
    version: str = Field(description="Of Spriteworks.")
    python: str
    system: str
    started_at: float = Field(description="s since the epoch.")
    beat_age: float = Field(description="s since its latest sign.")
    servers: list[WorkerServer]


class Workers(BaseModel):
    """The workers that gave a sign within a day."""

    workers: list[Worker]


class Ready(BaseModel):
    """Whether jobs can be served now."""

    ready: bool
    checks: dict[str, str] = Field(description="What is wrong, by part; empty where it is well.")
