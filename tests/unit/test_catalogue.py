"""Declarations of `/object_info`, decoded."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from orchestrator.client.client import Client
from orchestrator.errors import BadValue, ProtocolError, UnknownNodeClass, UnknownParameter
from orchestrator.library import connect
from orchestrator.testing import FakeServer
from orchestrator.workflow import catalogue as catalogue_module
from orchestrator.workflow.catalogue import Catalogue
from orchestrator.workflow.checking import validate
from orchestrator.workflow.choices import with_known_files
from orchestrator.workflow.inputs import read_input
from orchestrator.workflow.roles import set_parameters, split_settings

SIZE = ["INT", {"default": 64, "min": 16, "max": 128}]
RESIZE = [
    "COMFY_DYNAMICCOMBO_V3",
    {
        "options": [
            {"key": "exact", "inputs": {"required": {"width": SIZE, "height": SIZE}}},
            {"key": "none", "inputs": {}},
            {
                "key": "deep",
                "inputs": {
                    "required": {
                        "how": [
                            "COMFY_DYNAMICCOMBO_V3",
                            {"options": [{"key": "by", "inputs": {"required": {"factor": SIZE}}}]},
                        ]
                    }
                },
            },
        ]
    },
]
CLASSES: dict[str, Any] = {
    "Give": {"input": {"required": {}}, "output": ["IMAGE", "INT"]},
    "Resize": {
        "input": {"required": {"image": ["IMAGE"], "resize": RESIZE}},
        "output": ["IMAGE"],
        "output_node": True,
    },
    "Batch": {
        "input": {
            "required": {
                "images": [
                    "COMFY_AUTOGROW_V3",
                    {
                        "template": {
                            "input": {"required": {"image": ["IMAGE", {}]}},
                            "prefix": "image",
                            "min": 1,
                            "max": 3,
                        }
                    },
                ]
            }
        },
        "output": [],
        "output_node": True,
    },
    "Slot": {
        "input": {
            "optional": {
                "more": [
                    "COMFY_DYNAMICSLOT_V3",
                    {"slotType": "IMAGE", "inputs": {"required": {"amount": SIZE}}},
                ]
            }
        },
        "output": [],
        "output_node": True,
    },
    "Match": {
        "input": {
            "required": {
                "one": [
                    "COMFY_MATCHTYPE_V3",
                    {"template": {"template_id": "t", "allowed_types": "IMAGE,MASK"}},
                ]
            }
        },
        "output": ["COMFY_MATCHTYPE_V3"],
        "output_node": True,
    },
    "Load": {
        "input": {
            "required": {
                "file": [["XL/a.safetensors", "b\\c.safetensors", "d/e", "d\\e"]],
                "kind": [["default", "other"]],
            }
        },
        "output": ["MODEL"],
        "output_node": True,
    },
}


@pytest.fixture
def catalogue() -> Catalogue:
    return Catalogue(CLASSES)


def problems(catalogue: Catalogue, kind: str, **inputs: Any) -> list[tuple[str, str]]:
    graph = {
        "1": {"class_type": "Give", "inputs": {}},
        "2": {"class_type": kind, "inputs": inputs},
    }
    return [(found.type, found.message) for found in validate(graph, catalogue)]


def kinds(catalogue: Catalogue, kind: str, **inputs: Any) -> list[str]:
    return [one for one, _ in problems(catalogue, kind, **inputs)]


# --------------------------------------------------------------------------- decoding


def test_a_class_is_decoded_once(catalogue: Catalogue) -> None:
    assert catalogue.node_class("Resize") is catalogue.node_class("Resize")


def test_order_is_that_of_the_class_and_what_it_leaves_out_comes_last() -> None:
    raw = {
        "input": {
            "required": {"b": ["INT"], "a": ["INT"]},
            "optional": {"d": ["INT"], "c": ["INT"]},
        },
        "input_order": {"required": ["a", "b"], "optional": ["c"]},
        "output": [],
    }
    found = Catalogue({"X": raw}).node_class("X")
    assert [(entry.name, entry.required) for entry in found.inputs] == [
        ("a", True),
        ("b", True),
        ("c", False),
        ("d", False),
    ]


@pytest.mark.parametrize(
    "declared",
    [[], [5], ["COMFY_DYNAMICCOMBO_V3", {}], ["COMFY_AUTOGROW_V3", {"template": {}}], None],
)
def test_what_is_no_declaration_is_a_protocol_error(declared: Any) -> None:
    raw = {"input": {"required": {"x": declared}}, "output": []}
    with pytest.raises(ProtocolError, match="/object_info of X cannot be read"):
        Catalogue({"X": raw}).node_class("X")


def test_the_engine_names_the_way_to_comfyui() -> None:
    said = Catalogue({}, engine=True).unknown("ControlNetLoader")
    assert said.startswith("the embedded engine has no node class 'ControlNetLoader'")
    assert "--comfyui DIR" in said


def test_unknown_classes_name_similar_ones(catalogue: Catalogue) -> None:
    with pytest.raises(UnknownNodeClass, match="did you mean 'Resize'"):
        catalogue.node_class("resize")


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        (["INT", {}], 0),
        (["INT", {"default": 3}], 3),
        (["BOOLEAN", {}], False),
        (["STRING", {}], ""),
        ([["a", "b"], {}], "a"),
        ([["a", "b"], {"default": "b"}], "b"),
        (["COMBO", {"options": []}], None),
        (["COLOR", {}], "#000000"),
        (RESIZE, "exact"),
    ],
)
def test_defaults_are_the_editors(declared: Any, expected: Any) -> None:
    assert read_input("x", declared, True).default == expected


@pytest.mark.parametrize(
    ("name", "declared", "expected"),
    [
        ("seed", ["INT", {}], 1),
        ("noise_seed", ["INT", {}], 1),
        ("resize.seed", ["INT", {}], 0),
        ("seed", ["INT", {"control_after_generate": False}], 0),
        ("x", ["INT", {"control_after_generate": True}], 1),
        ("seed", ["FLOAT", {}], 0),
        ("x", [["a"], {"control_after_generate": True}], 2),
        ("x", ["BOUNDING_BOX", {}], 4),
        ("seed", ["INT", {"forceInput": True}], 0),
    ],
)
def test_hidden_companions(name: str, declared: Any, expected: int) -> None:
    assert len(read_input(name, declared, True).companions) == expected


@pytest.mark.parametrize(
    ("declared", "types", "value"),
    [
        (["FLOAT,INT", {"widgetType": "FLOAT"}], ("FLOAT", "INT"), "FLOAT"),
        (["INT,FLOAT,STRING", {}], ("INT", "FLOAT", "STRING"), "INT"),
        (["MODEL", {}], ("MODEL",), None),
        (RESIZE, ("COMFY_DYNAMICCOMBO_V3",), "COMBO"),
        (CLASSES["Match"]["input"]["required"]["one"], ("IMAGE", "MASK"), None),
        (CLASSES["Slot"]["input"]["optional"]["more"], ("IMAGE",), None),
    ],
)
def test_types_of_links_and_of_values(declared: Any, types: Any, value: Any) -> None:
    entry = read_input("x", declared, True)
    assert (entry.types, entry.value_type) == (types, value)


def test_the_inputs_that_list_models(catalogue: Catalogue) -> None:
    assert catalogue.node_class("Load").model_inputs == ("file",)
    empty = {**CLASSES["Load"], "input": {"required": {"file": [[]], "kind": [["x", "y"]]}}}
    assert Catalogue({"X": empty}).node_class("X").model_inputs == ("file",)
    taken = {"input": {"required": {"model": ["MODEL"], "file": [["a.pt"]]}}, "output": ["MODEL"]}
    assert Catalogue({"X": taken}).node_class("X").model_inputs == ()
    assert catalogue.node_class("Resize").model_inputs == ()


# --------------------------------------------------------------------------- checking


def test_a_dynamic_combo_wants_what_its_key_brings(catalogue: Catalogue) -> None:
    image = ["1", 0]
    assert kinds(catalogue, "Resize", image=image, resize="none") == []
    good = {"resize.width": 32, "resize.height": ["1", 1]}
    assert kinds(catalogue, "Resize", image=image, resize="exact", **good) == []
    assert problems(catalogue, "Resize", image=image, resize="exact", **{"resize.width": 8}) == [
        ("value_smaller_than_min", "resize.width: 8 is below the smallest allowed, 16"),
        ("required_input_missing", "the input resize.height (INT) is missing"),
    ]
    deep = {"resize.how": "by", "resize.how.factor": 999}
    assert kinds(catalogue, "Resize", image=image, resize="deep", **deep) == [
        "value_bigger_than_max"
    ]


def test_an_autogrow_wants_its_first_and_takes_so_many(catalogue: Catalogue) -> None:
    first = {"images.image0": ["1", 0]}
    assert kinds(catalogue, "Batch", **first) == []
    assert kinds(catalogue, "Batch") == ["required_input_missing"]
    assert kinds(catalogue, "Batch", **first, **{"images.image1": ["1", 1]}) == [
        "return_type_mismatch"
    ]


def test_a_dynamic_slot_brings_inputs_where_it_is_linked(catalogue: Catalogue) -> None:
    assert kinds(catalogue, "Slot") == []
    assert kinds(catalogue, "Slot", more=["1", 0]) == ["required_input_missing"]
    assert kinds(catalogue, "Slot", more=["1", 0], **{"more.amount": 20}) == []


def test_match_types_are_left_to_the_editor(catalogue: Catalogue) -> None:
    assert kinds(catalogue, "Match", one=["1", 1]) == []


# --------------------------------------------------------------------------- setting


def resize(**inputs: Any) -> Any:
    return {
        "1": {"class_type": "Give", "inputs": {}},
        "2": {"class_type": "Resize", "inputs": {"image": ["1", 0], **inputs}},
    }


def test_another_key_brings_its_inputs(catalogue: Catalogue) -> None:
    graph = resize(resize="none")
    changed = set_parameters(
        graph, split_settings(["2.resize=exact", "2.resize.width=32"]), catalogue
    )
    assert changed["2"]["inputs"] == {
        "image": ["1", 0],
        "resize": "exact",
        "resize.width": 32,
        "resize.height": 64,
    }
    back = set_parameters(changed, split_settings(["2.resize=deep"]), catalogue)
    assert back["2"]["inputs"] == {
        "image": ["1", 0],
        "resize": "deep",
        "resize.how": "by",
        "resize.how.factor": 64,
    }


def test_an_input_of_another_key_is_none(catalogue: Catalogue) -> None:
    with pytest.raises(UnknownParameter, match=r"no input 'resize\.width'"):
        set_parameters(resize(resize="none"), split_settings(["2.resize.width=32"]), catalogue)
    with pytest.raises(BadValue, match="there is no 'exakt', did you mean 'exact'"):
        set_parameters(resize(resize="none"), split_settings(["2.resize=exakt"]), catalogue)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("XL\\a.safetensors", "XL/a.safetensors"),
        ("b/c.safetensors", "b\\c.safetensors"),
        ("XL/a.safetensors", "XL/a.safetensors"),
        ("xl/a.safetensors", "xl/a.safetensors"),
        ("d/e", "d/e"),
    ],
)
def test_files_spelt_as_on_another_system(given: str, expected: str, catalogue: Catalogue) -> None:
    graph = {
        "0": {"class_type": "Lost", "inputs": {"file": given}},
        "1": {"class_type": "Load", "inputs": {"file": given, "kind": "other"}},
    }
    assert with_known_files(graph, catalogue)["1"]["inputs"]["file"] == expected
    assert {node["inputs"]["file"] for node in graph.values()} == {given}


def test_two_that_mean_a_file_are_one_too_many() -> None:
    raw = {
        "input": {"required": {"file": [["d/e\\f", "d\\e/f"]]}},
        "output": [],
        "output_node": True,
    }
    graph = {"1": {"class_type": "X", "inputs": {"file": "d/e/f"}}}
    assert with_known_files(graph, Catalogue({"X": raw})) == graph


SEEDED = {
    "K": {
        "input": {
            "required": {
                "seed": ["INT", {"min": 0, "max": 2**64 - 1}],
                "latent_image": ["LATENT"],
                "steps": ["INT", {"min": 1, "max": 9}],
            }
        },
        "output": [],
        "output_node": True,
    }
}
SEEDS = {"1": {"class_type": "K", "inputs": {"seed": 3, "latent_image": ["2", 0], "steps": 2}}}


def test_a_random_seed_for_the_asking() -> None:
    catalogue = Catalogue(SEEDED)
    found = {
        set_parameters(SEEDS, split_settings(["seed=random"]), catalogue)["1"]["inputs"]["seed"]
        for _ in "abc"
    }
    assert len(found) == 3
    assert all(0 <= seed < 2**64 for seed in found)
    with pytest.raises(BadValue, match="'random' is not a whole number"):
        set_parameters(SEEDS, split_settings(["1.steps=random"]), catalogue)


def test_a_seed_of_minus_one_is_answered_with_how_to_get_a_random_one() -> None:
    with pytest.raises(
        BadValue, match=r"smallest allowed, 0; for a random seed: --set seed=random"
    ):
        set_parameters(SEEDS, split_settings(["seed=-1"]), Catalogue(SEEDED))
    with pytest.raises(BadValue, match=r"smallest allowed, 1$"):
        set_parameters(SEEDS, split_settings(["1.steps=-1"]), Catalogue(SEEDED))


def test_a_whole_run_decodes_each_class_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []
    asked: list[str] = []
    read_class, object_info = catalogue_module.read_class, Client.object_info

    def counting(name: str, raw: Any) -> Any:
        # the fake server, in threads of its own, decodes for itself
        if threading.current_thread() is threading.main_thread():
            decoded.append(name)
        return read_class(name, raw)

    def asking(client: Client, node_class: str | None = None) -> dict[str, Any]:
        asked.append(str(node_class))
        return object_info(client, node_class)

    monkeypatch.setattr(catalogue_module, "read_class", counting)
    monkeypatch.setattr(Client, "object_info", asking)
    graph = {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0},
        },
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    }
    path = tmp_path / "graph.json"
    path.write_text(json.dumps(graph), encoding="utf-8")
    with FakeServer() as fake, connect(fake.url) as server:
        server.run(path, settings={"1.width": 16}, out=tmp_path / "out")
    assert asked == ["None"]
    assert sorted(decoded) == sorted(set(decoded))
    assert set(decoded) == {"EmptyImage", "SaveImage"}


@pytest.mark.parametrize(
    "declaration",
    [
        ("INT", {"default": 1, "min": 0}),
        (["a", "b"], {"default": "b"}),
        ("COMBO", {"options": ["a", "b"]}),
        ("MODEL", {}),
    ],
)
def test_an_input_tells_its_declaration_as_it_was_sent(declaration: Any) -> None:
    declared = {"Node": {"input": {"required": {"one": list(declaration)}}, "output": []}}
    assert Catalogue(declared).node_class("Node").by_name["one"].declared == declaration


@pytest.mark.parametrize(
    ("required", "expected"),
    [
        ({"kind": [["a", "b"]], "file": [["x.safetensors"]]}, ("file",)),
        ({"file": [["X.CKPT"]], "other": [["y.gguf"]], "kind": [["a"]]}, ("file", "other")),
        # folders, whose names say nothing: the first list
        ({"size": ["INT", {}], "kind": [["a"]], "more": [["b"]]}, ("kind",)),
        ({"on": ["BOOLEAN", {}], "kind": [["a"]]}, ("kind",)),
        # a list that is fetched later
        ({"file": ["COMBO", {"remote": {"route": "/x"}}]}, ("file",)),
        ({"model": ["MODEL"], "file": [["x.safetensors"]]}, ()),
    ],
)
def test_a_loader_is_known_by_the_files_that_it_lists(required: Any, expected: Any) -> None:
    loader = {"input": {"required": required}, "output": ["MODEL"]}
    assert Catalogue({"Loader": loader}).node_class("Loader").model_inputs == expected
    loader["output"] = ["IMAGE"]
    assert Catalogue({"Loader": loader}).node_class("Loader").model_inputs == ()
