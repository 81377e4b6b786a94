"""Values of batch production as database rows, and back."""

from __future__ import annotations

import json
from typing import Any

from ...logic.jobs import Artifact, Attempt, Gate, Job, Outcome, Shot, State


def job_row(job: Job, place: int, plan: int) -> dict[str, Any]:
    """The columns of a job."""
    return {
        "key": job.key,
        "name": job.name,
        "item_id": job.item_id,
        "parameters": packed(job.parameters),
        "seed": _text(job.seed),
        "rank": -job.priority,
        "place": place,
        "group_key": job.group,
        "model": job.model,
        "gates": gates_text(job.gates),
        "rerolls": job.rerolls,
        "roll": 0,
        "state": State.PENDING.value,
        "reason": "",
        "first_plan": plan,
        "plan": plan,
        "owner": job.owner,
        "cancel": False,
        "asked_roll": 0,
    }


def job_of(row: Any) -> Job:
    """The job of a row."""
    return Job(
        key=row.key,
        name=row.name,
        item_id=row.item_id,
        parameters=json.loads(row.parameters),
        seed=_number(row.seed),
        priority=-row.rank,
        group=row.group_key,
        model=row.model,
        gates=tuple(
            Gate(name=name, minimum=low, maximum=high) for name, low, high in json.loads(row.gates)
        ),
        rerolls=row.rerolls,
        roll=row.roll,
        asked_roll=row.asked_roll,
        order=row.place,
        owner=row.owner,
    )


def gates_text(gates: tuple[Gate, ...]) -> str:
    """Gates as they stand in the record; equal gates are equal texts."""
    if not gates:
        return "[]"
    return packed([[gate.name, gate.minimum, gate.maximum] for gate in gates])


def attempt_row(attempt: Attempt, now: float, owner: str, seconds: float | None) -> dict[str, Any]:
    """The columns of an attempt that `owner` holds for `seconds` from now on."""
    return {
        "prompt_id": attempt.prompt_id,
        "server": attempt.server,
        "degraded": packed(attempt.degraded),
        "started_at": now,
        "size": len(attempt.shots),
        "failure": attempt.failure,
        "error": attempt.error,
        "owner": owner,
        "lease": seconds,
    }


def attempt_of(row: Any, shots: tuple[Shot, ...]) -> Attempt:
    """The attempt of a row."""
    return Attempt(
        id=row.id,
        prompt_id=row.prompt_id,
        server=row.server,
        shots=shots,
        degraded=json.loads(row.degraded),
        started_at=row.started_at,
        ended_at=row.ended_at,
        seconds=row.seconds,
        outcome=Outcome(row.outcome) if row.outcome else None,
        failure=row.failure,
        error=row.error,
        owner=row.owner,
    )


def shot_row(attempt_id: int, shot: Shot) -> dict[str, Any]:
    """The columns of a shot."""
    return {
        "attempt_id": attempt_id,
        "place": shot.index,
        "key": shot.key,
        "seed": _text(shot.seed),
    }


def shot_of(row: Any) -> Shot:
    """The shot of a row."""
    return Shot(key=row.key, seed=_number(row.seed), index=row.place)


def artifact_row(artifact: Artifact) -> dict[str, Any]:
    """The columns of an artifact."""
    return {
        "path": artifact.path,
        "key": artifact.key,
        "sha256": artifact.sha256,
        "pixels_sha256": artifact.pixels_sha256,
        "bytes": artifact.bytes,
        "mtime_ns": artifact.mtime_ns,
        "width": artifact.width,
        "height": artifact.height,
        "seed": _text(artifact.seed),
        "attempt_id": artifact.attempt_id,
        "measured": packed(artifact.measured),
    }


def artifact_of(row: Any) -> Artifact:
    """The artifact of a row."""
    return Artifact(
        path=row.path,
        key=row.key,
        sha256=row.sha256,
        pixels_sha256=row.pixels_sha256,
        bytes=row.bytes,
        mtime_ns=row.mtime_ns,
        width=row.width,
        height=row.height,
        seed=_number(row.seed),
        attempt_id=row.attempt_id,
        measured=json.loads(row.measured),
    )


def packed(value: Any) -> str:
    """JSON without blanks."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _text(seed: int | None) -> str | None:
    return None if seed is None else str(seed)


def _number(seed: str | None) -> int | None:
    return None if seed is None else int(seed)
