"""Requests and pictures as the templates show them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from ..intake import BATCH, Caller
from ..marks import Verdict
from ..service import Service
from ..views import OutputView, RequestView, Status

# characters of a prompt that a card shows
_LONGEST = 140
_WORDS = {
    Status.QUEUED: "waiting",
    Status.RUNNING: "running",
    Status.CANCELING: "being cancelled",
    Status.CANCELED: "cancelled",
    Status.SUCCEEDED: "done",
    Status.FAILED: "failed",
    Status.EXPIRED: "expired",
}


@dataclass(frozen=True, kw_only=True)
class PictureCard:
    """A picture that a request made."""

    id: str
    job_id: str
    name: str
    title: str
    seed: Any
    # "pick", "reject" or ""
    mark: str
    # bytes
    size: int
    workflow: str
    made_at: str
    batch: str
    can_reuse: bool


@dataclass(frozen=True, kw_only=True)
class JobCard:
    """A request, and what it made."""

    id: str
    title: str
    status: str
    words: str
    workflow: str
    seed: Any
    server: str
    # of those that wait, from 1
    place: int | None
    # s until it is done, about
    left: float | None
    # 0 .. 100
    percent: int
    step: str
    # of the latest preview; None where there is none
    preview: int | None
    warnings: Sequence[str]
    error: str
    is_final: bool
    pictures: Sequence[PictureCard]
    # what it made that is no picture
    files: Sequence[OutputView]


def title_of(view: RequestView) -> str:
    """What a request is called: its name, its prompt, or its workflow."""
    notes = view.notes
    prompt = notes.get("parameters", {}).get("prompt")
    text = prompt if isinstance(prompt, str) and prompt.strip() else notes.get("name")
    text = " ".join(str(text or notes.get("workflow") or f"job {view.id[:8]}").split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def job_cards(service: Service, caller: Caller, views: Sequence[RequestView]) -> list[JobCard]:
    """Requests of a caller's, as cards."""
    shown = [one.id for view in views for one in view.outputs if one.type == "image"]
    marks = service.marks.of(shown) if shown else {}
    return [_job_card(service, view, marks) for view in views]


def _job_card(service: Service, view: RequestView, marks: Mapping[str, Verdict]) -> JobCard:
    progress = view.progress
    preview = service.hub.latest(view.id, "preview")
    return JobCard(
        id=view.id,
        title=title_of(view),
        status=view.status.value,
        words=_WORDS[view.status],
        workflow=str(view.notes.get("workflow") or ""),
        seed=view.notes.get("seed"),
        server=view.server,
        place=view.queue_position,
        left=None if view.status.is_final else service.seconds_left(view),
        percent=round(100 * progress.value) if progress else 0,
        step=_step(progress.step, progress.steps) if progress else "",
        preview=preview.id if preview and view.status is Status.RUNNING else None,
        warnings=view.warnings,
        error=view.error.message if view.error else "",
        is_final=view.status.is_final,
        pictures=picture_cards(view, marks),
        files=[one for one in view.outputs if one.type != "image"],
    )


def picture_cards(view: RequestView, marks: Mapping[str, Verdict]) -> list[PictureCard]:
    """The pictures of a request."""
    return [
        PictureCard(
            id=one.id,
            job_id=view.id,
            name=one.name,
            title=title_of(view),
            seed=view.notes.get("seed"),
            mark=marks[one.id].value if one.id in marks else "",
            size=one.size,
            workflow=str(view.notes.get("workflow") or ""),
            made_at=when(view.ended_at),
            batch=view.labels.get(BATCH, ""),
            can_reuse=bool(view.notes.get("workflow")),
        )
        for one in view.outputs
        if one.type == "image"
    ]


def all_pictures(
    service: Service, views: Iterable[RequestView], only: str = ""
) -> list[PictureCard]:
    """The pictures of requests; `only` keeps those with a mark, or "none" those without."""
    views = list(views)
    marks = service.marks.of([one.id for view in views for one in view.outputs])
    cards = [card for view in views for card in picture_cards(view, marks)]
    wanted = "" if only == "none" else only
    return [card for card in cards if not only or card.mark == wanted]


def when(seconds: float | None) -> str:
    """A moment in UTC; a script puts it into the reader's own time."""
    if seconds is None:
        return ""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")


def _step(step: int | None, steps: int | None) -> str:
    return f"step {step} of {steps}" if steps else ""
