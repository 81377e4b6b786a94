"""Which picture is which one of which job; with no I/O."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TypeAlias

from ..execution.store.pictures import PARTS
from ..logic.jobs import Job, number_in, path_of
from .placing import MOVING
from .seen import Seen

# A picture without a name yet: its job's key, its number, its attempt.
_PART = re.compile(rf"{re.escape(PARTS)}/([0-9a-f]{{64}})-(\d+)-\w+")

# What a picture is called where a recovery was killed while it had made room for another.
_ON_ITS_WAY = re.compile(rf"={MOVING}-\d+\Z")
# The number of a further picture of a job.
_FURTHER = re.compile(r"=([1-9]\d{0,5})(?==|\Z)")

# SHA-256 of a file -> the paths at which a record has such files
Known: TypeAlias = Mapping[str, Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Belonging:
    """A picture that counts."""

    seen: Seen
    job: Job
    # place among the pictures of its job, from 0
    number: int
    # where it belongs
    path: str


@dataclass(frozen=True, kw_only=True)
class Shares:
    """What became of all pictures that were looked at."""

    belongings: Sequence[Belonging]
    # further pictures of jobs that have theirs
    copies: Sequence[Seen] = ()
    # of one graph that made several, and nothing says which one each is
    unclear: Sequence[Seen] = ()
    # jobs of which some pictures are there and some are not
    incomplete: Sequence[Job] = ()


@dataclass
class _Share:
    """The pictures of one job."""

    job: Job
    numbered: dict[int, Seen] = field(default_factory=dict)
    rest: list[Seen] = field(default_factory=list)


def share_out(owned: Sequence[tuple[Seen, Sequence[Job]]], known: Known | None = None) -> Shares:
    """Share out pictures, each with the jobs that it may be of, at least one.

    `known` says where files of a SHA-256 belong, as far as a record was still able to tell.
    Of several pictures of one job and number the one stays that lies where it belongs, or the
    first. What a graph of several pictures made is told apart by names.
    """
    shares: dict[str, _Share] = {}
    unclear = []
    known = known or {}
    open_ones: dict[frozenset[str], list[tuple[Seen, Sequence[Job]]]] = defaultdict(list)
    for seen, jobs in owned:
        job = _named(seen, jobs, known)
        if job is None:
            open_ones[frozenset(one.key for one in jobs)].append((seen, jobs))
        else:
            _give(shares, job, seen, known)
    for group in open_ones.values():
        free = [job for job in group[0][1] if job.key not in shares]
        if len(free) == 1 == len(group):
            # Nothing else is left for it.
            _give(shares, free[0], group[0][0], known)
        else:
            unclear += [seen for seen, _ in group]
    return _shares(list(shares.values()), unclear)


def _named(seen: Seen, jobs: Sequence[Job], known: Known) -> Job | None:
    """The job of a picture: the only one, or the one that a record or its name speaks for."""
    if len(jobs) == 1:
        return jobs[0]
    part = _PART.fullmatch(seen.path)
    for path in (_told(seen, known), seen.path):
        for job in jobs:
            if _number_at(path, job) is not None:
                return job
    return next((job for job in jobs if part and job.key == part[1]), None)


def _told(seen: Seen, known: Known) -> str:
    """Where a picture belongs by a record; where it lies if that says nothing, or several places.

    Servers may make the very same file for several jobs.
    """
    paths = known.get(seen.sha256, ())
    return paths[0] if len(paths) == 1 else seen.path


def _give(shares: dict[str, _Share], job: Job, seen: Seen, known: Known) -> None:
    share = shares.setdefault(job.key, _Share(job=job))
    if job.roll:
        # Of a job that was rolled again, the latest roll counts.
        share.job = max(share.job, job, key=lambda one: one.roll)
    own = _number_at(seen.path, job)
    number = _number_at(_told(seen, known), job)
    number = own if number is None else number
    other = None if number is None else share.numbered.get(number)
    if number is None:
        share.rest.append(seen)
    elif other is None:
        share.numbered[number] = seen
    elif own == number and _number_at(other.path, job) != number:
        # A copy came before the one that lies where it belongs.
        share.numbered[number] = seen
        share.rest.append(other)
    else:
        share.rest.append(seen)


def _number_at(path: str, job: Job) -> int | None:
    """Which picture of a job lies at a path; None where none does."""
    stem = unicodedata.normalize("NFC", str(PurePosixPath(path).with_suffix("")))
    return number_in(job.name, _ON_ITS_WAY.sub("", stem))


def _shares(shares: Sequence[_Share], unclear: Sequence[Seen]) -> Shares:
    copies: list[Seen] = []
    for share in shares:
        copies += _number_the_rest(share)
    counts = Counter(len(share.numbered) for share in shares)
    usual = max(counts, key=lambda count: (counts[count], count), default=0)
    whole, incomplete = [], []
    for share in shares:
        least = max(usual, *(one.savers for one in share.numbered.values()))
        is_whole = len(share.numbered) >= least and max(share.numbered) < len(share.numbered)
        if is_whole:
            whole += [
                Belonging(
                    seen=seen,
                    job=share.job,
                    number=number,
                    path=path_of(share.job.name, number, seen.suffix),
                )
                for number, seen in sorted(share.numbered.items())
            ]
        else:
            incomplete.append(share.job)
    return Shares(belongings=whole, copies=copies, unclear=unclear, incomplete=incomplete)


def _number_the_rest(share: _Share) -> list[Seen]:
    """Give pictures whose own names say nothing the numbers that are free; returns copies."""
    copies = []
    for seen in share.rest:
        number = _number_by_end(seen.path)
        if number in share.numbered:
            copies.append(seen)
        else:
            share.numbered[number] = seen
    return copies


def _number_by_end(path: str) -> int:
    """The number at the end of the name of a picture that has another job's name, or none's."""
    part = _PART.fullmatch(path)
    if part:
        return int(part[2])
    further = _FURTHER.search(PurePosixPath(path).stem)
    return int(further[1]) - 1 if further else 0
