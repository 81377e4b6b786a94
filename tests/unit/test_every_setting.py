"""A setting is one field of LoaderSettings; these tests name the places that forgot it.

Inputs of nodes, variants of `spriteworks bench` and names for `--set` follow from the field. What
cannot is held here: the code that carries it out in each host, the guide's table, and the recorded
classes that the shipped workflows are checked against.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from comfy_nodes.settings import SETTINGS, LoaderSettings, Scope, Setting, settings_of_scope
from comfy_nodes.settings_inputs import bounds
from orchestrator.engine import host

host.install()

from comfy_nodes.loaders import CheckpointLoader, DiffusersLoader  # noqa: E402
from comfy_nodes.optimize import OptimizeModel, OptimizeVAE  # noqa: E402
from comfy_nodes.stable_diffusion import StableDiffusionLoader  # noqa: E402

LOADERS: list[Any] = [CheckpointLoader, DiffusersLoader, StableDiffusionLoader]
NODES: list[Any] = [*LOADERS, OptimizeModel, OptimizeVAE]

# What reads settings on behalf of both hosts; hardware.py decides, and carries nothing out.
SHARED = ("comfy_nodes/kernels.py", "comfy_nodes/placing.py", "comfy_nodes/ops")


pytestmark = pytest.mark.usefixtures("no_models")


# ---------------------------------------------------------------------------- the field


@pytest.mark.parametrize("name", SETTINGS)
def test_a_field_says_what_nodes_and_benchmarks_need(name: str) -> None:
    field, setting = LoaderSettings.model_fields[name], SETTINGS[name]
    assert setting.tooltip[0].isalnum()
    assert setting.tooltip.endswith(".")
    assert setting.scope
    kind: Any = field.annotation
    if issubclass(kind, Enum):
        own = {*(setting.dynamic or ()), *dict(setting.narrower), *filter(None, [setting.without])}
        assert all(isinstance(one, kind) for one in own)
    elif kind is not bool:
        assert {"min", "max"} <= set(bounds(LoaderSettings, name))
    for value in setting.tried or ():
        LoaderSettings.model_validate({name: value})


def test_narrower_choices_are_within_the_settings_own_scope() -> None:
    for setting in SETTINGS.values():
        assert all(scope & setting.scope for _, scope in setting.narrower)


def test_the_last_settings_of_a_loader_are_those_that_came_last() -> None:
    # Canvas files know fields by their order. A new setting goes behind these.
    names = [name for name in SETTINGS if SETTINGS[name].advanced]
    assert names[:14] == [
        "vae_precision",
        "vae_tile",
        "vae_overlap",
        "vae_slicing",
        "memory_format",
        "compile",
        "compile_mode",
        "quantization",
        "cudnn_benchmark",
        "fp16_accumulation",
        "tf32",
        "step_cache",
        "strict",
        "cpu_kernels",
    ]


# ---------------------------------------------------------------------------- the hosts


@pytest.mark.parametrize("host_folder", ["comfy_nodes/native", "orchestrator/engine"])
def test_each_host_carries_every_setting_out(repository: Path, host_folder: str) -> None:
    read = {name for part in (host_folder, *SHARED) for name in settings_read(repository / part)}
    assert [name for name in SETTINGS if name not in read] == []


def settings_read(place: Path) -> Iterator[str]:
    """What the Python files at a place read of whatever is called settings."""
    for path in [place] if place.is_file() else sorted(place.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
                owner = node.value
                called = owner.id if isinstance(owner, ast.Name) else owner.attr
                if called in ("settings", "spriteworks"):
                    yield "compile_mode" if node.attr == "torch_compile_mode" else node.attr


# ------------------------------------------------------------------------- what is written


def test_the_guide_lists_every_setting_as_its_field_has_it(repository: Path) -> None:
    guide = (repository / "docs" / "optimization-guide.md").read_text(encoding="utf-8")
    assert table() in guide, f"docs/optimization-guide.md should have:\n{table()}"


def table() -> str:
    """The table in the guide's chapter "All settings"."""
    head = "| setting | values | default | acts on | in dynamic memory |\n|---|---|---|---|---|"
    return "\n".join([head, *(row(name, setting) for name, setting in SETTINGS.items())])


def row(name: str, setting: Setting) -> str:
    default = LoaderSettings.model_fields[name].default
    acts_on = ", ".join(one.name or "" for one in Scope if one & setting.scope)
    dynamic = "all" if setting.dynamic is None else coded(one.value for one in setting.dynamic)
    cells = (f"`{name}`", values(name), coded([word(default)]), acts_on, dynamic)
    return f"| {' | '.join(cells)} |"


def values(name: str) -> str:
    kind: Any = LoaderSettings.model_fields[name].annotation
    if issubclass(kind, Enum):
        return coded(one.value for one in kind)
    if kind is bool:
        return coded(["false", "true"])
    limits = bounds(LoaderSettings, name)
    step = f" in steps of {limits['step']}" if "step" in limits else ""
    return f"{limits['min']} to {limits['max']}{step}"


def word(value: Any) -> str:
    plain = getattr(value, "value", value)
    return str(plain).lower() if isinstance(plain, bool) else str(plain)


def coded(words: Any) -> str:
    return ", ".join(f"`{one}`" for one in words)


def test_the_recorded_classes_have_every_setting(repository: Path) -> None:
    path = repository / "tests" / "data" / "canvas" / "object_info.json"
    recorded = json.loads(path.read_text(encoding="utf-8"))
    for node in NODES:
        schema = node.define_schema()
        if schema.node_id not in recorded:
            continue
        order = recorded[schema.node_id]["input_order"]
        known = [name for names in order.values() for name in names]
        assert sorted(known) == sorted(one.id for one in schema.inputs), schema.node_id


def test_the_optimize_nodes_share_out_all_settings() -> None:
    both = {*settings_of_scope(Scope.MODEL), *settings_of_scope(Scope.VAE)}
    assert both == set(SETTINGS)
