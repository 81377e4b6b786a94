"""Our canvas reader against ComfyUI's own editor, live in a browser.

Needs a real ComfyUI, a Chromium, and Playwright where this Python finds it
(`pip install playwright`; no browser download is needed).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from orchestrator.workflow.catalogue import Catalogue
from orchestrator.workflow.conversion import canvas_to_graph
from orchestrator.workflow.layout import with_values
from orchestrator.workflow.roles import available_roles, set_parameters, split_settings

pytestmark = pytest.mark.comfyui

REPOSITORY = Path(__file__).resolve().parent.parent.parent
DATA = REPOSITORY / "tests" / "data"
SHIPPED = sorted((REPOSITORY / "workflows").glob("*.json"), key=lambda path: path.stem != "sprite")
RECORDED = sorted(path for path in (DATA / "canvas").glob("*.json") if path.stem != "object_info")
RULES = sorted(path for path in (DATA / "editor").glob("*.json") if path.stem != "object_info")
# the prompt as a person may type it; width is linked, and in subgraphs it may be shown outside
SETTINGS = ("prompt=a {blue} sword \\(big\\)", "seed=7", "width=64", "denoise=0.5")


@dataclass(frozen=True)
class Habit:
    """What older editors do otherwise than the recorded one; judged is the newest."""

    # the recording that shows it, and its sign in the graph that an editor makes of that
    shown_by: str
    has_it: Callable[[Any], bool]
    words: str
    # further recordings that cannot hold for such an editor
    also: tuple[str, ...] = ()


HABITS = (
    Habit(
        "muted_bypassed",
        lambda graph: "steps" not in graph["6"]["inputs"],
        "this editor leaves an input out where a muted node is linked, and newer ones send its "
        "widget's value",
    ),
    Habit(
        "subgraph_bypassed",
        lambda graph: any(":" in number for number in graph),
        "this editor runs what is in a muted subgraph, and newer ones mute all of it",
        also=("subgraphs_off",),
    ),
    Habit(
        "nested_off",
        lambda graph: "latent_image" in graph["2"]["inputs"],
        "this editor links what a muted subgraph gives within another, and newer ones do not",
    ),
    Habit(
        "group_node",
        lambda graph: "2:0" in graph,
        "this editor keeps group nodes, and newer ones make subgraphs of them",
        also=("group_node_twice",),
    ),
    Habit(
        "ids_that_are_taken",
        lambda graph: {"1:2", "2:2"} <= set(graph),
        "this editor lets nodes in two subgraphs have one number, and newer ones renumber them",
    ),
    Habit(
        "proxies",
        lambda graph: graph["1:5"]["inputs"]["batch_size"] == 96,
        "this editor takes the values of a subgraph's widgets in the order of its inputs, and "
        "newer ones as the file says whose they are",
        also=("proxies_of_a_primitive", "proxies_of_nested", "set_aside"),
    ),
    Habit(
        "promoted_and_linked",
        lambda graph: graph["4:5"]["inputs"]["batch_size"] == 3,
        "this editor sends a primitive's value into a subgraph, and newer ones the value there",
    ),
    Habit(
        "too_few_values",
        lambda graph: graph["2"]["inputs"]["sampler_name"] is None,
        "this editor sends nothing for a choice without a value, and newer ones its default",
    ),
)


@pytest.fixture(scope="module")
def editor(comfyui_dir: Path, canvas_editor: Any, comfyui_url: str) -> Iterator[Any]:
    # newer editors show a node in red whose picture the server does not have
    for picture in sorted((REPOSITORY / "workflows" / "inputs").glob("*.*")):
        files = {"image": (picture.name, picture.read_bytes())}
        requests.post(f"{comfyui_url}/upload/image", files=files, timeout=60).raise_for_status()
    with canvas_editor.editor(comfyui_url) as at:
        yield at


@pytest.fixture(scope="module")
def otherwise(editor: Any) -> dict[str, str]:
    """The recordings that this editor reads otherwise, and why."""
    files = {path.stem: path for path in (*RECORDED, *RULES)}
    return {
        name: habit.words
        for habit in HABITS
        if habit.has_it(editor.graph(read(files[habit.shown_by])["canvas"]))
        for name in (habit.shown_by, *habit.also)
    }


@pytest.fixture
def recorded(path: Path, otherwise: dict[str, str]) -> Any:
    """What lies at `path`, or a skip where this editor reads it otherwise."""
    if path.stem in otherwise:
        pytest.skip(otherwise[path.stem])
    return read(path)


@pytest.fixture(scope="module")
def info(comfyui_url: str) -> Any:
    return Catalogue(requests.get(f"{comfyui_url}/object_info", timeout=30).json())


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def told(graph: Any) -> Any:
    """A graph without titles, which change from version to version."""
    return {key: (node["class_type"], node["inputs"]) for key, node in graph.items()}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_editor_makes_the_same_graph_of_a_shipped_workflow(
    path: Path, editor: Any, info: Any
) -> None:
    graph = editor.graph(read(path))
    assert editor.complaints() == []
    assert graph == canvas_to_graph(read(path), info)
    assert graph == read(path.parent / "api" / path.name)


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_the_editor_still_makes_the_recorded_graph(recorded: Any, editor: Any, info: Any) -> None:
    graph = editor.graph(recorded["canvas"])
    assert graph == recorded["graph"]
    assert graph == canvas_to_graph(recorded["canvas"], info)


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_the_editor_still_follows_the_recorded_rule(recorded: Any, editor: Any, info: Any) -> None:
    lacking = {node["class_type"] for node in recorded["graph"].values()} - set(info)
    if lacking:
        pytest.skip(f"this ComfyUI has no {', '.join(sorted(lacking))}")
    assert told(editor.graph(recorded["canvas"])) == told(recorded["graph"])


@pytest.mark.parametrize("path", [*SHIPPED, *RECORDED], ids=lambda path: path.stem)
def test_the_editor_reads_the_values_that_we_put_back(
    recorded: Any, editor: Any, info: Any
) -> None:
    canvas = recorded.get("canvas") or recorded
    plain = canvas_to_graph(canvas, info)
    roles = available_roles(plain, info)
    settings = [one for one in SETTINGS if one.partition("=")[0] in roles]
    graph = set_parameters(plain, split_settings(settings), info)
    assert editor.graph(with_values(canvas, graph, info)) == graph
    assert editor.complaints() == []


def test_what_the_editor_saves_again_is_the_same_workflow(editor: Any, info: Any) -> None:
    for version in (0.4, 1):
        saved = editor.changed(read(SHIPPED[0]), version, "")
        graph = canvas_to_graph(saved, info)
        assert graph == read(SHIPPED[0].parent / "api" / SHIPPED[0].name)


def test_the_editor_would_complain_about_an_unknown_class(editor: Any) -> None:
    canvas = read(SHIPPED[0])
    canvas["nodes"][0]["type"] = "NoSuchNode"
    editor.load(canvas)
    assert editor.complaints() == ["NoSuchNode"]
