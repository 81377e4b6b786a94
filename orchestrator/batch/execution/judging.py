"""What gates say of pictures that lie in the folder already; no server is asked.

Whether a picture is a duplicate is decided when nothing runs: among equal pictures the first in the
manifest stays, so the order in which servers answer decides nothing.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from ...errors import InputError, ResultWrong
from ...runs.looking import look
from ..logic.gates import (
    CUT,
    DUPLICATE,
    GRAPH,
    GateVerdict,
    JudgedPicture,
    judge,
    pixels_sha256,
)
from ..logic.jobs import Job, State
from .downloader import Judgement
from .store.store import Store


def read_picture(path: Path) -> JudgedPicture:
    """Read a picture file; raises InputError where it is none or is cut off."""
    try:
        found = look(path)
        # Whether it is the one that was sent was seen when it came.
        return JudgedPicture(rgba=found.rgba, has_graph=found.graph is not None)
    except (OSError, ResultWrong) as error:
        raise InputError(f"{path} is not a picture that can be read ({error})") from error


def judgement_of(job: Job, picture: JudgedPicture) -> Judgement:
    """What a job's gates say of its picture, besides whether there is another one like it."""
    gates = [gate for gate in job.gates if gate.name != DUPLICATE]
    verdicts = judge(picture, gates)
    failed = [one for one in verdicts if not one.passed]
    return Judgement(
        reason="; ".join(map(str, failed)),
        measured={one.gate.name: one.value for one in verdicts if one.value is not None},
        is_servers_fault=any(one.gate.name == GRAPH for one in failed),
    )


def judge_again(store: Store, folder: Path) -> list[str]:
    """Measure pictures that their jobs' gates have not judged yet; returns what is to be said.

    The manifest has changed those, or the record was rebuilt.
    """
    keys = store.unjudged()
    with store.transaction():
        said = [words for key in keys if (words := _judge_job(store, folder, key))]
    return (
        [f"{len(keys)} pictures are measured again, by gates that are new to them", *said]
        if keys
        else []
    )


def sort_out_duplicates(store: Store, folder: Path) -> tuple[list[str], bool]:
    """Reject pictures that have too many twins earlier in the manifest for one of their gates.

    Those that were rejected themselves do not count: another picture takes their place.

    Returns what is to be said of it, and whether there is something to make again.
    """
    said: list[str] = []
    again = False
    if not store.compares_pictures():
        return said, again
    _look_at_the_rest(store, folder)
    with store.transaction():
        # how many pictures with these pixels stay
        stay: Counter[str] = Counter()
        for key, rows in groupby(store.alike(), key=itemgetter(0)):
            looks = [pixels for _, pixels in rows]
            job = store.entry(key).job
            reason = _too_alike(job, max(stay[pixels] for pixels in looks))
            if not reason:
                stay.update(looks)
                continue
            said.append(reject(store, job, reason))
            again = again or job.has_rolls
    return said, again


def _too_alike(job: Job, twins: int) -> str:
    """Why a picture with so many twins before it is rejected; "" where no gate minds."""
    for gate in job.gates:
        if gate.name == DUPLICATE and gate.maximum is not None and twins > gate.maximum:
            verdict = GateVerdict(gate=gate, value=twins, passed=False)
            return f"the same picture is earlier in the manifest: {verdict}"
    return ""


def _look_at_the_rest(store: Store, folder: Path) -> None:
    """Take the pixels of pictures that were made before any gate compared them."""
    for artifact in store.unhashed():
        # One that cannot be read is found damaged by the next run.
        with suppress(InputError):
            pixels = pixels_sha256(read_picture(folder / artifact.path))
            store.record_artifact(replace(artifact, pixels_sha256=pixels))


def reject(store: Store, job: Job, reason: str) -> str:
    """Roll a job again, or fail it where it has no more rolls; says which."""
    if job.has_rolls:
        store.reroll(job.key)
        return f"{job.name} is rolled again ({job.gate_rolls + 1} of {job.rerolls}): {reason}"
    store.move([job.key], State.FAILED, reason=reason)
    return f"{job.name} failed: {reason}"


def _judge_job(store: Store, folder: Path, key: str) -> str:
    job = store.entry(key).job
    found = []
    for artifact in store.artifacts(key):
        try:
            picture = read_picture(folder / artifact.path)
            if artifact.measured.get(GRAPH) == 0:
                picture = replace(picture, has_graph=False)
            judgement = judgement_of(job, picture)
        except InputError as error:
            found.append(Judgement(reason=str(error)))
            continue
        # With the job's gates of now, so that it is not judged once more; what is odd about the
        # picture itself stays.
        odd = {name: artifact.measured[name] for name in (GRAPH, CUT) if name in artifact.measured}
        store.record_artifact(replace(artifact, measured={**odd, **judgement.measured}))
        found += [judgement] if judgement.reason else []
    if not found:
        return ""
    if any(one.is_servers_fault for one in found):
        reason = next(one.reason for one in found if one.is_servers_fault)
        store.remake([key], reason)
        return f"{job.name} is made again: {reason}"
    return reject(store, job, found[0].reason)
