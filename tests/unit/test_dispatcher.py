"""What a run remembers of the runs before it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from orchestrator.batch.assignments import Assignment
from orchestrator.batch.dispatcher import Dispatcher, Settings
from orchestrator.batch.jobs import Job
from orchestrator.batch.retry import LADDER, Degradation, Kind, Rung
from orchestrator.batch.status import retry
from orchestrator.batch.store.store import Store

HERE, THERE = "http://a", "http://b"


class Deaf:
    def happened(self, kind: str, **details: Any) -> None:
        """Take note of nothing."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Store.open(tmp_path) as store:
        store.plan(
            Job(key=f"{n:064}", name=f"n{n}", item_id="i", parameters={}, seed=n, group="g")
            for n in range(1, 5)
        )
    return tmp_path


def ladder(assignment: Assignment) -> Sequence[Rung]:
    return LADDER


def begun(store: Store, size: int = 1) -> Dispatcher:
    """A run that knows what the runs before it left."""
    settings = Settings(batch_size=size)
    dispatcher = Dispatcher(store, Deaf(), settings, can_batch=lambda job: True, clock=lambda: 1e9)
    dispatcher.recall(ladder)
    for server in (HERE, THERE):
        dispatcher.join(server)
    return dispatcher


def fail(folder: Path, kind: Kind, size: int = 1) -> Assignment:
    """One run in which the first graph fails, and which is killed then."""
    with Store.open(folder) as store:
        dispatcher = begun(store, size)
        assignment = dispatcher.take(HERE)
        assert assignment is not None
        dispatcher.failed(assignment, kind, "it broke", possible=LADDER)
        return assignment


def test_the_way_down_from_too_little_memory_goes_on_after_a_restart(folder: Path) -> None:
    seen = [fail(folder, Kind.OUT_OF_MEMORY, size=4) for _ in range(6)]
    assert [one.degradation for one in seen] == [
        Degradation(),
        Degradation(free=True),
        Degradation(free=True, most=2),
        Degradation(free=True, most=1),
        Degradation(free=True, most=1, vae_tiling=True),
        Degradation(free=True, most=1, vae_tiling=True, offload=True),
    ]
    assert [len(one.jobs) for one in seen] == [4, 4, 2, 1, 1, 1]


def test_a_job_that_failed_here_goes_elsewhere_after_a_restart(folder: Path) -> None:
    failed = fail(folder, Kind.NODE_FAILED)
    with Store.open(folder) as store:
        dispatcher = begun(store)
        here = dispatcher.take(HERE)
        assert here is not None
        assert here.jobs != failed.jobs
        there = dispatcher.take(THERE)
        assert there is not None
        assert there.jobs[0].key == failed.jobs[0].key


def test_what_a_person_wants_tried_again_is_tried_as_if_it_were_new(folder: Path) -> None:
    for _ in range(2):
        fail(folder, Kind.OUT_OF_MEMORY)
    retry(folder)
    assert fail(folder, Kind.OUT_OF_MEMORY).degradation == Degradation()
