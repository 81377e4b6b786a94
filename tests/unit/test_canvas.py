"""Canvas files against what ComfyUI's own editor made of them (tests/data/canvas)."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import CanvasError, GraphError, UnknownNodeClass
from orchestrator.workflow.conversion import canvas_to_graph, load

DATA = Path(__file__).resolve().parent.parent / "data" / "canvas"
WORKFLOWS = DATA.parent.parent.parent / "workflows"
CASES = sorted(path.stem for path in DATA.glob("*.json") if path.stem != "object_info")


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture
def sprite() -> Any:
    return read(WORKFLOWS / "sprite.json")


@pytest.mark.parametrize("name", CASES)
def test_gives_the_graph_that_the_editor_gives(name: str, info: Any) -> None:
    recorded = read(DATA / f"{name}.json")
    assert canvas_to_graph(recorded["canvas"], info) == recorded["graph"]


def test_there_are_recordings_of_both_versions_and_of_subgraphs() -> None:
    recorded = [read(DATA / f"{name}.json")["canvas"] for name in CASES]
    assert {canvas["version"] for canvas in recorded} == {0.4, 1}
    assert sum(bool(canvas.get("definitions")) for canvas in recorded) >= 5


def node(canvas: Any, number: int) -> Any:
    return next(entry for entry in canvas["nodes"] if entry["id"] == number)


def test_values_by_name_as_some_packs_save_them(sprite: Any, info: Any) -> None:
    node(sprite, 6)["widgets_values"] = {"seed": 5, "steps": 3, "sampler_name": "ddim"}
    inputs = canvas_to_graph(sprite, info)["6"]["inputs"]
    assert (inputs["seed"], inputs["sampler_name"]) == (5, "ddim")
    # not saved, so the class's default; linked, so the link
    assert (inputs["denoise"], inputs["steps"]) == (1.0, ["4", 0])


def test_values_from_before_control_after_generate_existed(sprite: Any, info: Any) -> None:
    """The editor takes them as they come, one place off, and so do we: validation says so."""
    del node(sprite, 6)["inputs"]
    node(sprite, 6)["widgets_values"] = [7, 20, 8.0, "euler", "karras", 0.5]
    inputs = canvas_to_graph(sprite, info)["6"]["inputs"]
    assert (inputs["seed"], inputs["steps"], inputs["cfg"]) == (7, 8.0, "euler")


def test_missing_values_are_the_classes_defaults(sprite: Any, info: Any) -> None:
    del node(sprite, 5)["widgets_values"]
    node(sprite, 1)["widgets_values"] = []
    graph = canvas_to_graph(sprite, info)
    assert graph["5"]["inputs"]["batch_size"] == 1
    assert graph["1"]["inputs"]["model_name"] == "spriteworks-starter"
    assert graph["1"]["inputs"]["precision"] == "auto"


def test_a_seed_beyond_what_a_browser_can_count_stays_exact(sprite: Any, info: Any) -> None:
    node(sprite, 6)["widgets_values"][0] = 2**64 - 1
    assert canvas_to_graph(sprite, info)["6"]["inputs"]["seed"] == 2**64 - 1


def test_a_node_without_a_title_has_its_class_name_for_people(sprite: Any, info: Any) -> None:
    del node(sprite, 7)["title"]
    assert canvas_to_graph(sprite, info)["7"]["_meta"]["title"] == "VAE Decode"


def test_a_list_as_a_value_is_no_link(sprite: Any, info: Any) -> None:
    node(sprite, 11)["widgets_values"] = [["a", "b"]]
    graph = canvas_to_graph(sprite, info)
    assert graph["11"]["inputs"]["filename_prefix"] == {"__value__": ["a", "b"]}


def test_choices_in_braces_are_made_by_the_seed(sprite: Any, info: Any) -> None:
    node(sprite, 2)["widgets_values"] = ["a {red|blue} potion"]
    texts = set()
    for seed in range(20):
        node(sprite, 6)["widgets_values"][0] = seed
        first, again = (canvas_to_graph(sprite, info)["2"]["inputs"]["text"] for _ in range(2))
        assert first == again
        texts.add(first)
    assert texts == {"a red potion", "a blue potion"}


def test_an_unknown_class_is_named_with_its_node(sprite: Any, info: Any) -> None:
    node(sprite, 7)["type"] = "VAEDecoder"
    with pytest.raises(UnknownNodeClass, match=r"node 7: .*'VAEDecoder', did you mean 'VAEDecode'"):
        canvas_to_graph(sprite, info)


def test_a_muted_node_may_be_of_an_unknown_class(sprite: Any, info: Any) -> None:
    node(sprite, 9).update(type="Something", mode=2)
    assert "9" not in canvas_to_graph(sprite, info)


def test_a_group_node_is_refused_with_a_way_out(sprite: Any, info: Any) -> None:
    sprite["extra"]["groupNodes"] = {"mine": {}}
    node(sprite, 7)["type"] = "workflow>mine"
    with pytest.raises(CanvasError, match=r"group node.*subgraph"):
        canvas_to_graph(sprite, info)


def bypassed(sprite: Any, inputs: str, outputs: list[int]) -> Any:
    """The sprite with a bypassed node between its two texts and its sampler.

    `inputs` are its inputs' links, a letter each: p(ositive), n(egative), v(ae), - for none.
    `outputs` are its outputs that the sampler's positive and negative are linked to.
    """
    slots = node(sprite, 6)["inputs"]
    positive = next(slot for slot in slots if slot["name"] == "positive")
    negative = next(slot for slot in slots if slot["name"] == "negative")
    vae = next(slot for slot in node(sprite, 7)["inputs"] if slot["name"] == "vae")
    sources = {"p": positive["link"], "n": negative["link"], "v": vae["link"]}
    kinds = {"v": "VAE"}
    sprite["nodes"].append(
        {
            "id": 20,
            "type": "Whatever",
            "mode": 4,
            "inputs": [
                {
                    "name": letter,
                    "type": kinds.get(letter, "CONDITIONING"),
                    "link": sources.get(letter),
                }
                for letter in inputs
            ],
        }
    )
    for slot, output in zip((positive, negative), outputs, strict=True):
        sprite["links"].append([200 + output, 20, output, 6, slots.index(slot), "CONDITIONING"])
        slot["link"] = 200 + output
    return sprite


@pytest.mark.parametrize(
    ("inputs", "outputs", "wanted"),
    [
        # the same slot, where that is of the type
        ("pn", [0, 1], "pn"),
        ("pnv", [0, 1], "pn"),
        ("np", [0, 1], "np"),
        ("pn", [1, 0], "np"),
        # else the first of the type
        ("vpn", [0, 1], "pp"),
        ("vnp", [0, 2], "np"),
        ("np", [0, 5], "nn"),
        # the same slot, also where nothing is linked to it
        ("p-", [0, 1], "p-"),
        ("v", [0, 1], "--"),
    ],
)
def test_a_bypassed_node_hands_on_the_input_of_the_same_slot_else_the_first_of_the_type(
    inputs: str, outputs: list[int], wanted: str, sprite: Any, info: Any
) -> None:
    plain = canvas_to_graph(sprite, info)["6"]["inputs"]
    texts = {"p": plain["positive"], "n": plain["negative"], "-": None}
    found = canvas_to_graph(bypassed(sprite, inputs, outputs), info)["6"]["inputs"]
    assert [found.get("positive"), found.get("negative")] == [texts[one] for one in wanted]


def test_a_circle_of_reroutes_is_an_error(sprite: Any, info: Any) -> None:
    for number, other in ((20, 21), (21, 20)):
        inputs = [{"name": "", "type": "*", "link": 100 + other}]
        sprite["nodes"].append({"id": number, "type": "Reroute", "inputs": inputs})
        sprite["links"].append([100 + number, number, 0, other, 0, "*"])
    node(sprite, 8)["inputs"][0]["link"] = 120
    with pytest.raises(CanvasError, match="circle of reroutes"):
        canvas_to_graph(sprite, info)


def test_a_subgraph_within_itself_is_an_error(info: Any) -> None:
    canvas = read(DATA / "subgraph_nested.json")["canvas"]
    for definition in canvas["definitions"]["subgraphs"]:
        inner = copy.deepcopy(canvas["nodes"][-1])
        definition["nodes"].append({**inner, "id": 99, "type": definition["id"]})
    with pytest.raises(CanvasError, match="contains itself"):
        canvas_to_graph(canvas, info)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda canvas: canvas["nodes"][0].pop("type"),
        lambda canvas: canvas["links"].append([1]),
        lambda canvas: canvas["nodes"].append("node"),
        lambda canvas: canvas["nodes"][0].update(inputs=[3]),
    ],
)
def test_a_damaged_file_is_an_error_and_no_traceback(spoil: Any, sprite: Any, info: Any) -> None:
    spoil(sprite)
    with pytest.raises(CanvasError, match=r"sprite\.json is a damaged canvas file"):
        canvas_to_graph(sprite, info, "sprite.json")


def test_nothing_active_is_an_error(sprite: Any, info: Any) -> None:
    for entry in sprite["nodes"]:
        entry["mode"] = 2
    assert canvas_to_graph(sprite, info) == {}
    with pytest.raises(CanvasError, match="no active node"):
        load(sprite, info)


def test_load_graph_takes_both_forms(sprite: Any, info: Any) -> None:
    graph = read(WORKFLOWS / "api" / "sprite.json")
    assert load(sprite, info).graph == load(graph, info).graph == graph
    with pytest.raises(CanvasError, match="graph already"):
        canvas_to_graph(graph, info)
    with pytest.raises(GraphError, match="no workflow"):
        load([], info)
