"""What to do after a job failed: one pure function. No I/O, no clock, no chance.

A failure is first *classified* (what kind it is, from the error), then *decided* upon with what
happened to the job before:

- the workflow was refused, or a picture cannot be written: give up, another try changes nothing;
- out of memory: down a ladder that keeps the picture as long as it can: free the memory and try
  again, fewer pictures at once, VAE in tiles, weights outside of the device;
- the server died or froze: elsewhere; a job that did so twice is quarantined;
- the server forgot the job or lost its picture: here again, it is no fault of the job;
- what came is no whole picture, or another job's: elsewhere, it is the server's fault; a server
  that does so again and again gets no more jobs while there is another one;
- a node raised: elsewhere first, a second time it is the job's fault.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

from ...errors import (
    GraphError,
    InputError,
    JobError,
    JobInterrupted,
    JobLost,
    JobRefused,
    JobTimedOut,
    ModelError,
    NodeFailed,
    OutputError,
    ResultMissing,
    ResultWrong,
    ServerFrozen,
    ServerLost,
    ServerStartFailed,
    ServerUnreachable,
    SpriteworksError,
    UsageError,
)


class FailureKind(str, Enum):
    """What went wrong with an attempt."""

    # the server's or our own validation said no
    REFUSED = "refused"
    OUT_OF_MEMORY = "out_of_memory"
    # a node raised something else
    NODE_FAILED = "node_failed"
    # nobody answered, so the job never got there
    NOT_SENT = "not_sent"
    # the server stopped answering while it had the job
    SERVER_LOST = "server_lost"
    # the server answers and does not get on with the job
    FROZEN = "frozen"
    # neither in the queue nor in the history
    JOB_LOST = "job_lost"
    # the server stumbled over a request, or answered what is no ComfyUI
    SERVER_STUMBLED = "server_stumbled"
    # ended well, and its picture is not there
    RESULT_MISSING = "result_missing"
    # ended well, and what came is no whole picture, or another job's
    RESULT_WRONG = "result_wrong"
    # somebody stopped it on the server
    INTERRUPTED = "interrupted"
    # not done within the time it may take
    TIMED_OUT = "timed_out"
    # the picture cannot be written here: full disk, read-only folder
    CANNOT_WRITE = "cannot_write"


class Step(str, Enum):
    """What happens next."""

    HERE = "here"
    ELSEWHERE = "elsewhere"
    # again, with what `Decision.degradation` says
    DEGRADE = "degrade"
    GIVE_UP = "give_up"
    # not again before a person says so: it has killed servers
    QUARANTINE = "quarantine"
    # the whole run ends: no other job could do better
    STOP = "stop"


class Rung(str, Enum):
    """The ladder that a job climbs down when memory runs out."""

    FREE = "free"
    SMALLER_BATCH = "smaller_batch"
    VAE_TILING = "vae_tiling"
    OFFLOAD = "offload"


LADDER = tuple(Rung)


@dataclass(frozen=True, kw_only=True)
class Degradation:
    """How a job is made easier for a server. As it stands: not at all."""

    # models are unloaded and memory is freed before it is sent
    free: bool = False
    # at most so many pictures in its graph; None leaves the batch size as it is
    most: int | None = None
    # the VAE decodes in tiles: saves memory, and may change pictures slightly
    vae_tiling: bool = False
    # the weights wait in system memory: slower, same picture
    offload: bool = False

    def __str__(self) -> str:
        parts = [
            "memory freed" if self.free else "",
            f"at most {self.most} at once" if self.most else "",
            "VAE in tiles" if self.vae_tiling else "",
            "weights offloaded" if self.offload else "",
        ]
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True, kw_only=True)
class Past:
    """What happened to a job in earlier attempts, the failure at hand included, oldest first."""

    kinds: Sequence[FailureKind]
    # how the attempt that just failed was made easier
    degradation: Degradation = Degradation()
    # pictures that were in its graph
    together: int = 1


@dataclass(frozen=True, kw_only=True)
class RetryLimits:
    """After how much is enough."""

    # attempts in which the job may have been at fault
    tries: int = 4
    # times a node may raise, anywhere
    node_failures: int = 2
    # servers that a job may kill or freeze
    deaths: int = 2
    # failures of any kind, also those that are no fault of the job
    failures: int = 8
    # wrong pictures in a row after which a server is given up where there is another one
    wrong_in_a_row: int = 3


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What happens next and why, in words."""

    step: Step
    reason: str
    # s until it may be sent again
    delay: float = 0.0
    degradation: Degradation = Degradation()


# Exception types and sentences by which torch, ComfyUI and diffusers say that memory ran out.
_MEMORY = re.compile(
    r"OutOfMemory|out of memory|OOM_EXCEPTION|CUBLAS_STATUS_ALLOC_FAILED|can't allocate memory"
    r"|MemoryError|Allocation on device|insufficient memory|not enough memory",
    re.IGNORECASE,
)
_FIRST_DELAY = 0.5
_LAST_DELAY = 30.0

# Failures that say nothing about the job itself.
_INNOCENT = {
    FailureKind.NOT_SENT,
    FailureKind.JOB_LOST,
    FailureKind.SERVER_STUMBLED,
    FailureKind.RESULT_MISSING,
    FailureKind.INTERRUPTED,
}
_DEADLY = {FailureKind.SERVER_LOST, FailureKind.FROZEN}


def classify(error: SpriteworksError) -> FailureKind:
    """Say what kind of failure an error is."""
    match error:
        case NodeFailed():
            text = f"{error.kind} {error}"
            return FailureKind.OUT_OF_MEMORY if _MEMORY.search(text) else FailureKind.NODE_FAILED
        case JobRefused() | GraphError() | UsageError() | InputError() | ModelError():
            return FailureKind.REFUSED
        case OutputError():
            return FailureKind.CANNOT_WRITE
        case JobLost():
            return FailureKind.JOB_LOST
        case JobInterrupted():
            return FailureKind.INTERRUPTED
        case JobTimedOut():
            return FailureKind.TIMED_OUT
        case ResultMissing():
            return FailureKind.RESULT_MISSING
        case ResultWrong():
            return FailureKind.RESULT_WRONG
        case JobError():
            return FailureKind.NODE_FAILED
        case ServerFrozen():
            return FailureKind.FROZEN
        case ServerUnreachable():
            return FailureKind.NOT_SENT
        case ServerLost() | ServerStartFailed():
            return FailureKind.SERVER_LOST
    return FailureKind.SERVER_STUMBLED


def decide(
    past: Past, possible: Sequence[Rung] = LADDER, limits: RetryLimits = RetryLimits()
) -> Decision:
    """Say what to do after the last failure in `past.kinds`.

    `possible` are the rungs that the workflow has: one without a VAE to tile lacks that rung.
    """
    kind = past.kinds[-1]
    if kind is FailureKind.REFUSED:
        return Decision(step=Step.GIVE_UP, reason="a refused workflow is refused every time")
    if kind is FailureKind.CANNOT_WRITE:
        return Decision(step=Step.STOP, reason="no picture can be stored until that is put right")
    if _count(past, *_DEADLY) >= limits.deaths and kind in _DEADLY:
        return _quarantine(past)
    if kind is FailureKind.NOT_SENT:
        return Decision(
            step=Step.ELSEWHERE, reason="it never got there", degradation=past.degradation
        )
    if _failures(past) >= limits.failures:
        return Decision(step=Step.GIVE_UP, reason=f"it failed {_failures(past)} times in all")
    if kind is FailureKind.OUT_OF_MEMORY:
        return _climb_down(past, possible)
    if _faults(past) >= limits.tries:
        return Decision(step=Step.GIVE_UP, reason=f"it failed {_faults(past)} times")
    return _again(past, kind, limits)


def _again(past: Past, kind: FailureKind, limits: RetryLimits) -> Decision:
    if kind in _DEADLY:
        return _retry(past, Step.ELSEWHERE, "its server is gone; another one, or the same later")
    if kind is FailureKind.RESULT_MISSING:
        # The server's cache would give the same answer again.
        fresh = replace(past.degradation, free=True)
        return replace(_retry(past, Step.HERE, "after its cache is emptied"), degradation=fresh)
    if kind is FailureKind.RESULT_WRONG:
        return _retry(past, Step.ELSEWHERE, "another server may send what was asked for")
    if kind is FailureKind.INTERRUPTED:
        return _retry(past, Step.HERE, "that was no fault of the job")
    if kind in _INNOCENT:
        # One that loses what it is given would lose it again, while others have nothing to do.
        return _retry(past, Step.ELSEWHERE, "that was no fault of the job")
    if kind is FailureKind.TIMED_OUT:
        return _retry(past, Step.ELSEWHERE, "another server may be faster")
    if _count(past, FailureKind.NODE_FAILED) >= limits.node_failures:
        return Decision(
            step=Step.GIVE_UP, reason=f"nodes failed {_count(past, FailureKind.NODE_FAILED)} times"
        )
    return _retry(past, Step.ELSEWHERE, "another server may have what this one lacks")


def _climb_down(past: Past, possible: Sequence[Rung]) -> Decision:
    degradation = past.degradation
    if Rung.FREE in possible and not degradation.free:
        return _degrade(replace(degradation, free=True), "free the memory and try again")
    if Rung.SMALLER_BATCH in possible and past.together > 1:
        half = past.together // 2
        return _degrade(
            replace(degradation, most=half), f"{half} at once instead of {past.together}"
        )
    if Rung.VAE_TILING in possible and not degradation.vae_tiling:
        return _degrade(replace(degradation, vae_tiling=True), "decode in tiles")
    if Rung.OFFLOAD in possible and not degradation.offload:
        return _degrade(replace(degradation, offload=True), "keep the weights in system memory")
    return Decision(
        step=Step.GIVE_UP, reason="memory ran out with everything tried; use a smaller size"
    )


def _degrade(degradation: Degradation, reason: str) -> Decision:
    return Decision(step=Step.DEGRADE, reason=reason, degradation=degradation)


def _retry(past: Past, step: Step, reason: str) -> Decision:
    delay = min(_LAST_DELAY, _FIRST_DELAY * 2 ** (_failures(past) - 1))
    return Decision(step=step, reason=reason, delay=delay, degradation=past.degradation)


def _quarantine(past: Past) -> Decision:
    deaths = _count(past, *_DEADLY)
    return Decision(
        step=Step.QUARANTINE,
        reason=f"{deaths} servers died or froze with it; `spriteworks batch retry` frees it",
    )


def _count(past: Past, *kinds: FailureKind) -> int:
    return sum(kind in kinds for kind in past.kinds)


def _failures(past: Past) -> int:
    return sum(kind is not FailureKind.NOT_SENT for kind in past.kinds)


def _faults(past: Past) -> int:
    return sum(
        kind not in _INNOCENT and kind is not FailureKind.OUT_OF_MEMORY for kind in past.kinds
    )
