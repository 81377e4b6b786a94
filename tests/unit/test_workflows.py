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
NAMES = (
    "sprite",
    "batch",
    "icons",
    "pixel_art",
    "img2img",
    "inpaint",
    "inpaint_by_hand",
    "frames",
    "walk_cycle",
    "snap",
    "palette_swap",
    "seamless_tile",
)
BLUEPRINTS = ("Finish a sprite", "Frames to sheet")
TITLE_BAR = 30
# px; a group's own title
GROUP_TITLE = 34


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def built(info: Any) -> dict[str, str]:
    script = runpy.run_path(str(REPOSITORY / "scripts" / "build_workflows.py"))
    return dict(script["texts"](info))


def test_files_are_what_the_script_writes(built: dict[str, str]) -> None:
    for name, text in built.items():
        assert (REPOSITORY / name).read_text(encoding="utf-8") == text, (
            f"{name} differs: run python scripts/build_workflows.py"
        )
    kept = [
        path.relative_to(REPOSITORY).as_posix()
        for folder in ("workflows", "workflows/api", "subgraphs")
        for path in (REPOSITORY / folder).glob("*.json")
    ]
    assert sorted(kept) == sorted(built)


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
        ("img2img", 20, 8),
        ("inpaint_by_hand", 30, 8),
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


def test_pictures_are_what_the_scripts_draw() -> None:
    inpainting, examples = (
        runpy.run_path(str(REPOSITORY / "scripts" / f"draw_{name}.py"))
        for name in ("inpaint_example", "template_examples")
    )
    for name, make in (
        ("potion", inpainting["scene"]),
        ("potion_mask", inpainting["mask"]),
        ("potion_painted", examples["painted"]),
        ("hero", examples["hero"]),
        ("sketch", examples["sketch"]),
    ):
        with Image.open(WORKFLOWS / "inputs" / f"spriteworks_{name}.png") as kept:
            drawn = make()
            assert kept.convert(drawn.mode).tobytes() == drawn.tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_a_template_says_what_it_is_and_which_pictures_it_opens_with(name: str, info: Any) -> None:
    canvas = read(WORKFLOWS / f"{name}.json")
    about = canvas["extra"]["spriteworks"]
    assert about["title"]
    assert about["description"].endswith(".")
    assert about["tags"]
    graph = read(WORKFLOWS / "api" / f"{name}.json")
    named = [entry.value for entry in image_inputs(graph, info)]
    assert about["pictures"] == named
    assert all((WORKFLOWS / "inputs" / one).is_file() for one in named)
    (note,) = (node for node in canvas["nodes"] if node["type"] == "MarkdownNote")
    assert note["widgets_values"][0].count("\n- ") == 3


@pytest.mark.parametrize("name", NAMES)
def test_nothing_overlaps_on_the_canvas_and_groups_are_around_whole_nodes(name: str) -> None:
    canvas = read(WORKFLOWS / f"{name}.json")
    sizes = read(REPOSITORY / "tests" / "data" / "node_sizes.json")
    boxes = {
        entry["title"]: (x, y - TITLE_BAR, x + width, y + max(height, room))
        for entry in canvas["nodes"]
        for (x, y), (width, height) in [(entry["pos"], entry["size"])]
        for room in [sizes.get(entry["type"], {"room": 0})["room"]]
    }
    drawn = {entry["title"]: entry["pos"][1] + entry["size"][1] for entry in canvas["nodes"]}
    groups = {
        entry["title"]: (x, y, x + width, y + height)
        for entry in canvas["groups"]
        for x, y, width, height in [entry["bounding"]]
    }
    for every in (boxes, groups):
        for a, b in combinations(every, 2):
            assert apart(every[a], every[b]), f"{a} and {b} overlap"
    for title, box in boxes.items():
        around = [one for one in groups.values() if not apart(box, one)]
        assert len(around) == (title != "How to use it"), f"{title} is in {len(around)} groups"
        for left, top, right, bottom in around:
            assert left < box[0]
            assert top + GROUP_TITLE <= box[1]
            assert box[2] < right
            assert drawn[title] < bottom


def apart(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_a_blueprint_is_one_node_that_becomes_its_nodes(name: str, info: Any) -> None:
    """Joined with a picture, as a person does on the canvas."""
    canvas = read(REPOSITORY / "subgraphs" / f"{name}.json")
    (outer,) = canvas["nodes"]
    (inner,) = canvas["definitions"]["subgraphs"]
    assert outer["type"] == inner["id"]
    assert inner["name"] == name
    loaded = read(WORKFLOWS / "frames.json")["nodes"][0]
    loaded["id"] = 90
    loaded["outputs"][0]["links"] = [1]
    outer["inputs"][0]["link"] = 1
    canvas["nodes"].append(loaded)
    canvas["links"] = [[1, 90, 0, outer["id"], 0, "IMAGE"]]
    saving = {"Finish a sprite": [outer["id"], 0], "Frames to sheet": None}[name]
    if saving:
        shown = preview()
        outer["outputs"][0]["links"] = [2]
        canvas["nodes"].append(shown)
        canvas["links"].append([2, outer["id"], 0, 91, 0, "IMAGE"])
    graph = canvas_to_graph(canvas, info)
    assert validate(graph, info) == []
    kinds = [node["class_type"] for node in graph.values()]
    for kind in ("SpriteworksSnap", "SpriteworksCutout", "SpriteworksPalette"):
        assert kind in kinds
    assert ("SpriteworksSaveSheet" in kinds) == (name == "Frames to sheet")
    snapped = next(node for node in graph.values() if node["class_type"] == "SpriteworksSnap")
    assert snapped["inputs"]["image"] == ["90", 0]
    for node_id, widget in outer["properties"]["proxyWidgets"]:
        kind = next(node["type"] for node in inner["nodes"] if str(node["id"]) == node_id)
        assert widget in info.node_class(kind).inputs_of({})


def preview() -> dict[str, Any]:
    return {
        "id": 91,
        "type": "PreviewImage",
        "pos": [0, 0],
        "size": [200, 200],
        "flags": {},
        "order": 9,
        "mode": 0,
        "inputs": [{"name": "images", "type": "IMAGE", "link": 2}],
        "outputs": [],
        "properties": {},
        "widgets_values": [],
    }


def test_every_template_has_a_thumbnail() -> None:
    assert {path.stem for path in WORKFLOWS.glob("*.json")} == set(NAMES)
    assert {Image.open(WORKFLOWS / f"{name}.jpg").size for name in NAMES} == {(512, 512)}
