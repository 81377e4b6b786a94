"""Whose a picture is, and which of its job's; on real node declarations."""

from __future__ import annotations

import copy
import itertools
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.batch.execution import plan as plans
from orchestrator.batch.execution.manifest_files import load
from orchestrator.batch.logic.easing import eased
from orchestrator.batch.logic.jobs import Job, name_in, number_in, path_of
from orchestrator.batch.logic.planning import Planner
from orchestrator.batch.logic.prefixes import name_files, prefix_of
from orchestrator.batch.logic.retry import Degradation
from orchestrator.batch.logic.seed_batches import batched
from orchestrator.batch.recovery.belonging import Shares, share_out
from orchestrator.batch.recovery.identity import Jobs
from orchestrator.batch.recovery.placing import place
from orchestrator.batch.recovery.seen import Seen
from orchestrator.workflow.catalogue import Catalogue

HEAD = "name: x\nworkflow: sprite\n"
ITEMS = """items:
  - {id: a, prompt: "a {{red|blue}} potion", seeds: {base: 100, count: 4}, rerolls: 3}
  - {id: b, prompt: "a green potion", seeds: {base: 100, count: 4}}
"""


class Planned:
    """The jobs of a manifest, with their planner."""

    def __init__(self, folder: Path, text: str, info: Catalogue, digests: Any = None) -> None:
        path = folder / "batch.yaml"
        path.write_text(text, encoding="utf-8")
        file = load(path)
        graph = json.loads(file.workflow.read_text(encoding="utf-8"))
        self.planner = Planner(graph, info, (digests or {}).get)
        self.jobs = list(plans.jobs_of(file, self.planner))
        self.known = Jobs(self.jobs, self.planner.graph, info)

    def sent(self, *jobs: Job) -> Any:
        """The graph that a server gets, as pictures carry it: through JSON."""
        graph = self.planner.graph(jobs[0])
        if len(jobs) > 1:
            graph = batched(graph, [job.seed_now or 0 for job in jobs])
        name_files(graph, prefix_of(jobs[0].key))
        return json.loads(json.dumps(graph))

    def owners(self, graph: Any) -> list[Job]:
        return list(self.known.owners(graph))


@pytest.fixture
def made(tmp_path: Path, info: Catalogue) -> Planned:
    return Planned(tmp_path, HEAD + ITEMS, info)


def test_each_graph_is_its_jobs(made: Planned) -> None:
    assert len(made.jobs) == 8
    for job in made.jobs:
        assert made.owners(made.sent(job)) == [job]


def test_names_on_the_server_and_node_ids_say_nothing(made: Planned) -> None:
    job = made.jobs[0]
    graph = {f"9{key}": node for key, node in made.sent(job).items()}
    for node in graph.values():
        for name, value in node["inputs"].items():
            if isinstance(value, list):
                node["inputs"][name] = [f"9{value[0]}", value[1]]
    name_files(graph, "ComfyUI")
    assert made.owners(graph) == [job]


def test_other_graphs_are_no_jobs(made: Planned) -> None:
    graph = made.sent(made.jobs[0])
    other = copy.deepcopy(graph)
    next(node for node in other.values() if "seed" in node["inputs"])["inputs"]["seed"] = 7
    assert made.owners(other) == []
    assert made.owners({"1": {"class_type": "Unheard", "inputs": {}}}) == []
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    assert made.owners({"1": {"class_type": "SaveImage", "inputs": {"images": deep}}}) == []


def test_a_rolled_seed_is_its_jobs(made: Planned) -> None:
    job = made.jobs[0]
    # More than its gates may: people ask for other seeds as often as they like.
    for roll in (1, 3, 4, 900):
        rolled = replace(job, roll=roll)
        assert made.owners(made.sent(rolled)) == [rolled]
    assert made.owners(made.sent(replace(job, roll=1001))) == []


@pytest.mark.parametrize(
    "how", [Degradation(vae_tiling=True), Degradation(offload=True, vae_tiling=True)]
)
def test_a_graph_that_was_made_easier_is_its_jobs(
    made: Planned, info: Catalogue, how: Degradation
) -> None:
    job, rolled = made.jobs[0], replace(made.jobs[1], roll=2)
    assert eased(made.sent(job), how, info) != made.sent(job)
    assert made.owners(eased(made.sent(job), how, info)) == [job]
    assert made.owners(eased(made.sent(rolled), how, info)) == [rolled]


def test_a_graph_of_several_seeds_is_all_of_theirs(made: Planned, info: Catalogue) -> None:
    jobs = [job for job in made.jobs if job.item_id == "b"]
    graph = made.sent(*jobs[1:])
    assert made.owners(graph) == jobs[1:]
    assert made.owners(eased(graph, Degradation(vae_tiling=True), info)) == jobs[1:]


def test_pictures_that_go_in_are_told_apart_by_their_bytes(tmp_path: Path, info: Catalogue) -> None:
    pictures = [str(tmp_path / f"{name}.png") for name in "pq"]
    for path in pictures:
        Path(path).write_bytes(b"")
    text = (
        "name: x\nworkflow: inpaint\ndefaults: {prompt: p}\n"
        'images: {image: "[pq].png", mask: p.png}\noutput: "{image}"\nitems:\n  - {id: a}\n'
    )
    made = Planned(tmp_path, text, info, {path: path[-5] for path in pictures})
    assert [job.name for job in made.jobs] == ["p", "q"]
    for job in made.jobs:
        graph = made.sent(job)
        for node in graph.values():
            if "image" in node["inputs"] and isinstance(node["inputs"]["image"], str):
                node["inputs"]["image"] = "as the server calls it.png"
        assert made.owners(graph) == [job]
        # Another picture went in, whose job is none of these.
        name_files(graph, "0" * 20)
        assert made.owners(graph) == []


# ---------------------------------------------------------------------------- sharing


def job(name: str, key: str = "") -> Job:
    return Job(key=key or name * 64, name=name, item_id=name, parameters={}, seed=7)


def seen(path: str, **more: Any) -> Seen:
    return Seen(path=path, suffix=".png", **{"sha256": path, "has_graph": True, **more})


def places(shares: Shares) -> dict[str, str]:
    return {one.seen.path: one.path for one in shares.belongings}


A, B = job("a"), job("b")


def test_pictures_of_one_graph_are_told_apart_by_their_names() -> None:
    shares = share_out([(seen("b.png"), (A, B)), (seen("a.png"), (A, B))])
    assert places(shares) == {"b.png": "b.png", "a.png": "a.png"}


def test_the_last_picture_of_a_graph_is_what_is_left() -> None:
    shares = share_out([(seen("x.png"), (A, B)), (seen("a.png"), (A, B))])
    assert places(shares) == {"x.png": "b.png", "a.png": "a.png"}
    shares = share_out([(seen("x.png"), (A, B)), (seen("y.png"), (A, B))])
    assert places(shares) == {}
    assert [one.path for one in shares.unclear] == ["x.png", "y.png"]


def test_what_a_record_still_says_goes_before_names() -> None:
    owned = [(seen("b.png", sha256="1"), (A, B)), (seen("a.png", sha256="2"), (A, B))]
    known = {"1": ["a.png"], "2": ["b.png"]}
    assert places(share_out(owned, known)) == {"b.png": "a.png", "a.png": "b.png"}
    # where it cannot be wrong: servers make one file for several jobs
    same = [(seen("b.png", sha256="1"), (A, B)), (seen("a.png", sha256="1"), (A, B))]
    known = {"1": ["a.png", "b.png"]}
    assert places(share_out(same, known)) == {"b.png": "b.png", "a.png": "a.png"}


def test_the_copy_that_lies_where_it_belongs_counts() -> None:
    owned = [(seen("A copy.png", sha256="1"), (A,)), (seen("a.png", sha256="1"), (A,))]
    for known in ({}, {"1": ["a.png"]}):
        shares = share_out(owned, known)
        assert places(shares) == {"a.png": "a.png"}
        assert [one.path for one in shares.copies] == ["A copy.png"]


def test_numbers_come_from_names() -> None:
    owned = [(seen(path), (A,)) for path in ("b=3.png", "b.png", "a=2.png")]
    assert places(share_out(owned)) == {
        "b=3.png": "a=3.png",
        "b.png": "a.png",
        "a=2.png": "a=2.png",
    }
    shares = share_out(owned[:1])
    assert shares.incomplete == [A]


@given(st.sampled_from(["a", "a-2", "deep/a"]), st.integers(0, 5000))
def test_numbers_and_paths_are_each_others_inverse(name: str, number: int) -> None:
    stem = path_of(name, number, "")
    assert number_in(name, stem) == number
    assert name_in(stem) == name
    assert number_in("other", stem) is None
    for odd in (f"{name}=1", f"{name}=0", f"{name}=x", f"{name}=02"):
        assert number_in(name, odd) is None


# ---------------------------------------------------------------------------- placing

NAMES = ["a.png", "b.png", "c.png", "deep/d.png", "e.png"]


@given(
    st.permutations(NAMES),
    st.sets(st.sampled_from(NAMES)),
    st.sets(st.sampled_from(NAMES)),
)
def test_nothing_is_overwritten(
    tmp_path_factory: pytest.TempPathFactory,
    targets: Sequence[str],
    there: set[str],
    wanted: set[str],
) -> None:
    folder = tmp_path_factory.mktemp("placing")
    for name in there:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name)
    pairs = zip(NAMES, targets, strict=True)
    moves = {one: to for one, to in pairs if one in there & wanted and one != to}
    dry = place(folder, moves, [], dry=True)
    placed = place(folder, moves, [])
    assert placed.moved == dry.moved == moves
    assert placed.aside == dry.aside
    after = {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert sorted(after.values()) == sorted(there)
    for source, target in moves.items():
        assert after[target] == source
    for source, target in placed.aside.items():
        assert after[target] == source
    for name in there - moves.keys() - placed.aside.keys():
        assert after[name] == name


@pytest.mark.parametrize("killed", range(6))
def test_a_kill_loses_no_picture(
    tmp_path: Path, killed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        (tmp_path / f"{name}.png").write_text(name)
    count = itertools.count()
    rename = os.rename

    def dying(source: Any, target: Any) -> None:
        if next(count) == killed:
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, "rename", dying)
    moves = {"a.png": "b.png", "b.png": "c.png", "c.png": "a.png"}
    try:
        place(tmp_path, moves, [])
    except KeyboardInterrupt:
        assert killed < 4
    monkeypatch.undo()
    assert sorted(path.read_text() for path in tmp_path.iterdir()) == ["a", "b", "c"]
    # What lies about then is found by its name, too.
    jobs = {
        path.read_text(): job(moves[f"{path.read_text()}.png"][0]) for path in tmp_path.iterdir()
    }
    owned = [(seen(path.name), (jobs[path.read_text()],)) for path in sorted(tmp_path.iterdir())]
    place(tmp_path, {f: t for f, t in places(share_out(owned)).items() if f != t}, [])
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "b.png": "a",
        "c.png": "b",
        "a.png": "c",
    }
