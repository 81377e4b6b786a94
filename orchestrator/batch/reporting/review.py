"""What a person thinks of a batch's pictures, as the report's page saves it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import InputError, UsageError
from ...workflow.wording import listed
from ..execution.opening import record_of
from ..execution.store.store import Store
from ..logic.jobs import State

# Hex digits of a picture's SHA-256 in a review, compared with the pictures of one job only.
DIGITS = 12
# Of a review's file, in bytes: 100,000 pictures take 15 MB.
_LARGEST = 64 * 1024 * 1024
_REJECTED = "rejected by a person"


@dataclass(frozen=True, kw_only=True)
class Review:
    """The pictures that a person rejected."""

    # name of the job -> the first digits of its picture's SHA-256; "": whichever is there
    rejected: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class RejectedAgain:
    """What became of the pictures that a review rejects."""

    # names of the jobs that wait again
    again: tuple[str, ...]
    # names of those that do not, and why
    left: Mapping[str, str]


def read_review(path: Path) -> Review:
    """Read what the report's page saved.

    Raises UsageError where there is no such file, InputError where it is no review.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(_LARGEST + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror or error})") from error
    if len(content) > _LARGEST:
        raise InputError(f"{path} is no review: it has more than {_LARGEST >> 20} MiB")
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no review: it is not JSON") from error
    marks = found.get("rejected") if isinstance(found, dict) else None
    if not isinstance(marks, list):
        raise InputError(
            f"{path} is no review: it has no list `rejected`; save one from the report's page"
        )
    return Review(rejected=dict(_mark(mark, path) for mark in marks))


def retry_rejected(folder: Path, path: Path) -> RejectedAgain:
    """Let the pictures that a review rejects be made again, each with the next of its seeds.

    A picture that is not the rejected one any more stays, so a review that is given twice changes
    nothing. The file stays, too, until the new one takes its place. Raises UsageError, and changes
    nothing, where a name is none of the batch's.
    """
    review = read_review(path)
    with record_of(folder, create=False) as store, store.transaction():
        jobs, left = _judged(store, review.rejected, path)
        store.roll_as_asked(list(jobs), _REJECTED)
        if jobs:
            store.retry_from_here()
            store.log(f"{len(jobs)} pictures are made again because a person rejected them")
        return RejectedAgain(again=tuple(jobs.values()), left=left)


def _mark(mark: Any, path: Path) -> tuple[str, str]:
    """(name, digits) of one entry, which may be a name alone."""
    if isinstance(mark, str):
        return mark, ""
    name = mark.get("name") if isinstance(mark, dict) else None
    digits = mark.get("sha256", "") if isinstance(mark, dict) else None
    if not isinstance(name, str) or not isinstance(digits, str):
        raise InputError(f"{path} is no review: an entry of `rejected` has no name")
    return name, digits


def _judged(
    store: Store, rejected: Mapping[str, str], path: Path
) -> tuple[dict[str, str], dict[str, str]]:
    """({key: name} of jobs to be made again, {name: why not})."""
    entries = {}
    for entry in store.entries():
        # A job that is no longer wanted may have had the name of one that is.
        if entry.job.name not in entries or entry.state is not State.UNWANTED:
            entries[entry.job.name] = entry
    unknown = [name for name in rejected if name not in entries]
    if unknown:
        raise UsageError(f"{path} is of another batch: there is no picture {listed(unknown)}")
    hashes: dict[str, list[str]] = {}
    for artifact in store.artifacts():
        hashes.setdefault(artifact.key, []).append(artifact.sha256)
    again, left = {}, {}
    for name, digits in rejected.items():
        entry = entries[name]
        mine = hashes.get(entry.job.key, ())
        if entry.state is not State.DONE:
            left[name] = f"it is {entry.state.value}"
        elif not any(one.startswith(digits) for one in mine):
            left[name] = "its picture is another one by now"
        elif entry.job.seed is None:
            left[name] = "its workflow has no seed, so it would be the same picture"
        else:
            again[entry.job.key] = name
    return again, left
