"""Where a batch stands, and what a person may change about it, also while it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from ...errors import UsageError
from ..execution import plan as planned
from ..execution.fleet import Processes
from ..execution.opening import record_of
from ..execution.store.folder_lock import is_held
from ..execution.store.store import Store
from ..logic.jobs import State, counted
from .report.history import statistics_of

# Failures that `status` shows.
_SHOWN = 20
# Attempts that `status` takes percentiles of: 100,000 would take it seconds.
_LATEST = 2000
# Jobs that a person may start again.
_RETRIED = (State.FAILED, State.QUARANTINED, State.CANCELLED)


def status(folder: Path) -> dict[str, Any]:
    """Where a batch stands, as JSON values; works while it runs."""
    with record_of(folder, create=False) as store:
        counts = store.counts()
        known = planned.recall(store)
        paces = store.paces()
        left = planned.estimate(left_in(counts), paces, list(paces))
        return {
            "name": known.manifest.name if known else "",
            **counted(counts),
            "active": is_held(folder),
            "seconds_left": round(left.likely, 1) if left else None,
            "servers": _servers(paces),
            "failures": _failures(store),
            "without_graph": store.without_graph(),
            "timings": statistics_of(store, latest=_LATEST).to_json(),
        }


def retry(folder: Path, names: Sequence[str] = ()) -> int:
    """Let failed, quarantined and cancelled jobs be made again; returns how many.

    `names` are item ids or names of pictures; none means all. What failed before no longer counts.
    """
    with record_of(folder, create=False) as store, store.transaction():
        chosen = _chosen(store, _RETRIED, names)
        store.move(chosen, State.PENDING)
        store.retry_from_here()
        store.log(f"{len(chosen)} jobs are made again because a person asked for it")
        return len(chosen)


def cancel(folder: Path, names: Sequence[str] = ()) -> int:
    """Give up jobs that wait; returns how many. What a server has is still brought home."""
    with record_of(folder, create=False) as store, store.transaction():
        if not is_held(folder):
            Processes(store).end_leftovers()
        chosen = _chosen(store, (State.PENDING,), names)
        store.move(chosen, State.CANCELLED, reason="cancelled by a person")
        store.log(f"{len(chosen)} jobs are cancelled because a person asked for it")
        return len(chosen)


def _chosen(store: Store, states: Sequence[State], names: Sequence[str]) -> list[str]:
    jobs = [entry.job for entry in store.entries(*states)]
    wanted = set(names)
    unknown = wanted - {job.item_id for job in jobs} - {job.name for job in jobs}
    if unknown:
        which = " or ".join(state.value for state in states)
        raise UsageError(f"no job called {', '.join(sorted(unknown))} is {which}")
    return [job.key for job in jobs if not wanted or {job.item_id, job.name} & wanted]


def left_in(counts: Mapping[State, int]) -> int:
    """How many pictures are still to be made."""
    return sum(n for state, n in counts.items() if state.is_running or state is State.PENDING)


def _failures(store: Store) -> list[dict[str, str]]:
    """The first jobs that were given up, with the reason."""
    found = store.entries(State.FAILED, State.QUARANTINED)
    return [
        {"name": entry.job.name, "state": entry.state.value, "reason": entry.reason}
        for entry in islice(found, _SHOWN)
    ]


def _servers(paces: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    return {
        server: {"seconds_each": round(sum(past) / len(past), 3)} for server, past in paces.items()
    }
