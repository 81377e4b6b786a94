"""docs/batch.md and the example manifests, held to the code."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from orchestrator.batch.execution import plan
from orchestrator.batch.execution.manifest_files import load
from orchestrator.batch.logic.gates import MEASURES
from orchestrator.batch.logic.manifest.manifest import (
    ContactSheet,
    Item,
    Manifest,
    SeedCount,
    SeedRange,
    Style,
)
from orchestrator.batch.logic.planning import Planner

REPOSITORY = Path(__file__).resolve().parent.parent.parent
BATCHES = REPOSITORY / "workflows" / "batches"


@pytest.fixture(scope="module")
def text() -> str:
    return (REPOSITORY / "docs" / "batch.md").read_text(encoding="utf-8")


def chapter(text: str, title: str) -> str:
    """What stands under a heading, up to the next of any level."""
    return re.split(r"^#+ ", text.split(f"# {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str, title: str) -> dict[str, list[str]]:
    """The table under a heading: {first cell without backticks: other cells}."""
    lines = [line for line in chapter(text, title).splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {first.strip("` "): rest for first, *rest in cells}


@pytest.mark.parametrize(
    ("title", "model"), [("Fields of the manifest", Manifest), ("Fields of an item", Item)]
)
def test_every_field_is_in_its_table_and_no_other(text: str, title: str, model: Any) -> None:
    assert set(rows(text, title)) == set(model.model_fields)


def test_parts_of_fields_are_named(text: str) -> None:
    fields = rows(text, "Fields of the manifest")
    for name, model in (("style", Style), ("contact_sheet", ContactSheet)):
        assert all(f"`{part}`" in fields[name][0] for part in model.model_fields)
    seeds = chapter(text, "Seeds")
    for model in (SeedRange, SeedCount):
        assert all(f"{field.alias or name}:" in seeds for name, field in model.model_fields.items())


def test_defaults_in_the_table_are_those_of_the_code(text: str) -> None:
    fields = rows(text, "Fields of the manifest")
    assert fields["batch_size"][1] == str(Manifest.model_fields["batch_size"].default)
    sheet = ContactSheet()
    assert f"`columns` ({sheet.columns})" in fields["contact_sheet"][0]
    assert f"({sheet.cell})" in fields["contact_sheet"][0]


def test_every_gate_is_in_the_table_with_its_bounds(text: str) -> None:
    found = rows(text, "Gates")
    assert set(found) == set(MEASURES)
    for name, entry in MEASURES.items():
        bounds = {"min": entry.minimum, "max": entry.maximum}
        said = [f"{kind} {value:g}" for kind, value in bounds.items() if value is not None]
        assert found[name] == [entry.about, ", ".join(said)]


def test_the_manifest_in_the_docs_works_as_written(text: str, tmp_path: Path, info: Any) -> None:
    yaml = re.search(r"```yaml\n(name: potions\n.*?)```", text, re.DOTALL)
    assert yaml
    path = tmp_path / "potions.yaml"
    path.write_text(yaml[1], encoding="utf-8")
    assert [job.name for job in jobs(path, info)] == [
        f"potion-{colour}-{seed}" for colour in ("red", "blue") for seed in (100, 101, 102)
    ]


def jobs(path: Path, info: Any) -> list[Any]:
    file = load(path)
    graph = json.loads(file.workflow.read_text(encoding="utf-8"))
    return list(plan.jobs_of(file, Planner(graph, info, lambda _: None)))


@pytest.mark.parametrize(
    ("name", "count", "first"),
    [
        ("one", 1, "potion-1"),
        ("hundred", 100, "potion/red-1000"),
        ("ten-thousand", 10_000, "imp/imp-red-standing-1"),
        ("inpaint-folder", 6, "blue/amber"),
        ("icons", 8, "potion"),
        ("frames", 8, "walk/walk_1"),
        ("dungeon", 30, "floor-limestone"),
        ("party", 8, "knight"),
        ("bestiary", 40, "goblin"),
        ("hero-walk", 1, "walk"),
    ],
)
def test_the_examples_make_what_their_names_say(
    name: str, count: int, first: str, info: Any
) -> None:
    made = jobs(BATCHES / f"{name}.yaml", info)
    assert len(made) == count
    assert made[0].name == first
    assert len({job.key for job in made}) == count


def test_the_links_in_the_docs_lead_somewhere(text: str) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (REPOSITORY / "docs" / target).exists(), target
