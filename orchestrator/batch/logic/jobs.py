"""The values of batch production: jobs, what was tried for them, what came of it; with no I/O.

A *job* is one graph with its parameters resolved, and gives one picture. An *attempt* is one try of
one or several jobs on one server. An *artifact* is one collected file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from ...errors import IllegalTransition

SEED_MODULUS = 2**64
# How many times a job may be made well. One whose picture is gone or changed again after that is
# not made for ever: something works against us.
MOST_MADE = 8
# Between a job's name and the number of a further picture of it. No name has it, so no name and
# number make another name, whatever the ids of a manifest look like.
_NUMBER = "="
_FURTHER = re.compile(rf"{_NUMBER}([2-9]|[1-9][0-9]{{1,5}})\Z")


class State(Enum):
    """Where a job stands."""

    # to be made, and on no server
    PENDING = "pending"
    # written down for a server, and perhaps not sent yet
    CLAIMED = "claimed"
    # the server has accepted it
    SUBMITTED = "submitted"
    # its picture lies in the folder and its hash in the store
    DONE = "done"
    # given up, with a reason; only a person starts it again
    FAILED = "failed"
    # set aside because servers died while they ran it
    QUARANTINED = "quarantined"
    # a person does not want it now
    CANCELLED = "cancelled"
    # the manifest no longer has it; its picture, if any, stays
    UNWANTED = "unwanted"

    @property
    def is_running(self) -> bool:
        """True where a server has the job, or may have it."""
        return self in (State.CLAIMED, State.SUBMITTED)


# The one table of legal moves. UNWANTED -> DONE is a job whose picture is still there when the
# manifest wants it again; DONE -> PENDING a picture that is missing or damaged.
TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.PENDING: frozenset(
        {State.CLAIMED, State.DONE, State.FAILED, State.CANCELLED, State.UNWANTED}
    ),
    State.CLAIMED: frozenset(State) - {State.CLAIMED},
    State.SUBMITTED: frozenset(State) - {State.CLAIMED, State.SUBMITTED},
    State.DONE: frozenset({State.PENDING, State.FAILED, State.UNWANTED}),
    State.FAILED: frozenset({State.PENDING, State.UNWANTED}),
    State.QUARANTINED: frozenset({State.PENDING, State.UNWANTED}),
    State.CANCELLED: frozenset({State.PENDING, State.UNWANTED}),
    State.UNWANTED: frozenset({State.PENDING, State.DONE}),
}


def counted(counts: Mapping[State, int]) -> dict[str, int]:
    """Counts of jobs for people and programs; those that a server has are "running"."""
    return {
        "total": sum(count for state, count in counts.items() if state is not State.UNWANTED),
        "done": counts[State.DONE],
        "running": counts[State.CLAIMED] + counts[State.SUBMITTED],
        "pending": counts[State.PENDING],
        "failed": counts[State.FAILED],
        "quarantined": counts[State.QUARANTINED],
        "cancelled": counts[State.CANCELLED],
        "unwanted": counts[State.UNWANTED],
    }


def sources(to: State) -> frozenset[State]:
    """The states from which a job may move to `to`."""
    return frozenset(state for state, targets in TRANSITIONS.items() if to in targets)


def check_transition(current: State, to: State) -> None:
    """Raise IllegalTransition where a job may not move from `current` to `to`."""
    if to not in TRANSITIONS[current]:
        allowed = ", ".join(sorted(state.value for state in TRANSITIONS[current]))
        raise IllegalTransition(
            f"a job that is {current.value} cannot become {to.value} (it can become: {allowed})"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Gate:
    """One thing that a picture must measure up to; see `orchestrator.batch.logic.gates`."""

    # a name in `gates.MEASURES`
    name: str
    # bounds of the measured value, both inclusive; None is no bound
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One picture of a batch. The graph is rebuilt from it when it is sent, never kept."""

    # SHA-256, 64 lower-case hex digits, of all that affects the picture
    key: str
    # where the picture goes in the batch folder, without the suffix; "/" makes folders
    name: str
    item_id: str
    # role or NODE.input -> value, without the seed; pictures that go in are paths of this machine
    parameters: Mapping[str, Any]
    # 0 .. 2^64-1; None where the workflow has no seed
    seed: int | None
    # the higher the sooner
    priority: int = 0
    # jobs of one group are equal but for their seeds, so one graph can make several of them
    group: str = ""
    # the model files that the graph loads, as one text: jobs of one model suit the same server
    model: str = ""
    gates: tuple[Gate, ...] = ()
    # how many times the seed may be rolled again where a gate says no
    rerolls: int = 0
    # how many times it has been; only the store knows
    roll: int = 0
    # the last of these times that a person asked for; only the store knows
    asked_roll: int = 0
    # place in the manifest, from 0; only the store knows
    order: int = 0
    # whose it is: jobs of different owners take turns
    owner: str = ""

    @property
    def seed_now(self) -> int | None:
        """The seed to use: the manifest's, or after a re-roll one that follows from the key.

        It depends on nothing but the job, so every server and every run rolls the same.
        """
        return self.seed if not self.roll or self.seed is None else reroll_seed(self.key, self.roll)

    @property
    def has_rolls(self) -> bool:
        """Whether its seed may be rolled again where a gate says no."""
        return self.seed is not None and self.gate_rolls < self.rerolls

    @property
    def gate_rolls(self) -> int:
        """How many times gates have said no since a person last did: those alone are counted."""
        return self.roll - self.asked_roll


def path_of(name: str, number: int, suffix: str) -> str:
    """Where the picture `number` (from 0) of a job called `name` goes, inside the batch folder.

    No two pictures of a batch share a path, as no two jobs share a name.
    """
    return f"{name}{f'{_NUMBER}{number + 1}' if number else ''}{suffix}"


def name_in(stem: str) -> str:
    """The name of the job whose picture has `stem` for its path without suffix."""
    return _FURTHER.sub("", stem)


def number_in(name: str, stem: str) -> int | None:
    """The number of the picture of a job that has `stem` for its path without suffix, or None.

    The other way round than `path_of`.
    """
    if stem == name:
        return 0
    further = _FURTHER.search(stem)
    return int(further[1]) - 1 if further and name_in(stem) == name else None


def reroll_seed(key: str, roll: int) -> int:
    """The seed of the `roll`-th (from 1) new try of a job: 64 bits of SHA-256 over both."""
    digest = hashlib.sha256(f"{key}/{roll}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


class Outcome(Enum):
    """How an attempt ended; why one failed is in `Attempt.failure`."""

    # every picture of it was collected
    DONE = "done"
    # a picture of it did not pass its gates
    REJECTED = "rejected"
    FAILED = "failed"
    CANCELLED = "cancelled"
    # it was written down, and the server never got it
    NEVER_SENT = "never sent"


@dataclass(frozen=True, kw_only=True, slots=True)
class Shot:
    """One job's part in an attempt: which picture of the graph is its own, and with what seed."""

    key: str
    seed: int | None
    # place among the pictures of the graph, from 0
    index: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One try on one server, written down before it is sent."""

    # minted by us, a canonical lower-case UUID
    prompt_id: str
    server: str
    # the jobs that the graph makes, in the order of its pictures
    shots: tuple[Shot, ...]
    # what was taken back to make it fit: {"free": true, "vae_tiling": true, ...}
    degraded: Mapping[str, Any] = field(default_factory=dict)
    # given by the store
    id: int = 0
    # s since the epoch by the wall clock, for people: it may jump, so nothing is computed from it
    started_at: float = 0.0
    ended_at: float | None = None
    # s on a monotonic clock from submission to the end
    seconds: float | None = None
    # None while it is open
    outcome: Outcome | None = None
    # the kind of failure, a `retry.FailureKind` value, else ""
    failure: str = ""
    # the failure in words
    error: str = ""
    # the orchestrator that may close it
    owner: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifact:
    """One picture of a job, complete: fsynced, renamed into place, hashed."""

    key: str
    # inside the batch folder, with "/"
    path: str
    # of the file
    sha256: str
    # of the decoded RGBA picture: equal pictures with other metadata in the file are equal here;
    # "" where no gate of the batch asks for it
    pixels_sha256: str
    # size of the file
    bytes: int
    # what the file system said right after the rename, for the quick look of `verify`
    mtime_ns: int
    width: int
    height: int
    seed: int | None
    attempt_id: int | None = None
    # what gates measured: {name: value}
    measured: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """One measured span of an attempt."""

    # "queued", "load", "node:<id>", "transfer", "store", ...
    span: str
    # on a monotonic clock
    seconds: float
    # the class of the node where the span is one
    node_class: str = ""
