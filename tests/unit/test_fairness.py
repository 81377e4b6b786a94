"""Owners take turns: the real dispatcher and store, with servers on a virtual clock."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.batch.execution.dispatcher import Dispatcher, DispatchSettings, Finished
from orchestrator.batch.execution.store.store import Store
from orchestrator.batch.logic.assignments import Assignment
from orchestrator.batch.logic.jobs import Job
from orchestrator.batch.logic.scheduler import Rules


class Deaf:
    def happened(self, kind: str, **details: Any) -> None:
        """Take note of nothing."""


class Service:
    """Servers that run one graph at a time and hold another one, on a clock that jumps."""

    def __init__(self, store: Store, seconds: list[float], rules: Rules | None = None) -> None:
        self.store = store
        self.now = 0.0
        # how long a job takes on each server
        self.seconds = {f"s{number}": value for number, value in enumerate(seconds)}
        self.dispatcher = Dispatcher(
            store,
            Deaf(),
            DispatchSettings(endless=True, rules=rules or Rules()),
            clock=lambda: self.now,
        )
        # what each server has, the first of which runs
        self.held: dict[str, list[Assignment]] = {server: [] for server in self.seconds}
        # (owner, server, key) in the order in which jobs began, and were handed out
        self.began: list[tuple[str, str, str]] = []
        self.taken: list[tuple[str, str, str]] = []
        self.models: list[str] = []
        self._ends: list[tuple[float, int, str]] = []
        self._order = itertools.count()
        self._names = itertools.count()
        for server in self.seconds:
            self.dispatcher.join(server)

    def post(self, owner: str, count: int, **values: Any) -> None:
        self.store.add(
            Job(
                key=f"{number:064}",
                name=f"n{number}",
                item_id="i",
                parameters={},
                seed=number,
                owner=owner,
                **values,
            )
            for number in itertools.islice(self._names, count)
        )
        self.dispatcher.arrived()
        self._fill()

    def run(self, until: Callable[[], bool]) -> None:
        """Let time pass until something is so."""
        while not until():
            self.now, _, server = heapq.heappop(self._ends)
            assignment = self.held[server].pop(0)
            self.dispatcher.ended(assignment)
            if self.held[server]:
                self._begin(server)
            self._fill()
            self.dispatcher.done(
                Finished(assignment=assignment, artifacts=[], seconds=1.0, spans=[])
            )

    def begun(self, owner: str) -> int:
        return sum(one[0] == owner for one in self.began)

    def _fill(self) -> None:
        for server, held in self.held.items():
            while (assignment := self.dispatcher.take(server)) is not None:
                held.append(assignment)
                job = assignment.jobs[0]
                self.taken.append((job.owner, server, job.key))
                if len(held) == 1:
                    self._begin(server)

    def _begin(self, server: str) -> None:
        job = self.held[server][0].jobs[0]
        self.began.append((job.owner, server, job.key))
        self.models.append(job.model)
        heapq.heappush(self._ends, (self.now + self.seconds[server], next(self._order), server))


@settings(max_examples=25)
@given(
    seconds=st.lists(st.floats(0.5, 8.0), min_size=1, max_size=5),
    before=st.integers(0, 60),
    models=st.tuples(st.sampled_from("mn"), st.sampled_from("mn")),
)
def test_a_thousand_jobs_delay_anothers_first_by_one_a_server(
    tmp_path_factory: pytest.TempPathFactory,
    seconds: list[float],
    before: int,
    models: tuple[str, str],
) -> None:
    with Store.open(tmp_path_factory.mktemp("fair")) as store:
        service = Service(store, seconds)
        service.post("ann", 1000, model=models[0])
        service.run(lambda: service.begun("ann") > before)
        begun, taken = len(service.began), len(service.taken)
        service.post("bob", 10, model=models[1])
        service.run(lambda: service.begun("bob") >= 10)
        since = service.taken[taken:]
        # The next job that is handed out is bob's, behind one of ann's at most on its server.
        assert since[0][0] == "bob"
        until = service.began.index(since[0])
        before_it = [one for one in service.began[begun:until] if one[1] == since[0][1]]
        assert len(before_it) <= 1
        # And then they take turns, but for what a model that is loaded is worth.
        most = 0 if models[0] == models[1] else Rules().lead
        turns = [one[0] for one in since]
        while turns[-1] != "bob":
            turns.pop()
        assert turns.count("bob") == 10
        assert turns.count("ann") <= 10 + most


def test_with_one_model_they_alternate(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        service = Service(store, [1.0])
        service.post("ann", 300)
        service.run(lambda: service.begun("ann") == 20)
        service.post("bob", 20)
        service.run(lambda: service.begun("bob") == 20)
        owners = [owner for owner, *_ in service.began][21:]
        turns = owners[owners.index("bob") :][:38]
        # Each has one of every two.
        assert {tuple(sorted(turns[at : at + 2])) for at in range(0, 38, 2)} == {("ann", "bob")}


def test_whoever_comes_again_and_again_starves_nobody_and_is_not_starved(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        service = Service(store, [1.0])
        service.post("ann", 300)
        for number in range(1, 40):
            service.post("bob", 1)
            service.run(lambda number=number: service.begun("bob") >= number)
        # One job at a time: no more than every other, and not much less.
        assert 38 <= service.begun("ann") <= 2 * 40


def test_nobody_gets_ahead_for_having_been_away(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        service = Service(store, [1.0])
        service.post("bob", 1)
        service.post("ann", 200)
        service.run(lambda: service.begun("ann") == 100)
        service.post("bob", 200)
        service.run(lambda: service.begun("ann") == 150)
        assert 45 <= service.begun("bob") <= 55
        # Also where nobody was there meanwhile.
        service.run(lambda: service.begun("ann") + service.begun("bob") == 401)
        service.run(lambda: not any(service.held.values()))
        service.post("cid", 100)
        service.run(lambda: service.begun("cid") == 10)
        service.post("bob", 100)
        service.run(lambda: service.begun("cid") == 50)
        assert 35 <= service.begun("bob") - 201 <= 45


def test_many_owners_take_turns(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        service = Service(store, [1.0, 1.0])
        for number in range(60):
            service.post(f"owner-{number}", 20)
        service.run(lambda: len(service.began) == 600)
        counts = Counter(owner for owner, *_ in service.began)
        assert len(counts) == 60
        # The first was alone at first, and had both servers to itself.
        assert counts.pop("owner-0") <= min(counts.values()) + 5
        assert max(counts.values()) - min(counts.values()) <= 1


def test_two_models_of_two_owners_are_not_loaded_for_every_job(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        service = Service(store, [1.0])
        service.post("ann", 100, model="m")
        service.post("bob", 100, model="n")
        service.run(lambda: len(service.models) == 100)
        changes = sum(one != two for one, two in itertools.pairwise(service.models))
        assert changes <= 100 // Rules().lead
        assert abs(service.begun("ann") - service.begun("bob")) <= 2 * Rules().lead


def test_a_job_of_another_model_does_not_wait_for_ever_in_an_endless_line(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        service = Service(store, [1.0], Rules(passing=5))
        service.post("ann", 3, model="m")
        service.post("ann", 1, model="n")
        for _ in range(20):
            service.post("ann", 1, model="m")
        service.run(lambda: "n" in service.models)
        assert len(service.models) <= 3 + 5 + 3
