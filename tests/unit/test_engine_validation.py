"""Validation of graphs, held to what real ComfyUI answered to the same bodies."""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from orchestrator.engine.execution import validation
from orchestrator.engine.execution.validation import Nodes, check
from orchestrator.engine.host import CoreNode, io
from orchestrator.engine.nodes import images
from orchestrator.engine.serving.registry import by_name

DATA = Path(__file__).resolve().parents[1] / "data"
RECORDED = json.loads((DATA / "comfyui" / "prompts.json").read_text(encoding="utf-8"))
INFO = json.loads((DATA / "comfyui" / "object_info.json").read_text(encoding="utf-8"))

# Not about the graph itself.
ELSEWHERE = {"no_prompt", *(name for name in RECORDED if name.startswith("prompt_id"))}


def load_recorder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("record_comfyui", DATA / "record_comfyui.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


recorder = load_recorder()


class Recorded(io.Input):
    """An input with the type and options that ComfyUI gave."""

    def __init__(self, name: str, config: list[Any], optional: bool) -> None:
        super().__init__(name, optional=optional)
        self.config = config

    def get_io_type(self) -> Any:
        return self.config[0]

    def as_dict(self) -> dict[str, Any]:
        return self.config[1] if len(self.config) > 1 else {}


def recorded_node(name: str, info: dict[str, Any]) -> type[CoreNode]:
    """A node with the schema that ComfyUI gave for it."""

    class Node(CoreNode):
        @classmethod
        def define_schema(cls) -> io.Schema:
            groups = info["input"]
            return io.Schema(
                name,
                inputs=[
                    Recorded(each, config, group == "optional")
                    for group in ("required", "optional")
                    for each, config in groups.get(group, {}).items()
                ],
                outputs=[io.Custom(each).Output() for each in info["output"]],
                is_output_node=info["output_node"],
            )

        @classmethod
        def execute(cls, **inputs: Any) -> None:
            return None

    return Node


class LoadImage(recorded_node("LoadImage", INFO["LoadImage"])):  # type: ignore[misc]
    @classmethod
    def validate_inputs(cls, image: str) -> str:
        return f"there is no file {image}"


@pytest.fixture(scope="module")
def nodes() -> Nodes:
    names = ("EmptyImage", "ImageScale", "SaveImage", "PreviewImage")
    return by_name([LoadImage, *(recorded_node(name, INFO[name]) for name in names)])


@pytest.mark.parametrize("name", sorted(set(RECORDED) - ELSEWHERE))
def test_the_verdict_is_comfyuis(name: str, nodes: Nodes) -> None:
    verdict = check(recorder.prompts()[name]["prompt"], nodes)
    ours = {"error": verdict.error, "node_errors": verdict.node_errors}
    theirs = {"error": None, **RECORDED[name]["body"]}
    theirs = {key: theirs[key] for key in ours}
    ours = recorder.reduced(json.loads(json.dumps(ours)))
    if name.startswith("link_to_missing"):
        # ComfyUI blames the input of the next node; we name the one that holds the bad link
        for body in (ours, theirs):
            extra = body["node_errors"]["2"]["errors"][0]["extra_info"]
            for key in ("input_name", "input_config", "linked_node", "traceback"):
                assert key in extra
                del extra[key]
    assert ours == theirs
    assert bool(verdict.outputs) == (RECORDED[name]["status"] == 200)


def test_values_become_what_their_inputs_take(nodes: Nodes) -> None:
    for name in ("coerced_string", "coerced_float", "wrapped_value"):
        graph = recorder.prompts()[name]["prompt"]
        assert check(graph, nodes).graph["2"]["inputs"]["width"] == 16
        assert graph["2"]["inputs"]["width"] != 16, "the caller's graph stays as it was"


def test_an_unknown_class_is_named(nodes: Nodes) -> None:
    verdict = check(recorder.prompts()["unknown_class"]["prompt"], nodes)
    assert verdict.error is not None
    assert "'NoSuchNode'" in verdict.error["message"]
    assert "'4'" in verdict.error["details"]


def test_a_loop_is_told_with_its_nodes(nodes: Nodes) -> None:
    verdict = check(recorder.prompts()["dependency_cycle"]["prompt"], nodes)
    for node_id in ("2", "4"):
        (found,) = verdict.node_errors[node_id]["errors"]
        assert found["type"] == "dependency_cycle"
        assert found["details"] == "2 (ImageScale) -> 4 (ImageScale) -> 2 (ImageScale)"


def test_a_loop_spoils_only_what_hangs_on_it(nodes: Nodes) -> None:
    graph = recorder.prompts()["dependency_cycle"]["prompt"]
    graph["4"]["inputs"]["width"] = -5
    graph["5"] = {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}
    graph["6"] = {"class_type": "PreviewImage", "inputs": {"images": ["4", 0]}}
    verdict = check(graph, nodes)
    assert verdict.outputs == ("5",)
    kinds = [found["type"] for found in verdict.node_errors["4"]["errors"]]
    assert kinds == ["dependency_cycle", "value_smaller_than_min"]
    assert verdict.node_errors["2"]["dependent_outputs"] == ["3", "6"]


def test_a_node_linked_to_itself_is_a_loop(nodes: Nodes) -> None:
    graph = recorder.picture_graph()
    graph["2"]["inputs"]["image"] = ["2", 0]
    (found,) = check(graph, nodes).node_errors["2"]["errors"]
    assert found["extra_info"] == {"node_id": "2", "cycle_nodes": ["2"]}


def test_the_good_output_runs_and_the_bad_one_is_told(nodes: Nodes) -> None:
    verdict = check(recorder.prompts()["two_outputs_one_bad"]["prompt"], nodes)
    assert verdict.error is None
    assert verdict.outputs == ("3",)
    assert verdict.node_errors["4"]["dependent_outputs"] == ["5"]


def test_only_the_wanted_outputs_are_checked(nodes: Nodes) -> None:
    graph = recorder.prompts()["two_outputs_one_bad"]["prompt"]
    assert check(graph, nodes, only=["3"]).node_errors == {}
    refused = check(graph, nodes, only=["1"]).error
    assert refused is not None
    assert refused["type"] == "prompt_no_outputs"


def test_a_long_chain_is_no_problem(nodes: Nodes) -> None:
    graph = recorder.picture_graph()
    for index in range(3000):
        source = "1" if index == 0 else f"s{index - 1}"
        graph[f"s{index}"] = {
            "class_type": "ImageScale",
            "inputs": recorder.scale([source, 0], 16),
        }
    graph["2"]["inputs"]["image"] = ["s2999", 0]
    assert check(graph, nodes).error is None


@pytest.mark.parametrize(
    "graph",
    [
        {"1": 5},
        {"1": {"class_type": "EmptyImage"}},
        {"1": {"class_type": "SaveImage", "inputs": []}},
        {"1": {"class_type": ["EmptyImage"], "inputs": {}}},
        {"1": {"class_type": "SaveImage", "inputs": {"images": [None, {}]}}},
        {"1": {"class_type": "SaveImage", "inputs": {"images": ["1", "x"]}}},
        {"1": {"class_type": "SaveImage", "inputs": {"images": []}}},
    ],
)
def test_nonsense_is_refused_and_never_raises(graph: Any, nodes: Nodes) -> None:
    assert check(graph, nodes).error is not None


@pytest.mark.parametrize(
    "value", [None, 5, "1", True, {}, {"a": 1}, {"__value__": ["1", 0]}, {"__value__": None}]
)
def test_a_picture_comes_by_a_link(value: Any, nodes: Nodes) -> None:
    graph = {"1": {"class_type": "SaveImage", "inputs": {"images": value, "filename_prefix": "x"}}}
    (found,) = check(graph, nodes).node_errors["1"]["errors"]
    assert found["type"] == "invalid_input_type"
    assert "link the input to its output" in found["extra_info"]["exception_message"]


class Anything(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            "Anything",
            inputs=[
                io.Mask.Input("mask", optional=True),
                io.AnyType.Input("anything"),
                io.Int.Input("number", force_input=True),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, **inputs: Any) -> io.NodeOutput:
        return io.NodeOutput()


def test_what_is_optional_may_be_none_and_what_takes_anything_a_constant() -> None:
    inputs = {"mask": None, "anything": "x", "number": 3}
    graph = {"1": {"class_type": "Anything", "inputs": inputs}}
    assert check(graph, by_name([Anything])).node_errors == {}
    inputs["mask"] = 0
    (found,) = check(graph, by_name([Anything])).node_errors["1"]["errors"]
    assert found["type"] == "invalid_input_type"


class Choice(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            "Choice",
            inputs=[io.Combo.Input("model", options=["a", "b"]), io.Int.Input("n", max=3)],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, **inputs: Any) -> io.NodeOutput:
        return io.NodeOutput()


class Raises(Choice):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = super().define_schema()
        schema.node_id = "Raises"
        return schema

    @classmethod
    def validate_inputs(cls, n: int) -> bool:
        raise RuntimeError("broken check")


def test_choices_of_a_pack_are_checked_and_named() -> None:
    graph = {"1": {"class_type": "Choice", "inputs": {"model": "c", "n": 1}}}
    (found,) = check(graph, by_name([Choice])).node_errors["1"]["errors"]
    assert found["type"] == "value_not_in_list"
    assert "a, b" in found["details"]


def test_a_check_that_raises_is_told() -> None:
    graph = {"1": {"class_type": "Raises", "inputs": {"model": "a", "n": 9}}}
    (found,) = check(graph, by_name([Raises])).node_errors["1"]["errors"]
    assert found["type"] == "exception_during_validation"
    assert found["extra_info"]["exception_type"] == "RuntimeError"


@pytest.fixture(scope="module")
def handing() -> Nodes:
    """The engine's own nodes that make, hand on and show pictures."""
    return by_name([images.EmptyImage, images.ImageScaleBy, images.SaveImageWebsocket])


def _chain(length: int) -> dict[str, Any]:
    """Pictures that are handed on, `length` times."""
    graph: dict[str, Any] = {
        "0": {
            "class_type": "EmptyImage",
            "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0},
        }
    }
    for number in range(1, length):
        inputs = {
            "image": [str(number - 1), 0],
            "upscale_method": "nearest-exact",
            "scale_by": 1.0,
        }
        graph[str(number)] = {"class_type": "ImageScaleBy", "inputs": inputs}
    return graph


def _saving(source: str) -> dict[str, Any]:
    return {"class_type": "SaveImageWebsocket", "inputs": {"images": [source, 0]}}


def test_a_chain_longer_than_pythons_recursion_is_checked_once_for_all_outputs(
    handing: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = _chain(3000)
    graph |= {f"save {number}": _saving("2999") for number in range(300)}
    asked: Counter[str] = Counter()
    plain = validation.sources

    def counted(whole: Any, node_id: str) -> list[str]:
        asked[node_id] += 1
        return plain(whole, node_id)

    monkeypatch.setattr(validation, "sources", counted)
    verdict = check(graph, handing)
    assert verdict.error is None
    assert len(verdict.outputs) == 300
    # once on the way down, once on the way up
    assert max(asked.values()) == 2


def test_a_node_that_spoils_thousands_of_outputs_names_the_first(handing: Nodes) -> None:
    graph = _chain(50)
    del graph["0"]["inputs"]["width"]
    graph |= {f"save {number}": _saving("49") for number in range(300)}
    verdict = check(graph, handing)
    assert verdict.error is not None
    (told,) = verdict.node_errors.values()
    assert told["dependent_outputs"] == [f"save {number}" for number in range(100)]


def test_a_long_loop_is_told_in_part_at_each_of_its_nodes(handing: Nodes) -> None:
    graph = _chain(2000)
    graph["0"] = {**graph["1"], "inputs": {**graph["1"]["inputs"], "image": ["1999", 0]}}
    graph["save"] = _saving("7")
    verdict = check(graph, handing)
    assert verdict.outputs == ()
    assert len(verdict.node_errors) == 2000
    for told in verdict.node_errors.values():
        (found,) = told["errors"]
        assert found["type"] == "dependency_cycle"
        assert "1980 more" in found["details"]
        assert len(found["extra_info"]["cycle_nodes"]) == 20


def test_an_output_on_any_of_thousands_of_loops_does_not_run(handing: Nodes) -> None:
    graph = _chain(1000)
    for number in range(1, 1000):
        # each with the one before it and the one behind it
        graph[str(number)]["inputs"]["scale_by"] = [str((number + 1) % 1000), 0]
    graph |= {f"save {number}": _saving(str(number)) for number in range(1, 1000)}
    assert check(graph, handing).outputs == ()


@pytest.mark.parametrize("value", ["nan", "inf", "-Infinity", "1e400"])
def test_a_number_that_no_json_has_is_refused_as_a_text_too(handing: Nodes, value: str) -> None:
    graph = _chain(2)
    graph["1"]["inputs"]["scale_by"] = value
    graph["save"] = _saving("1")
    (told,) = check(graph, handing).node_errors.values()
    assert [each["type"] for each in told["errors"]] == ["invalid_input_type"]
