"""The manifests of a dungeon, a party, a bestiary and a walk, and another model for them."""

from __future__ import annotations

import copy
import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from comfy_nodes.folders import MODEL_FILES
from comfy_nodes.loras import lora_named
from comfy_nodes.vocabulary import vocabulary_of
from orchestrator.batch.execution import plan
from orchestrator.batch.execution.manifest_files import load
from orchestrator.batch.logic.jobs import Job
from orchestrator.batch.logic.manifest.manifest import Manifest
from orchestrator.batch.logic.planning import Planner
from orchestrator.workflow.catalogue import Catalogue

REPOSITORY = Path(__file__).resolve().parents[2]
BATCHES = REPOSITORY / "workflows" / "batches"
WORLD = ("dungeon", "party", "bestiary", "hero-walk")


class Planned:
    """A manifest's jobs, and their graphs."""

    def __init__(self, path: Path, info: Catalogue) -> None:
        file = load(path)
        self.manifest: Manifest = file.manifest
        self.notes: list[str] = []
        graph = json.loads(file.workflow.read_text(encoding="utf-8"))
        self.planner = Planner(graph, info, self.notes.append)
        self.jobs: list[Job] = list(plan.jobs_of(file, self.planner))

    def inputs(self, title: str) -> list[dict[str, Any]]:
        """Of the node of a title, in the graph of each job."""
        graphs = [self.planner.graph(job) for job in self.jobs]
        return [
            node["inputs"]
            for graph in graphs
            for node in graph.values()
            if node["_meta"]["title"] == title
        ]

    @property
    def prompts(self) -> list[str]:
        return [inputs["text"] for inputs in self.inputs("Positive")]


def test_graphs_are_what_the_script_writes() -> None:
    built = runpy.run_path(str(REPOSITORY / "scripts" / "build_batch_graphs.py"))
    for file, text in built["texts"]():
        assert file.read_text(encoding="utf-8") == text, (
            f"{file.name} differs: run python scripts/build_batch_graphs.py"
        )


@pytest.mark.parametrize("name", WORLD)
def test_the_model_that_a_batch_names_knows_every_word(name: str, info: Catalogue) -> None:
    made = Planned(BATCHES / f"{name}.yaml", info)
    (model,) = {one["model_name"] for one in made.inputs("Model")}
    vocabulary = vocabulary_of(MODEL_FILES / model)
    assert vocabulary is not None
    for prompt in made.prompts:
        assert vocabulary.unknown(prompt) == [], prompt


def test_a_dungeon_has_floors_walls_and_doors_that_fill_their_square(info: Catalogue) -> None:
    made = Planned(BATCHES / "dungeon.yaml", info)
    kinds = [job.item_id for job in made.jobs]
    wanted = {"floor": 13, "wall": 11, "door": 4, "gate": 2}
    assert {kind: kinds.count(kind) for kind in kinds} == wanted
    assert made.inputs("Cutout") == []
    assert made.manifest.export is not None
    assert made.manifest.export.palette == 32
    assert not made.manifest.export.cutout


def test_a_walk_is_as_wide_as_four_pictures_of_the_model(info: Catalogue) -> None:
    """One line follows the model that ships: `width` in hero-walk.yaml."""
    made = Planned(BATCHES / "hero-walk.yaml", info)
    (size,) = made.inputs("Size")
    (model,) = made.inputs("Model")
    native = json.loads((MODEL_FILES / model["model_name"] / "spriteworks.json").read_text())
    assert size["width"] == 4 * native["width"]
    assert isinstance(size["height"], list)  # a link: it follows the model
    assert made.manifest.export is not None
    assert made.manifest.export.frames == 4


# ---------------------------------------------------------------- one line for another model


OBJECT_INFO = REPOSITORY / "tests" / "data" / "canvas" / "object_info.json"


@pytest.fixture
def larger(info: Catalogue) -> Catalogue:
    """The same server with a stand-in for `sdxl`, and for the LoRA of sprite-lora.json."""
    lora = lora_named("pixel-art-xl")
    assert lora is not None
    data = copy.deepcopy(json.loads(OBJECT_INFO.read_text(encoding="utf-8")))
    for kind, name, more in (
        ("SpriteworksDiffusersLoader", "model_name", lora.base.key),
        ("LoraLoader", "lora_name", lora.file.name),
    ):
        entry = data[kind]["input"]["required"][name]
        options = entry[0] if isinstance(entry[0], list) else entry[1]["options"]
        options.append(more)
    return Catalogue(data)


LINES = {
    "a whole model": ("defaults:\n", "defaults:\n  model: sdxl\n"),
    "a LoRA": ("workflow: sprite\n", "workflow: sprite-lora.json\n"),
}


@pytest.mark.parametrize("change", LINES)
def test_one_line_makes_a_batch_with_another_model(
    change: str, info: Catalogue, larger: Catalogue, tmp_path: Path
) -> None:
    before, after = LINES[change]
    text = (BATCHES / "party.yaml").read_text(encoding="utf-8")
    assert text.count(before) == 1
    changed = tmp_path / "party.yaml"
    changed.write_text(text.replace(before, after), encoding="utf-8")
    graph = (BATCHES / "sprite-lora.json").read_bytes()
    (tmp_path / "sprite-lora.json").write_bytes(graph)
    first, second = Planned(BATCHES / "party.yaml", info), Planned(changed, larger)
    assert [job.name for job in second.jobs] == [job.name for job in first.jobs]
    assert second.prompts == first.prompts
    # each is made again, as another picture
    assert not {job.key for job in first.jobs} & {job.key for job in second.jobs}
    assert {one["model_name"] for one in first.inputs("Model")} == {"spriteworks-starter"}
    assert {one["model_name"] for one in second.inputs("Model")} == {"sdxl"}
    assert len(second.inputs("LoRA")) == (8 if change == "a LoRA" else 0)


def test_the_pages_show_those_lines() -> None:
    page = (REPOSITORY / "docs" / "starter-model.md").read_text(encoding="utf-8")
    for _, after in LINES.values():
        assert after.splitlines()[-1] in page


def test_a_lora_is_between_the_model_and_all_that_use_it(larger: Catalogue) -> None:
    from orchestrator.workflow.checking import validate

    graph = json.loads((BATCHES / "sprite-lora.json").read_text(encoding="utf-8"))
    assert validate(graph, larger) == []
    (lora,) = (key for key, node in graph.items() if node["class_type"] == "LoraLoader")
    for node in graph.values():
        if node["class_type"] in ("KSampler", "CLIPTextEncode"):
            assert lora in [
                value[0] for value in node["inputs"].values() if isinstance(value, list)
            ]
