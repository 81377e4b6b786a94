"""What was done in all: attempts, nodes, pictures; also by requests that the record has no longer.

A counter that falls is taken for one that was begun anew, and counted twice. So what is removed
from the record is added up in it first.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import sqlalchemy as sa

from ..batch.execution.store import tables as batch
from ..batch.execution.store.store import Store

_Name = TypeVar("_Name")
# The fact that has the work of requests that were removed.
_REMOVED = "work of removed requests"


@dataclass(frozen=True, kw_only=True)
class Work:
    """Counts and s."""

    # {(server, outcome): (attempts that ended so, s from submission to the end)}
    attempts: Mapping[tuple[str, str], tuple[int, float]] = field(default_factory=dict)
    # {class: (times that such nodes ran, s)}
    nodes: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    # pictures that count
    images: int = 0
    # attempts but the first of each request
    retries: int = 0

    def plus(self, other: Work) -> Work:
        """Both together."""
        return Work(
            attempts=_sum(self.attempts, other.attempts),
            nodes=_sum(self.nodes, other.nodes),
            images=self.images + other.images,
            retries=self.retries + other.retries,
        )


def _sum(
    one: Mapping[_Name, tuple[int, float]], two: Mapping[_Name, tuple[int, float]]
) -> dict[_Name, tuple[int, float]]:
    found = dict(one)
    for name, (count, seconds) in two.items():
        known = found.get(name, (0, 0.0))
        found[name] = known[0] + count, known[1] + seconds
    return found


def of_all(store: Store) -> Work:
    """The work of all requests there ever were."""
    return _of(store, None).plus(_removed(store))


def keep(store: Store, keys: Collection[str]) -> None:
    """Add up the work of requests that are about to be removed, in the same transaction."""
    work = _removed(store).plus(_of(store, keys))
    told = {
        "attempts": [[*name, *sums] for name, sums in work.attempts.items()],
        "nodes": [[name, *sums] for name, sums in work.nodes.items()],
        "images": work.images,
        "retries": work.retries,
    }
    store.set_fact(_REMOVED, json.dumps(told))


def images_since(store: Store, moment: float) -> int:
    """Pictures of attempts that ended since a moment, s since the epoch."""
    attempts, artifacts = batch.attempts, batch.artifacts
    query = (
        sa.select(sa.func.count())
        .select_from(artifacts)
        .join(attempts, attempts.c.id == artifacts.c.attempt_id)
        .where(artifacts.c.width > 0, attempts.c.ended_at > moment)
    )
    return int(store.rows(query)[0][0])


def _removed(store: Store) -> Work:
    text = store.fact(_REMOVED)
    if text is None:
        return Work()
    told = json.loads(text)
    return Work(
        attempts={(one[0], one[1]): (one[2], one[3]) for one in told["attempts"]},
        nodes={one[0]: (one[1], one[2]) for one in told["nodes"]},
        images=told["images"],
        retries=told["retries"],
    )


def _of(store: Store, keys: Collection[str] | None) -> Work:
    """The work of some requests, or of all that the record has."""
    attempts, shots, timings, artifacts = (
        batch.attempts,
        batch.shots,
        batch.timings,
        batch.artifacts,
    )
    mine = sa.true() if keys is None else shots.c.key.in_(keys)
    tries = sa.select(shots.c.attempt_id).where(mine)
    ended = (
        sa.select(
            attempts.c.server,
            attempts.c.outcome,
            sa.func.count(),
            sa.func.coalesce(sa.func.sum(attempts.c.seconds), 0.0),
        )
        .where(attempts.c.outcome.is_not(None), attempts.c.id.in_(tries))
        .group_by(attempts.c.server, attempts.c.outcome)
    )
    ran = (
        sa.select(timings.c.node_class, sa.func.count(), sa.func.sum(timings.c.seconds))
        .where(timings.c.node_class != "", timings.c.attempt_id.in_(tries))
        .group_by(timings.c.node_class)
    )
    made = sa.select(sa.func.count()).where(
        artifacts.c.width > 0, sa.true() if keys is None else artifacts.c.key.in_(keys)
    )
    again = sa.select(sa.func.count() - sa.func.count(sa.distinct(shots.c.key))).where(mine)
    return Work(
        attempts={(row[0], row[1]): (row[2], row[3]) for row in store.rows(ended)},
        nodes={row[0]: (row[1], row[2]) for row in store.rows(ran)},
        images=int(store.rows(made)[0][0]),
        retries=int(store.rows(again)[0][0]),
    )
