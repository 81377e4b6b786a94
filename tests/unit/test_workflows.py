"""The shipped workflows: both forms agree, are valid, and are what the recipes say."""

from __future__ import annotations

import json
import runpy
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageSequence

from orchestrator.errors import UsageError
from orchestrator.workflow.checking import validate
from orchestrator.workflow.conversion import canvas_to_graph
from orchestrator.workflow.graph import parse_graph
from orchestrator.workflow.roles import (
    image_inputs,
    parameters,
    set_parameters,
    split_settings,
)

REPOSITORY = Path(__file__).resolve().parent.parent.parent
WORKFLOWS = REPOSITORY / "workflows"
NAMES = ("sprite", "batch", "pixel_art", "inpaint", "icons", "frames")
TITLE_BAR = 30


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_files_are_what_the_script_writes(info: Any) -> None:
    built = runpy.run_path(str(REPOSITORY / "scripts" / "build_workflows.py"))
    for name, text in built["texts"](info):
        assert (WORKFLOWS / name).read_text(encoding="utf-8") == text, (
            f"workflows/{name} differs: run python scripts/build_workflows.py"
        )


@pytest.mark.parametrize("name", NAMES)
def test_both_forms_are_the_same_valid_graph(name: str, info: Any) -> None:
    graph = parse_graph(read(WORKFLOWS / "api" / f"{name}.json"))
    assert canvas_to_graph(read(WORKFLOWS / f"{name}.json"), info) == graph
    assert validate(graph, info) == []


@pytest.mark.parametrize(
    ("name", "steps", "cfg"),
    [
        ("sprite", 20, 8),
        ("batch", 20, 8),
        ("pixel_art", 25, 9),
        ("inpaint", 30, 8),
        ("icons", 20, 8),
    ],
)
def test_settings_follow_the_model_and_else_the_table(
    name: str, steps: int, cfg: float, info: Any
) -> None:
    graph = read(WORKFLOWS / "api" / f"{name}.json")
    (defaults,) = (
        node["inputs"]
        for node in graph.values()
        if node["class_type"] == "SpriteworksModelDefaults"
    )
    assert (defaults["steps"], defaults["cfg"]) == (steps, cfg)
    found = parameters(graph, info)
    # known to the server's nodes only
    assert [found[role] for role in ("steps", "cfg", "width", "height")] == [None] * 4
    assert (found["sampler"], found["scheduler"]) == ("euler_ancestral", "karras")
    assert found.get("batch_size", 1) == (8 if name in ("batch", "icons") else 1)
    assert found["prompt"]
    assert found["negative"]
    assert found["model"] == "spriteworks-starter"


def test_a_canvas_file_from_before_there_were_more_settings_is_the_same_graph(info: Any) -> None:
    canvas = read(WORKFLOWS / "sprite.json")
    (loader,) = (node for node in canvas["nodes"] if node["type"] == "SpriteworksDiffusersLoader")
    kept = ("model_name", "precision", "attention", "vae_tiling", "offload")
    loader["inputs"] = [entry for entry in loader["inputs"] if entry["name"] in kept]
    loader["widgets_values"] = loader["widgets_values"][: len(kept)]
    assert canvas_to_graph(canvas, info) == read(WORKFLOWS / "api" / "sprite.json")


def test_a_record_has_the_numbers_that_the_nodes_told(info: Any) -> None:
    graph = read(WORKFLOWS / "api" / "sprite.json")
    ids = {node["class_type"]: node_id for node_id, node in graph.items()}
    told = {
        ids["SpriteworksDiffusersLoader"]: {"values": [{"3": 64, "4": 96}]},
        ids["SpriteworksModelDefaults"]: {"values": [{"0": 12, "1": 4.5}]},
    }
    found = parameters(graph, info, told)
    assert [found[role] for role in ("width", "height", "steps", "cfg")] == [64, 96, 12, 4.5]


def test_pictures_lie_in_the_inputs_folder(info: Any) -> None:
    inputs = image_inputs(read(WORKFLOWS / "api" / "inpaint.json"), info)
    assert [entry.role for entry in inputs] == ["image", "mask"]
    sizes = {Image.open(WORKFLOWS / "inputs" / entry.value).size for entry in inputs}
    assert sizes == {(96, 96)}


def test_frames_need_no_model_and_say_so_where_a_prompt_is_set(info: Any) -> None:
    graph = read(WORKFLOWS / "api" / "frames.json")
    (entry,) = image_inputs(graph, info)
    assert (entry.role, entry.value) == ("image", "spriteworks_walk.png")
    with pytest.raises(UsageError, match="this workflow has no prompt"):
        set_parameters(graph, split_settings(["prompt=a knight"]), info)


def test_the_animation_has_the_frames_that_lie_beside_it() -> None:
    files = sorted((WORKFLOWS / "inputs" / "walk").glob("*.png"))
    with Image.open(WORKFLOWS / "inputs" / "spriteworks_walk.png") as animation:
        shown = [one.convert("RGB").tobytes() for one in ImageSequence.Iterator(animation)]
    assert shown == [Image.open(file).convert("RGB").tobytes() for file in files]


def test_pictures_are_what_the_script_draws() -> None:
    drawn = runpy.run_path(str(REPOSITORY / "scripts" / "draw_inpaint_example.py"))
    for name, make in (("potion", drawn["scene"]), ("potion_mask", drawn["mask"])):
        with Image.open(WORKFLOWS / "inputs" / f"spriteworks_{name}.png") as kept:
            assert kept.convert("RGB").tobytes() == make().tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_nothing_overlaps_on_the_canvas(name: str) -> None:
    canvas = read(WORKFLOWS / f"{name}.json")
    boxes = [
        (entry["id"], x, y - TITLE_BAR, x + width, y + height)
        for entry in canvas["nodes"]
        for (x, y), (width, height) in [(entry["pos"], entry["size"])]
    ]
    for a, b in combinations(boxes, 2):
        apart = a[3] <= b[1] or b[3] <= a[1] or a[4] <= b[2] or b[4] <= a[2]
        assert apart, f"nodes {a[0]} and {b[0]} overlap"
    frames = [entry["bounding"] for entry in canvas["groups"]]
    for (ax, ay, aw, ah), (bx, by, bw, bh) in combinations(frames, 2):
        assert ax + aw <= bx or bx + bw <= ax or ay + ah <= by or by + bh <= ay


def test_every_template_has_a_thumbnail() -> None:
    assert {path.stem for path in WORKFLOWS.glob("*.json")} == set(NAMES)
    assert {Image.open(WORKFLOWS / f"{name}.jpg").size for name in NAMES} == {(512, 512)}
