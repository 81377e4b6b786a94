"""Values put back into canvas files that ComfyUI's editor saved (tests/data/canvas)."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.workflow.conversion import canvas_to_graph
from orchestrator.workflow.layout import Layout, with_values
from orchestrator.workflow.roles import set_parameters, split_settings

DATA = Path(__file__).resolve().parent.parent / "data" / "canvas"
WORKFLOWS = DATA.parent.parent.parent / "workflows"
PROMPTED = ("sprite", "batch", "pixel_art", "inpaint", "icons")
SHIPPED = (*PROMPTED, "frames")
RECORDED = sorted(path.stem for path in DATA.glob("*.json") if path.stem != "object_info")


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture
def sprite() -> Any:
    return read(WORKFLOWS / "sprite.json")


def changed(canvas: Any, info: Any, *settings: str) -> tuple[Any, Any]:
    """The graph of a canvas file with settings, and the canvas file with that graph's values."""
    graph = set_parameters(canvas_to_graph(canvas, info), split_settings(settings), info)
    return graph, with_values(canvas, graph, info)


def node(canvas: Any, number: int) -> Any:
    return next(entry for entry in canvas["nodes"] if entry["id"] == number)


def layout(canvas: Any) -> Any:
    return [(entry["id"], entry["pos"], entry.get("title")) for entry in canvas["nodes"]]


@pytest.mark.parametrize("name", SHIPPED)
def test_nothing_set_is_the_file_itself(name: str, info: Any) -> None:
    canvas = read(WORKFLOWS / f"{name}.json")
    _, result = changed(canvas, info)
    assert result == canvas
    assert result is not canvas


@pytest.mark.parametrize("name", PROMPTED)
def test_the_layout_stays_and_the_values_change(name: str, info: Any) -> None:
    canvas = read(WORKFLOWS / f"{name}.json")
    before = copy.deepcopy(canvas)
    settings = ("prompt=a blue sword", "seed=7", "steps=3", "scheduler=normal")
    graph, result = changed(canvas, info, *settings)
    assert canvas_to_graph(result, info) == graph
    assert layout(result) == layout(before)
    assert canvas == before


# one whose sampler has lost its latent has no roles
@pytest.mark.parametrize("name", [name for name in RECORDED if name != "subgraph_bypassed"])
def test_what_the_editor_saved_takes_new_values(name: str, info: Any) -> None:
    canvas = read(DATA / f"{name}.json")["canvas"]
    graph, result = changed(canvas, info, "prompt=a blue sword", "seed=7", "sampler=ddim")
    assert canvas_to_graph(result, info) == graph
    assert layout(result) == layout(canvas)


@pytest.mark.parametrize("name", PROMPTED)
def test_a_layout_is_filled_again_and_again_as_the_first_time(name: str, info: Any) -> None:
    canvas = read(WORKFLOWS / f"{name}.json")
    once = Layout(canvas, info)
    texts = ["a red potion", "a {blue|green} potion", "half // half", "C:\\x", "ein Rübenkönig"]
    for seed, text in enumerate([*texts, *texts]):
        settings = (f"prompt={text}", f"seed={seed}", "steps=3")
        graph, expected = changed(canvas, info, *settings)
        assert once.filled(graph) == expected


def test_numbers_alone_are_filled_again_and_again(sprite: Any, info: Any) -> None:
    once = Layout(sprite, info)
    for seed in (1, 2):
        graph, expected = changed(sprite, info, f"seed={seed}")
        assert once.filled(graph) == expected


def test_a_file_that_is_no_canvas_has_no_layout(sprite: Any, info: Any) -> None:
    graph = canvas_to_graph(sprite, info)
    assert with_values({**sprite, "nodes": [{"type": "a"}]}, graph, info) is None


def test_a_graph_of_other_nodes_has_no_layout(sprite: Any, info: Any) -> None:
    graph = canvas_to_graph(sprite, info)
    graph["5"] = {**graph["5"], "class_type": "SpriteworksSeedBatch"}
    assert with_values(sprite, graph, info) is None


def test_the_control_after_generate_stays(sprite: Any, info: Any) -> None:
    _, result = changed(sprite, info, "seed=7")
    assert node(result, 6)["widgets_values"][:2] == [7, "randomize"]


def test_a_replaced_link_is_cut_at_both_ends(sprite: Any, info: Any) -> None:
    _, result = changed(sprite, info, "steps=3")
    steps = next(slot for slot in node(result, 6)["inputs"] if slot["name"] == "steps")
    assert steps["link"] is None
    assert [output["links"] for output in node(result, 4)["outputs"]] == [[], [11]]
    assert 10 not in [link[0] for link in result["links"]]
    assert len(result["links"]) == len(sprite["links"]) - 1


def test_a_widget_shown_on_a_subgraph_is_set_there(info: Any) -> None:
    canvas = read(DATA / "subgraph_seed.json")["canvas"]
    graph, result = changed(canvas, info, "seed=7")
    sampler = next(node for node in graph.values() if node["class_type"] == "KSampler")
    assert sampler["inputs"]["seed"] == 7
    assert canvas_to_graph(result, info) == graph


def test_one_use_of_a_subgraph_may_differ_in_what_it_shows_only(info: Any) -> None:
    canvas = read(DATA / "subgraph_twice.json")["canvas"]
    graph = canvas_to_graph(canvas, info)
    user = next(number for number in graph if number.count(":") == 1)
    shown, result = changed(canvas, info, f"{user}.width=128")
    assert canvas_to_graph(result, info) == shown
    assert changed(canvas, info, f"{user}.batch_size=2")[1] is None


@pytest.mark.parametrize("text", ["a {red} potion", "50% {a|b} \\(big\\)"])
def test_braces_in_a_text_are_kept_from_the_editor(text: str, sprite: Any, info: Any) -> None:
    graph, result = changed(sprite, info, f"prompt={text}")
    assert graph["2"]["inputs"]["text"] == text
    assert canvas_to_graph(result, info) == graph
    assert "\\{" in node(result, 2)["widgets_values"][0]


@pytest.mark.parametrize("text", ["http://potion", "a /* b */", "a \\{red\\} potion"])
def test_a_text_that_the_editor_would_change_is_refused(text: str, sprite: Any, info: Any) -> None:
    assert changed(sprite, info, f"prompt={text}")[1] is None


def test_values_by_name_are_set_by_name(sprite: Any, info: Any) -> None:
    node(sprite, 6)["widgets_values"] = {"seed": 5, "sampler_name": "ddim"}
    _, result = changed(sprite, info, "seed=7", "denoise=0.5")
    assert node(result, 6)["widgets_values"] == {"seed": 7, "sampler_name": "ddim", "denoise": 0.5}


def test_a_file_that_holds_no_value_for_the_widget_is_refused(sprite: Any, info: Any) -> None:
    node(sprite, 6)["widgets_values"] = [5]
    assert changed(sprite, info, "denoise=0.5")[1] is None


def test_a_file_that_holds_no_value_there_is_not_filled(sprite: Any, info: Any) -> None:
    # Saved before the node had its last widgets.
    del node(sprite, 6)["widgets_values"][-1]
    graph = canvas_to_graph(sprite, info)
    graph["6"]["inputs"]["denoise"] = 0.5
    assert with_values(sprite, graph, info) is None
