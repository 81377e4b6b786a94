"""The engine's own `comfy_api.latest`, held to the recorded `/object_info` of real ComfyUI."""

from __future__ import annotations

import json
import subprocess
import sys
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from orchestrator.engine import host
from orchestrator.engine.host import io


class Size(Enum):
    SMALL = "small"
    LARGE = "large"


class Everything(io.ComfyNode):
    """One input of every kind that our nodes use."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Everything",
            display_name="Everything",
            category="test",
            inputs=[
                io.Image.Input("image", tooltip="a picture"),
                io.Int.Input("count", default=1, min=0, max=9, step=1, control_after_generate=True),
                io.Float.Input("factor", default=0.5, min=0.0, max=1.0, step=0.1, round=0.01),
                io.String.Input("text", default="x", multiline=True, dynamic_prompts=True),
                io.Boolean.Input("flag", default=False, label_on="yes", label_off="no"),
                io.Combo.Input("size", options=Size, default=Size.LARGE),
                io.Combo.Input(
                    "file", options=["a.png"], upload=io.UploadType.image, optional=True
                ),
                io.Custom("STITCH").Input("stitch", optional=True),
                io.MultiType.Input("any_of", [io.Image, io.Mask], optional=True),
            ],
            outputs=[
                io.Image.Output(),
                io.Mask.Output(display_name="alpha", tooltip="t", is_output_list=True),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, **inputs: Any) -> io.NodeOutput:
        return io.NodeOutput(1, 2)


class EverythingCore(Everything, host.CoreNode):
    """The same, shown as a built-in node."""


def test_a_node_of_a_pack_is_shown_as_comfyui_shows_it() -> None:
    info = json.loads(json.dumps(Everything.GET_NODE_INFO_V1()))
    required, optional = info["input"]["required"], info["input"]["optional"]
    assert required["image"] == ["IMAGE", {"tooltip": "a picture"}]
    assert required["count"] == [
        "INT",
        {"default": 1, "min": 0, "max": 9, "step": 1, "control_after_generate": True},
    ]
    assert required["factor"][1] == {
        "default": 0.5,
        "min": 0.0,
        "max": 1.0,
        "step": 0.1,
        "round": 0.01,
    }
    assert required["text"][1] == {"default": "x", "multiline": True, "dynamicPrompts": True}
    assert required["flag"][1] == {"default": False, "label_on": "yes", "label_off": "no"}
    assert required["size"] == [
        "COMBO",
        {"default": "large", "multiselect": False, "options": ["small", "large"]},
    ]
    assert optional["file"][1]["image_upload"] is True
    assert optional["stitch"] == ["STITCH", {}]
    assert optional["any_of"][0] == "IMAGE,MASK"
    assert info["input"]["hidden"] == {"prompt": ["PROMPT"], "extra_pnginfo": ["EXTRA_PNGINFO"]}
    assert info["output"] == ["IMAGE", "MASK"]
    assert info["output_name"] == ["IMAGE", "alpha"]
    assert info["output_is_list"] == [False, True]
    assert info["output_tooltips"] == [None, "t"]


def test_a_core_node_has_the_older_form() -> None:
    info = json.loads(json.dumps(EverythingCore.GET_NODE_INFO_V1()))
    required = info["input"]["required"]
    assert required["size"] == [["small", "large"], {"default": "large"}]
    assert info["input"]["optional"]["stitch"] == ["STITCH"]
    assert info["input"]["hidden"] == {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"}
    assert info["python_module"] == "nodes"
    assert "deprecated" not in info


REAL_API = """
import importlib, json, sys
sys.argv = ["main.py", "--cpu"]
from comfy_api.latest import io, ui
import inspect
def parameters(cls):
    return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]
found = {"io": sorted(vars(io)), "ui": sorted(vars(ui)), "parameters": {}, "types": {}}
for name in json.loads(sys.stdin.read()):
    cls = getattr(io, name, None)
    if isinstance(getattr(cls, "io_type", None), str):
        found["types"][name] = str(cls.io_type)
    for part in ("Input", "Output"):
        if hasattr(cls, part):
            found["parameters"][f"{name}.{part}"] = parameters(getattr(cls, part))
found["parameters"]["Schema"] = parameters(io.Schema)
found["parameters"]["NodeOutput"] = parameters(io.NodeOutput)
found["hidden"] = {item.name: item.value for item in io.Hidden}
print(json.dumps(found))
"""


@pytest.mark.comfyui
def test_every_name_and_argument_is_comfyuis(comfyui_dir: Path) -> None:
    """A node that is written against the host must run on ComfyUI."""
    import inspect

    pythons = [comfyui_dir / ".venv/bin/python", comfyui_dir / ".venv/Scripts/python.exe"]
    python = next((str(path) for path in pythons if path.exists()), sys.executable)
    answer = subprocess.run(
        [python, "-c", REAL_API],
        cwd=comfyui_dir,
        input=json.dumps(io.__all__),
        capture_output=True,
        text=True,
        check=True,
    )
    real = json.loads(answer.stdout.splitlines()[-1])
    assert set(io.__all__) <= set(real["io"])
    assert set(host.ui.__all__) <= set(real["ui"])
    for name, io_type in real["types"].items():
        assert getattr(io, name).io_type == io_type
    # What an older one does not know yet; what it knows must be ours, in its order.
    unknown: list[str] = []
    hidden = {item.name: item.value for item in io.Hidden}
    assert real["hidden"].items() <= hidden.items()
    unknown += hidden.keys() - real["hidden"].keys()
    for name, parameters in real["parameters"].items():
        cls: Any = io
        for part in name.split("."):
            cls = getattr(cls, part)
        ours = [each for each in inspect.signature(cls.__init__).parameters if each != "self"]
        assert [each for each in ours if each in parameters] == parameters, name
        unknown += [f"{name}({each})" for each in ours if each not in parameters]
    if unknown:
        pytest.skip(f"this ComfyUI is older than what the host follows: it knows no {unknown[0]}")


def test_install_puts_the_host_in_this_process_only() -> None:
    code = (
        "import importlib.util; assert importlib.util.find_spec('comfy_api') is None\n"
        "from orchestrator.engine import host; host.install(); host.install()\n"
        "from comfy_api.latest import ComfyExtension, io, ui\n"
        "assert io.ComfyNode is host.ComfyNode and ui.SavedImages and ComfyExtension\n"
        "import sys; assert 'torch' not in sys.modules, 'the host must be quick to import'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_clashing_id_is_refused() -> None:
    class Clash(Everything):
        @classmethod
        def define_schema(cls) -> io.Schema:
            return io.Schema("Clash", inputs=[io.Int.Input("a")], outputs=[io.Int.Output("a")])

    with pytest.raises(ValueError, match="'a'"):
        Clash.GET_SCHEMA()


def test_a_running_node_cannot_change_its_class() -> None:
    clone = Everything.PREPARE_CLASS_CLONE(host.HiddenHolder(unique_id="7"))
    assert clone.hidden.unique_id == "7"
    assert Everything.hidden.unique_id is None
    with pytest.raises(AttributeError, match="read-only"):
        clone.counter = 1  # type: ignore[attr-defined]


def test_expansion_is_refused_with_a_reason() -> None:
    with pytest.raises(NotImplementedError, match="expands"):
        io.NodeOutput(expand={})


def test_outside_a_run_the_host_is_quiet() -> None:
    host.context().progress(1, 2)
    host.context().check_interrupted()
