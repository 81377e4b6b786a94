"""Plans: jobs, their keys and graphs from manifests and the shipped workflows."""

from __future__ import annotations

import copy
import dataclasses
import json
import random
from pathlib import Path
from typing import Any

import pytest

from orchestrator.batch.execution import plan as plans
from orchestrator.batch.execution.manifest_files import load
from orchestrator.batch.execution.store.store import PlanDiff, Store
from orchestrator.batch.logic.jobs import Job, State
from orchestrator.batch.logic.planning import Planner
from orchestrator.errors import ManifestError
from orchestrator.workflow.catalogue import Catalogue
from orchestrator.workflow.checking import validate
from orchestrator.workflow.roles import set_parameters, split_settings
from orchestrator.workflow.texts import Texts

REPOSITORY = Path(__file__).resolve().parent.parent.parent
HEAD = "name: x\nworkflow: sprite\n"


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def workflow(name: str) -> Any:
    return read(REPOSITORY / "workflows" / "api" / f"{name}.json")


def planned(folder: Path, text: str, info: Any, graph: Any = None) -> list[Job]:
    path = folder / "batch.yaml"
    path.write_text(text, encoding="utf-8")
    file = load(path)
    return list(plans.jobs_of(file, planner(info, graph or read(file.workflow))))


def planner(info: Any, graph: Any, digests: dict[str, str] | None = None) -> Planner:
    return Planner(graph, info, (digests or {}).get)


def keys(jobs: list[Job]) -> list[str]:
    return [job.key for job in jobs]


def one(folder: Path, item: str, info: Any, graph: Any = None) -> Job:
    (job,) = planned(folder, f"{HEAD}items:\n  - {{id: a, {item}}}\n", info, graph)
    return job


# --------------------------------------------------------------------------- graphs


def test_a_jobs_graph_is_what_set_makes_and_the_server_takes_it(tmp_path: Path, info: Any) -> None:
    graph = workflow("sprite")
    job = one(tmp_path, "prompt: a red potion, seeds: [7], set: {steps: 12, 6.cfg: 4}", info)
    built = planner(info, graph).graph(job)
    settings = ["prompt=a red potion", "steps=12", "6.cfg=4", "seed=7"]
    assert built == set_parameters(graph, split_settings(settings), info)
    assert validate(built, info) == []


def test_graphs_do_not_share_what_they_are_made_of(tmp_path: Path, info: Any) -> None:
    graph = workflow("sprite")
    before = copy.deepcopy(graph)
    job = one(tmp_path, "prompt: p, seeds: [7]", info)
    made = planner(info, graph)
    made.graph(job)["6"]["inputs"]["seed"] = 99
    assert made.graph(job)["6"]["inputs"]["seed"] == 7
    assert graph == before


def test_a_rerolled_job_gets_its_next_seed(tmp_path: Path, info: Any) -> None:
    with Store.open(tmp_path) as store:
        store.plan([one(tmp_path, "prompt: p, seeds: [7]", info)])
        (job,) = store.pending(1)
        store.move([job.key], State.CLAIMED)
        store.reroll(job.key)
        (job,) = store.pending(1)
    graph = planner(info, workflow("sprite")).graph(job)
    assert graph["6"]["inputs"]["seed"] == job.seed_now != 7


def test_a_job_is_one_picture_whatever_the_workflow_makes(tmp_path: Path, info: Any) -> None:
    graph = workflow("batch")
    job = one(tmp_path, "prompt: p, seeds: [7]", info, graph)
    built = planner(info, graph).graph(job)
    sizes = [
        node["inputs"]["batch_size"] for node in built.values() if "batch_size" in node["inputs"]
    ]
    assert set(sizes) == {1}


def test_without_seeds_the_workflows_own_counts(tmp_path: Path, info: Any) -> None:
    assert one(tmp_path, "prompt: p", info).seed == workflow("sprite")["6"]["inputs"]["seed"]


# --------------------------------------------------------------------------- keys


def test_keys_do_not_know_titles(tmp_path: Path, info: Any) -> None:
    graph = workflow("sprite")
    untitled = {key: {**node, "_meta": {}} for key, node in graph.items()}
    bare = {key: {k: v for k, v in node.items() if k != "_meta"} for key, node in graph.items()}
    found = {one(tmp_path, "prompt: p, seeds: [7]", info, each).key for each in (graph, untitled)}
    found.add(one(tmp_path, "set: {2.text: p}, seeds: [7]", info, bare).key)
    assert len(found) == 1


def test_keys_say_what_affects_the_picture_and_nothing_else(tmp_path: Path, info: Any) -> None:
    base = one(tmp_path, "prompt: p, seeds: [7]", info)
    for same in (
        "prompt: p, seeds: [7], output: other, priority: 9, rerolls: 3, gates: {blank: }",
        "vars: {x: p}, prompt: '{x}', seeds: {base: 7, count: 1}",
        "set: {'Positive.text': p}, seeds: [7]",
        "set: {2.text: p}, seeds: [7]",
        "prompt: p, seeds: [7], set: {sampler: euler_ancestral, denoise: 1}",
        "prompt: p, seeds: [7], set: {denoise: '1.0'}",
    ):
        assert one(tmp_path, same, info).key == base.key, same
    for other in (
        "prompt: q, seeds: [7]",
        "prompt: p, seeds: [8]",
        "prompt: p, seeds: [7], negative: n",
        "prompt: p, seeds: [7], set: {steps: 20}",
    ):
        assert one(tmp_path, other, info).key != base.key, other


def test_keys_see_the_workflow_but_not_its_titles_prefixes_and_order(
    tmp_path: Path, info: Any
) -> None:
    graph = workflow("sprite")
    item = "prompt: p, seeds: [7]"
    key = one(tmp_path, item, info, graph).key
    shuffled = dict(random.Random(3).sample(list(graph.items()), len(graph)))
    shuffled = copy.deepcopy(shuffled)
    shuffled["2"]["_meta"]["title"] = "Text"
    shuffled["9"]["inputs"]["filename_prefix"] = "elsewhere"
    assert one(tmp_path, item, info, shuffled).key == key
    graph["8"]["inputs"]["tolerance"] = 0.2
    assert one(tmp_path, item, info, graph).key != key


def test_keys_see_the_bytes_of_pictures_and_not_their_names(info: Any, tmp_path: Path) -> None:
    graph = workflow("inpaint")
    (tmp_path / "a.png").write_bytes(b"1")
    (tmp_path / "b.png").write_bytes(b"2")
    text = "name: x\nworkflow: inpaint\nitems: [{id: a, images: {image: '*.png'}, seeds: [1]}]\n"
    (tmp_path / "batch.yaml").write_text(text, encoding="utf-8")
    paths = [str((tmp_path / name).resolve()) for name in ("a.png", "b.png")]

    def with_digests(*digests: str) -> list[str]:
        made = planner(info, graph, dict(zip(paths, digests, strict=True)))
        return keys(list(plans.jobs_of(load(tmp_path / "batch.yaml"), made)))

    first, second = with_digests("1", "2")
    assert first != second
    assert with_digests("2", "1") == [second, first]
    assert with_digests("1", "3")[0] == first
    # the mask that the workflow itself names counts, too
    mask = graph[next(key for key, node in graph.items() if "mask" in str(node["inputs"]))]
    masked = planner(
        info, graph, {paths[0]: "1", paths[1]: "2", "spriteworks_potion_mask.png": "m"}
    )
    assert mask
    assert keys(list(plans.jobs_of(load(tmp_path / "batch.yaml"), masked))) != [first, second]


def test_a_group_is_equal_but_for_the_seed(tmp_path: Path, info: Any) -> None:
    text = HEAD + "items: [{id: a, prompt: '{x}', vars: {x: [p, q]}, seeds: [1, 2, 3]}]\n"
    jobs = planned(tmp_path, text, info)
    groups = [job.group for job in jobs]
    assert groups[:3] == [groups[0]] * 3
    assert groups[3:] == [groups[3]] * 3
    assert groups[0] != groups[3]
    assert len(groups[0]) == 16


def test_the_model_of_a_job(tmp_path: Path, info: Any) -> None:
    assert one(tmp_path, "prompt: p", info).model == "spriteworks-starter"
    declared = read(REPOSITORY / "tests" / "data" / "canvas" / "object_info.json")
    names = declared["SpriteworksDiffusersLoader"]["input"]["required"]["model_name"]
    choices = names[1]["options"] if names[0] == "COMBO" else names[0]
    choices = [*choices, "another"]
    declared["SpriteworksDiffusersLoader"]["input"]["required"]["model_name"] = [choices, {}]
    text = HEAD + "items: [{id: a, set: {model: '{m}'}, vars: {m: [spriteworks-starter, another]}}]"
    jobs = planned(tmp_path, text, Catalogue(declared))
    assert [job.model for job in jobs] == ["spriteworks-starter", "another"]


# --------------------------------------------------------------------------- mistakes


def test_all_that_the_server_would_refuse_comes_at_once_with_lines(
    tmp_path: Path, info: Any
) -> None:
    text = HEAD + (
        "defaults: {steps: 20, cfg: high}\n"
        "items:\n"
        "  - {id: a, prompt: '{nobody}', set: {steps: 0}}\n"
        "  - id: b\n"
        "    set:\n"
        "      sampler: eulr\n"
        "      99.steps: 3\n"
        "      6.stpes: 3\n"
        "      width: 64.5\n"
        "      prompt: 12\n"
        "      mask: x.png\n"
    )
    with pytest.raises(ManifestError) as caught:
        planned(tmp_path, text, info)
    found = {(one.line, one.field) for one in caught.value.problems}
    assert found == {
        (3, "defaults.cfg"),
        (5, "items[0].prompt"),
        (5, "items[0].set.steps"),
        (8, "items[1].set.sampler"),
        (9, "items[1].set.99.steps"),
        (10, "items[1].set.6.stpes"),
        (11, "items[1].set.width"),
        (13, "items[1].set.mask"),
    }
    assert "--set" not in str(caught.value)
    assert "did you mean 'euler'" in str(caught.value)


def test_a_workflow_that_the_server_lacks_nodes_for(tmp_path: Path, info: Any) -> None:
    declared = read(REPOSITORY / "tests" / "data" / "canvas" / "object_info.json")
    poor = Catalogue({name: declared[name] for name in declared if name != "SpriteworksCutout"})
    with pytest.raises(ManifestError, match="SpriteworksCutout") as caught:
        planned(tmp_path, HEAD + "items: [{id: a}, {id: b}]\n", poor)
    assert [(one.line, one.field) for one in caught.value.problems] == [(2, "workflow")]


def test_the_same_picture_twice(tmp_path: Path, info: Any) -> None:
    text = HEAD + "items:\n  - {id: a, prompt: p, seeds: [1]}\n  - {id: b, prompt: p, seeds: [1]}\n"
    with pytest.raises(ManifestError, match="b-1 would be the same picture as a-1") as caught:
        planned(tmp_path, text, info)
    assert caught.value.problems[0].line == 5


# --------------------------------------------------------------------------- plans in a store


def replanned(folder: Path, text: str, info: Any) -> PlanDiff:
    path = folder / "batch.yaml"
    path.write_text(text, encoding="utf-8")
    file = load(path)
    with Store.open(folder) as store:
        return plans.plan(file, planner(info, read(file.workflow)), store)


def item(name: str, prompt: str) -> str:
    return f"  - {{id: {name}, prompt: {prompt}, seeds: [1]}}\n"


def test_a_changed_manifest_makes_only_what_changed(tmp_path: Path, info: Any) -> None:
    head = HEAD + "items:\n"
    first = replanned(tmp_path, head + item("a", "p") + item("b", "q") + item("c", "r"), info)
    assert first == PlanDiff(total=3, added=3, kept=0, changed=0, unwanted=0)
    with Store.open(tmp_path) as store:
        store.move([job.key for job in store.pending(3)], State.DONE)
    second = replanned(tmp_path, head + item("c", "r") + item("b", "new") + item("d", "s"), info)
    assert second == PlanDiff(total=3, added=1, kept=1, changed=1, unwanted=1)
    with Store.open(tmp_path) as store:
        states = {(one.job.name, one.state) for one in store.entries()}
    assert states == {
        ("c-1", State.DONE),
        ("b-1", State.PENDING),
        ("d-1", State.PENDING),
        ("a-1", State.UNWANTED),
        ("b-1", State.UNWANTED),
    }


def test_a_plan_with_a_mistake_at_its_end_changes_nothing(tmp_path: Path, info: Any) -> None:
    replanned(tmp_path, HEAD + "items:\n" + item("a", "p"), info)
    with pytest.raises(ManifestError):
        replanned(tmp_path, HEAD + "items:\n" + item("b", "q") + item("c", "'{x}'"), info)
    with Store.open(tmp_path) as store:
        assert [job.name for job in store.pending(9)] == ["a-1"]


def test_recall_knows_when_nothing_has_changed(tmp_path: Path, info: Any) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"1")
    (tmp_path / "items.csv").write_text("id,seeds\nz,1\n")
    text = (
        "name: x\nworkflow: inpaint\nbatch_size: 4\ngates: {blank: false}\n"
        "items: [{id: a, images: {image: 'in/*.png'}, seeds: [1]}]\nitems_from: items.csv\n"
    )
    path = tmp_path / "batch.yaml"
    replanned(tmp_path, text, info)

    def recalled(manifest: Path | None = path) -> plans.Planned | None:
        with Store.open(tmp_path) as store:
            return plans.recall(store, manifest)

    known = recalled()
    assert known is not None
    assert (known.manifest.name, known.manifest.batch_size) == ("x", 4)
    assert known.manifest.gates == {"blank": False}
    assert known.workflow.name == "inpaint.json"
    (tmp_path / "in" / "b.png").write_bytes(b"2")
    assert recalled() is None
    (tmp_path / "in" / "b.png").unlink()
    assert recalled() is not None
    (tmp_path / "items.csv").write_text("id,seeds\nz,2\n")
    assert recalled() is None
    assert recalled(None) is not None
    other = tmp_path / "other.yaml"
    other.write_text(text, encoding="utf-8")
    assert recalled(other) is None


def test_an_empty_store_recalls_nothing(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        assert plans.recall(store) is None


# --------------------------------------------------------------------------- time


def test_an_estimate_from_past_timings() -> None:
    paces = {"a": [1.0, 2.0, 3.0], "b": [4.0]}
    found = plans.estimate(100, paces, ["a", "b"])
    assert found is not None
    # one in 2 s and one in 4 s: three in 4 s
    assert found.likely == pytest.approx(100 * 4 / 3)
    assert found.low < found.likely < found.high
    assert found.samples == 4


def test_a_server_without_a_past_is_taken_to_be_like_the_others() -> None:
    found = plans.estimate(10, {"a": [2.0]}, ["a", "new"])
    assert found is not None
    assert found.likely == pytest.approx(10)
    assert plans.estimate(10, {}, ["a"]) is None
    assert plans.estimate(10, {"a": [2.0]}, []) is None


# --------------------------------------------------------------------------- texts with choices


def planned_texts(
    folder: Path, text: str, info: Any, graph: Any, texts: Texts
) -> tuple[list[Job], Planner]:
    path = folder / "batch.yaml"
    path.write_text(text, encoding="utf-8")
    made = Planner(graph, info, {}.get, texts)
    return list(plans.jobs_of(load(path), made)), made


def test_the_seed_of_a_job_chooses_its_text(tmp_path: Path, info: Any) -> None:
    graph = workflow("sprite")
    text = HEAD + "items: [{id: a, prompt: 'a {{red|blue}} potion', seeds: {from: 1, to: 20}}]"
    jobs, made = planned_texts(tmp_path, text, info, graph, Texts())
    texts = {job.seed: made.graph(job)["2"]["inputs"]["text"] for job in jobs}
    assert set(texts.values()) == {"a red potion", "a blue potion"}
    # what was chosen is in the key, and seeds of one text are a group
    for job in jobs:
        plain = HEAD + f"items: [{{id: a, prompt: {texts[job.seed]}, seeds: [{job.seed}]}}]"
        (other,), _ = planned_texts(tmp_path, plain, info, graph, Texts())
        assert (other.key, other.group) == (job.key, job.group)
    assert len({job.group for job in jobs}) == 2


def test_choices_of_the_workflow_itself_are_in_the_key(tmp_path: Path, info: Any) -> None:
    graph = workflow("sprite")
    graph["2"]["inputs"]["text"] = "a {red|blue} potion // comment"
    written = Texts(prompts={("2", "text"): True})
    text = HEAD + "items: [{id: a, seeds: {from: 1, to: 20}}]"
    jobs, made = planned_texts(tmp_path, text, info, graph, written)
    texts = {job.seed: made.graph(job)["2"]["inputs"]["text"] for job in jobs}
    assert set(texts.values()) == {"a red potion ", "a blue potion "}
    for job in jobs:
        graph["2"]["inputs"]["text"] = texts[job.seed]
        (other,), _ = planned_texts(
            tmp_path, HEAD + f"items: [{{id: a, seeds: [{job.seed}]}}]", info, graph, Texts()
        )
        assert (other.key, other.group) == (job.key, job.group)
    # a parameter takes the place of what was written
    given = HEAD + "items: [{id: a, prompt: plain, seeds: [1, 2]}]"
    graph["2"]["inputs"]["text"] = "a {red|blue} potion"
    jobs, made = planned_texts(tmp_path, given, info, graph, written)
    assert {made.graph(job)["2"]["inputs"]["text"] for job in jobs} == {"plain"}
    assert len({job.group for job in jobs}) == 1


def test_a_rerolled_job_keeps_its_text(tmp_path: Path, info: Any) -> None:
    text = HEAD + "items: [{id: a, prompt: 'a {{red|blue|green}} potion', seeds: [5]}]"
    (job,), made = planned_texts(tmp_path, text, info, workflow("sprite"), Texts())
    first = made.graph(job)["2"]["inputs"]["text"]
    for roll in range(1, 9):
        again = made.graph(dataclasses.replace(job, roll=roll))
        assert again["2"]["inputs"]["text"] == first
        assert again["6"]["inputs"]["seed"] != 5
