"""Graphs: reading, walking and validating."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import GraphError, ProtocolError, UnknownNodeClass
from orchestrator.workflow.catalogue import Catalogue
from orchestrator.workflow.checking import check, ignored, validate
from orchestrator.workflow.graph import (
    Form,
    ancestors,
    form_of,
    is_link,
    links,
    order,
    owner,
    parse_graph,
    read_json,
    sha256_of,
    title,
)
from orchestrator.workflow.wording import did_you_mean, listed

REPOSITORY = Path(__file__).resolve().parent.parent.parent
DATA = REPOSITORY / "tests" / "data" / "canvas"


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture
def sprite() -> Any:
    return read(REPOSITORY / "workflows" / "api" / "sprite.json")


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


# --------------------------------------------------------------------------- reading


def test_json_errors_name_the_place() -> None:
    with pytest.raises(GraphError, match=r"a\.json is not JSON \(line 2, column 1"):
        read_json('{"1":\n}', "a.json")
    with pytest.raises(GraphError, match="nested too deeply"):
        read_json("[" * 200_000)


def test_a_byte_order_mark_as_windows_editors_write_it_is_no_error() -> None:
    assert read_json('\ufeff{"a": 1}') == {"a": 1}


def test_forms(sprite: Any) -> None:
    assert form_of(sprite) is Form.GRAPH
    assert form_of(read(REPOSITORY / "workflows" / "sprite.json")) is Form.CANVAS


@pytest.mark.parametrize("data", [[], {}, "text", None, 3, {"prompt": 1}, {"nodes": {}}])
def test_what_is_no_workflow_is_refused(data: Any) -> None:
    with pytest.raises(GraphError, match="no workflow"):
        form_of(data)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda graph: graph["6"].pop("class_type"), "node 6 has no class_type"),
        (lambda graph: graph["6"].update(class_type=3), "node 6: class_type is 3"),
        (lambda graph: graph["6"].update(inputs=[]), r"node 6 \(KSampler\): inputs must be"),
        (lambda graph: graph["6"].update(_meta="x"), r"node 6 \(KSampler\): _meta must be"),
        (lambda graph: graph.update(nodes=[]), "canvas file, and a graph is needed"),
    ],
)
def test_parse_names_node_and_field(spoil: Callable[[Any], Any], message: str, sprite: Any) -> None:
    spoil(sprite)
    with pytest.raises(GraphError, match=message):
        parse_graph(sprite)


def test_parse_copies_and_completes() -> None:
    raw = {1: {"class_type": "A"}, 2: node("B", x=[1, 0], y=[3, 4, 5])}
    graph = parse_graph(raw)
    assert graph == {"1": node("A"), "2": node("B", x=["1", 0], y=[3, 4, 5])}
    graph["2"]["inputs"]["x"] = 7
    assert raw[2]["inputs"]["x"] == [1, 0]


def test_sha256_is_that_of_the_bytes() -> None:
    assert sha256_of("é\n") == hashlib.sha256("é\n".encode()).hexdigest()


# --------------------------------------------------------------------------- walking


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["1", 0], True),
        (["1", True], False),
        ([1, 0], False),
        (["1"], False),
        ("1", False),
        (["1", 0, 0], False),
    ],
)
def test_links_are_told_from_values(value: Any, expected: bool) -> None:
    assert is_link(value) is expected


def test_order_puts_every_node_after_those_it_needs(sprite: Any) -> None:
    backwards = dict(reversed(sprite.items()))
    places = {node_id: place for place, node_id in enumerate(order(backwards))}
    assert sorted(places) == sorted(sprite)
    for node_id in sprite:
        assert all(places[source] < places[node_id] for _, (source, _) in links(sprite, node_id))


def test_order_names_the_circle() -> None:
    graph = {"1": node("A", x=["3", 0]), "2": node("A", x=["1", 0]), "3": node("A", x=["2", 0])}
    with pytest.raises(GraphError, match="circle: 1 <- 3 <- 2 <- 1"):
        order(graph)
    with pytest.raises(GraphError, match="circle: 1 <- 1"):
        parse_graph({"1": node("A", x=["1", 0])})


def test_graphs_deeper_than_the_recursion_limit() -> None:
    depth = 5000
    graph = {
        str(i): node("A", **({"x": [str(i + 1), 0]} if i < depth else {})) for i in range(depth)
    }
    assert order(graph)[0] == str(depth - 1)
    assert len(ancestors(graph, "0")) == depth


def test_an_event_is_about_the_first_of_its_ids_that_was_submitted() -> None:
    graph = {"1": node("Give"), "2": node("Give")}
    assert owner(graph, "9.1", None, "2", "1") == "2"
    assert owner(graph, "9.1", None) is None


def test_ancestors_are_nearest_first(sprite: Any) -> None:
    assert ancestors(sprite, "11")[:3] == ["11", "10", "9"]
    assert sorted(ancestors(sprite, "11")) == sorted(sprite)
    assert ancestors(sprite, "1") == ["1"]


def test_titles(sprite: Any) -> None:
    assert title(sprite, "6") == "Sampler"
    del sprite["6"]["_meta"]
    assert title(sprite, "6") == "KSampler"


# --------------------------------------------------------------------------- validating


def problems(graph: Any, info: Any) -> list[tuple[str, str]]:
    return [(problem.node_id, problem.type) for problem in validate(graph, info)]


def test_shipped_graphs_have_no_problem(sprite: Any, info: Any) -> None:
    assert validate(sprite, info) == []
    check(sprite, info)


@pytest.mark.parametrize(
    ("node_id", "inputs", "kind", "message"),
    [
        ("6", {"steps": 0}, "value_smaller_than_min", "steps: 0 is below the smallest allowed, 1"),
        ("6", {"cfg": 100.5}, "value_bigger_than_max", "cfg: 100.5 is above the largest"),
        ("6", {"cfg": float("nan")}, "value_smaller_than_min", "cfg: nan"),
        ("6", {"steps": "many"}, "invalid_input_type", "steps: 'many' is not a whole number"),
        ("6", {"cfg": None}, "invalid_input_type", "cfg: None is not a number"),
        ("6", {"sampler_name": "euler_a"}, "value_not_in_list", "did you mean 'euler"),
        ("1", {"precision": "fp4"}, "value_not_in_list", "there is: auto, fp32, fp16, bf16, fp8"),
        ("1", {"model_name": "big"}, "value_not_in_list", "there is: spriteworks-starter"),
        ("6", {"model": ["99", 0]}, "bad_linked_input", "node 99, which is not in the workflow"),
        ("6", {"model": ["1", 7]}, "bad_linked_input", "output 7 of node 1 .* which has 5"),
        ("6", {"model": ["1"]}, "bad_linked_input", "model is a list, and a link is"),
        ("6", {"model": ["1", 1]}, "return_type_mismatch", "takes MODEL.* which gives CLIP"),
    ],
)
def test_each_kind_of_problem(
    node_id: str, inputs: Any, kind: str, message: str, sprite: Any, info: Any
) -> None:
    sprite[node_id]["inputs"].update(inputs)
    (problem,) = validate(sprite, info)
    assert (problem.node_id, problem.type) == (node_id, kind)
    with pytest.raises(GraphError, match=message):
        check(sprite, info)


def test_what_the_server_drops_is_told_and_not_refused(sprite: Any, info: Any) -> None:
    sprite["6"]["inputs"]["stepps"] = 3
    assert validate(sprite, info) == []
    (told,) = ignored(sprite, info)
    assert (told.node_id, told.type) == ("6", "unknown_input")
    assert "no input 'stepps', did you mean 'steps'" in str(told)


def test_several_problems_are_all_told(sprite: Any, info: Any) -> None:
    del sprite["6"]["inputs"]["seed"]
    sprite["5"]["inputs"]["batch_size"] = 0
    assert problems(sprite, info) == [
        ("5", "value_smaller_than_min"),
        ("6", "required_input_missing"),
    ]


def test_unknown_classes_come_first_and_name_similar_ones(sprite: Any, info: Any) -> None:
    sprite["6"] = node("ksampler")
    with pytest.raises(UnknownNodeClass, match="did you mean 'KSampler"):
        check(sprite, info)
    assert problems(sprite, info) == [("6", "missing_node_type")]


def test_only_what_an_output_depends_on_is_checked(sprite: Any, info: Any) -> None:
    sprite["20"] = node("KSampler")
    assert problems(sprite, info) == []
    # but every class must exist, as ComfyUI wants it
    sprite["21"] = node("Nothing")
    assert problems(sprite, info) == [("21", "missing_node_type")]


def test_a_graph_without_result_is_an_error(sprite: Any, info: Any) -> None:
    del sprite["11"]
    with pytest.raises(GraphError, match="gives no result: add a node that saves"):
        validate(sprite, info)


def test_pictures_to_upload_are_not_looked_for(info: Any) -> None:
    graph = {"1": node("LoadImage", image="mine.png"), "2": node("PreviewImage", images=["1", 0])}
    assert validate(graph, info) == []


def test_texts_that_are_numbers_pass_as_they_do_on_the_server(sprite: Any, info: Any) -> None:
    sprite["6"]["inputs"].update(steps="12", cfg="7.5")
    assert validate(sprite, info) == []


def test_a_wrapped_list_is_a_value(sprite: Any, info: Any) -> None:
    sprite["6"]["inputs"]["sampler_name"] = {"__value__": ["euler", "eular"]}
    assert problems(sprite, info) == [("6", "value_not_in_list")]


def test_leftovers_of_the_editor_are_let_through(info: Any) -> None:
    graph = {
        "1": node("LoadImage", image="mine.png", upload="image"),
        "2": node("PreviewImage", images=["1", 0]),
    }
    assert validate(graph, info) == ignored(graph, info) == []


def test_other_packs_may_take_names_they_do_not_list(info: Any) -> None:
    declared = read(DATA / "object_info.json")
    declared["Other"] = {**declared["PreviewImage"], "python_module": "custom_nodes.other"}
    graph = {"1": node("LoadImage", image="a.png"), "2": node("Other", images=["1", 0], lora_1=3)}
    assert ignored(graph, Catalogue(declared)) == []


@pytest.mark.parametrize(
    ("given", "wanted", "fits"),
    [
        ("IMAGE", "*", True),
        ("*", "MASK", True),
        ("INT", "FLOAT,INT", True),
        ("INT", "FLOAT", False),
    ],
)
def test_types_fit_as_in_comfyui(given: str, wanted: str, fits: bool) -> None:
    declared = {
        "Give": {"input": {}, "output": [given], "output_node": False},
        "Take": {
            "input": {"required": {"x": [wanted]}},
            "output": [],
            "output_node": True,
        },
    }
    graph = {"1": node("Give"), "2": node("Take", x=["1", 0])}
    assert (problems(graph, Catalogue(declared)) == []) is fits


# --------------------------------------------------------------------------- node classes


def test_both_ways_to_declare_choices(info: Any) -> None:
    older = info.node_class("KSampler").by_name["scheduler"]
    newer = info.node_class("SpriteworksDiffusersLoader").by_name["precision"]
    assert older.type == newer.type == "COMBO"
    assert "karras" in (older.options or ())
    assert newer.options == ("auto", "fp32", "fp16", "bf16", "fp8")


def test_seeds_have_a_second_value_in_the_editor(info: Any) -> None:
    assert [entry.name for entry in info.node_class("KSampler").inputs if entry.has_control] == [
        "seed"
    ]
    assert info.node_class("SpriteworksSeedBatch").by_name["seed"].has_control


def test_required_inputs_come_before_optional_ones(info: Any) -> None:
    names = [entry.name for entry in info.node_class("SpriteworksSaveSprite").inputs]
    assert names == ["image", "filename_prefix", "mask"]


def test_an_object_info_that_is_none_is_a_protocol_error() -> None:
    with pytest.raises(ProtocolError, match="/object_info of X cannot be read"):
        Catalogue({"X": {"input": {"required": {"a": []}}, "output": []}}).node_class("X")


def test_long_lists_are_cut_and_close_names_found() -> None:
    assert listed(range(25)).endswith("19 and 5 more")
    assert listed([]) == "none"
    assert did_you_mean("kSampler", ["KSampler", "Other"]) == ", did you mean 'KSampler'?"
    assert did_you_mean("zzz", ["KSampler"]) == ""


def test_every_output_is_looked_at(sprite: Any, info: Any) -> None:
    sprite["20"] = node("VAEDecode")
    sprite["21"] = node("SaveImage", images=["20", 0], filename_prefix="x")
    found = {(problem.node_id, problem.type) for problem in validate(sprite, info)}
    assert found == {("20", "required_input_missing")}


def test_true_and_false_are_no_node_ids() -> None:
    graph = parse_graph({"1": node("X", value=[True, 0]), "2": node("X", link=[1, 0])})
    assert graph["1"]["inputs"]["value"] == [True, 0]
    assert not is_link(graph["1"]["inputs"]["value"])
    assert graph["2"]["inputs"]["link"] == ["1", 0]


def test_a_graph_whose_nodes_are_each_used_twice_is_walked_once() -> None:
    """Sixty of them have 2^60 ways from the first to the last."""
    graph = {"0": node("X")}
    for number in range(1, 60):
        before = [str(number - 1), 0]
        graph[str(number)] = node("X", a=before, b=before)
    assert order(graph) == [str(number) for number in range(60)]
    assert ancestors(graph, "59")[-1] == "0"
