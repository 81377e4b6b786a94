"""What gates say of pictures that lie in the folder already; no server is asked.

Whether a picture is a duplicate is decided when nothing runs: among equal pictures the first in the
manifest stays, so the order in which servers answer decides nothing.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ..errors import InputError
from .downloader import Judgement
from .gates import DUPLICATE, Picture, judge, pixels_sha256, read_picture
from .jobs import Job, State
from .store.store import Store


def judgement_of(job: Job, picture: Picture) -> Judgement:
    """What a job's gates say of its picture, besides whether there is another one like it."""
    gates = [gate for gate in job.gates if gate.name != DUPLICATE]
    verdicts = judge(picture, gates)
    return Judgement(
        reason="; ".join(str(one) for one in verdicts if not one.passed),
        measured={one.gate.name: one.value for one in verdicts},
    )


def judge_again(store: Store, folder: Path) -> list[str]:
    """Measure pictures whose gates the manifest has changed; returns what is to be said of it."""
    keys = store.unjudged()
    with store.transaction():
        said = [words for key in keys if (words := _judge_job(store, folder, key))]
    return [f"{len(keys)} pictures are measured again by changed gates", *said] if keys else []


def sort_out_duplicates(store: Store, folder: Path) -> tuple[list[str], bool]:
    """Reject pictures that have a twin earlier in the manifest, where a gate minds.

    Returns what is to be said of it, and whether there is something to make again.
    """
    said: list[str] = []
    again = False
    if not store.compares_pictures():
        return said, again
    _look_at_the_rest(store, folder)
    with store.transaction():
        for key in store.duplicates():
            job = store.entry(key).job
            minding = [gate for gate in job.gates if gate.name == DUPLICATE]
            # The first twin is enough to know; a bound above 0 lets more of them be.
            limit = min(
                (gate.maximum for gate in minding if gate.maximum is not None), default=None
            )
            if limit is None or limit >= 1:
                continue
            said.append(reject(store, job, "there is the same picture earlier in the manifest"))
            again = again or job.roll < job.rerolls
    return said, again


def _look_at_the_rest(store: Store, folder: Path) -> None:
    """Take the pixels of pictures that were made before any gate compared them."""
    for artifact in store.unhashed():
        # One that cannot be read is found damaged by the next run.
        with suppress(InputError):
            pixels = pixels_sha256(read_picture(folder / artifact.path))
            store.record_artifact(replace(artifact, pixels_sha256=pixels))


def reject(store: Store, job: Job, reason: str) -> str:
    """Roll a job again, or fail it where it has no more rolls; says which."""
    if job.roll < job.rerolls and job.seed is not None:
        store.reroll(job.key)
        return f"{job.name} is rolled again ({job.roll + 1} of {job.rerolls}): {reason}"
    store.move([job.key], State.FAILED, reason=reason)
    return f"{job.name} failed: {reason}"


def _judge_job(store: Store, folder: Path, key: str) -> str:
    job = store.entry(key).job
    reasons = []
    for artifact in store.artifacts(key):
        try:
            judgement = judgement_of(job, read_picture(folder / artifact.path))
        except InputError as error:
            reasons.append(str(error))
            continue
        # With the job's gates of now, so that it is not judged once more.
        store.record_artifact(replace(artifact, measured=judgement.measured))
        reasons.append(judgement.reason)
    found = [reason for reason in reasons if reason]
    return reject(store, job, found[0]) if found else ""
