"""The simulated cluster of scripts/simulate_cluster.py keeps the rules of a real one."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

REPOSITORY = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(REPOSITORY))

from orchestrator.batch.execution.store import tables  # noqa: E402
from scripts import simulate_cluster  # noqa: E402
from scripts.cluster.counting import CountingStore  # noqa: E402
from scripts.cluster.figures import figures_of  # noqa: E402
from scripts.cluster.simulation import Cluster, Simulation, SimulationOutcome  # noqa: E402

SMALL = Cluster(
    gpus=8,
    gpus_each=2,
    models=4,
    owners=3,
    sprites_a_day=60_000,
    seconds=60.0,
    warm_up=30.0,
    job=2.0,
    load=6.0,
)


def run(folder: Path, cluster: Cluster) -> tuple[SimulationOutcome, CountingStore]:
    folder.mkdir(exist_ok=True)
    store = CountingStore.open(folder)
    assert isinstance(store, CountingStore)
    return Simulation(cluster, store).run(), store


def test_each_job_is_claimed_once_though_workers_come_too_late(tmp_path: Path) -> None:
    found, store = run(tmp_path, replace(SMALL, sprites_a_day=250_000))
    with store:
        keys = [row.key for row in store.rows(sa.select(tables.shots.c.key))]
    assert found.asked["late"] > 0
    assert len(keys) == len(set(keys)) > found.done > 0


def test_the_same_seed_gives_the_same_run_and_another_one_another(tmp_path: Path) -> None:
    made = []
    for number, seed in enumerate((1, 1, 2)):
        found, store = run(tmp_path / str(number), replace(SMALL, seed=seed))
        store.close()
        made.append((found.done, found.loads, found.asked))
    assert made[0] == made[1] != made[2]


def test_a_server_is_never_busier_than_all_the_time(tmp_path: Path) -> None:
    found, store = run(tmp_path, replace(SMALL, sprites_a_day=1e6, backlog=100))
    store.close()
    # what has begun and not ended is counted, too, one job a server at most
    assert found.busy <= SMALL.gpus * (SMALL.seconds + SMALL.load + 1.25 * SMALL.job)
    assert figures_of(SMALL, found).busy > 0.9


def test_the_load_of_the_database_is_what_was_asked_times_its_costs() -> None:
    kinds = ["claim", "late", "submitted", "done", "read", "rows", "still", "renew", "called_off"]
    costs = {**dict.fromkeys(kinds, 0.0), "claim": 2.0, "owners": 10.0, "owners_idle": 1.0}
    found = SimulationOutcome()
    found.asked.update({"claim": 600, "owners": 60, "owners_seen": 90})
    made = figures_of(SMALL, found, costs)
    assert made.cores["claim"] == pytest.approx(10 * 0.002)
    # Half of the three owners waited, on average.
    assert made.cores["owners"] == pytest.approx(1 * 0.0055)
    assert made.requests["renew"] == SMALL.workers / 10


def test_the_command_prints_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--gpus", "4", "--seconds", "5", "--warm-up", "5", "--seeds", "3", "4", "--json"]
    monkeypatch.setattr(sys, "argv", ["simulate_cluster.py", *arguments])
    simulate_cluster.main()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["cluster"]["seed"] for line in lines] == [3, 4]


def test_parts_are_together_what_the_whole_is(tmp_path: Path) -> None:
    whole, store = run(tmp_path / "whole", SMALL)
    store.close()
    (tmp_path / "parts").mkdir()
    store = CountingStore.open(tmp_path / "parts")
    assert isinstance(store, CountingStore)
    with store:
        parts = [*Simulation(SMALL, store).parts(25.0)]
    assert len(parts) == 3
    assert sum(part.done for part in parts) == whole.done > 0
    assert [wait for part in parts for wait in part.waits] == whole.waits
    assert sum((part.asked for part in parts), whole.asked - whole.asked) == whole.asked


def test_the_command_prints_a_line_for_each_part(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--gpus", "4", "--seconds", "5", "--warm-up", "5", "--part", "2", "--json"]
    monkeypatch.setattr(sys, "argv", ["simulate_cluster.py", *arguments])
    simulate_cluster.main()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["cluster"]["seconds"] for line in lines] == [2.0, 2.0, 1.0]


def test_a_part_is_not_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["simulate_cluster.py", "--part", "0"])
    with pytest.raises(SystemExit):
        simulate_cluster.main()
    assert "--part takes more than 0 s" in capsys.readouterr().err
