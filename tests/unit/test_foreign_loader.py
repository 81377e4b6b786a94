"""A loader that nobody has heard of is known by what it is: role, settings, ladder, affinity."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.batch.execution import plan as plans
from orchestrator.batch.execution.manifest_files import load
from orchestrator.batch.logic.easing import eased, rungs
from orchestrator.batch.logic.planning import Planner
from orchestrator.batch.logic.retry import LADDER, Degradation
from orchestrator.bench.variants import OfferedSettings
from orchestrator.workflow.catalogue import Catalogue
from orchestrator.workflow.roles import parameters, set_parameters, split_settings

REPOSITORY = Path(__file__).resolve().parent.parent.parent
THEIRS = {
    "input": {
        "required": {
            "weights": [["a.safetensors", "XL/b.safetensors"]],
            "kind": [["plain", "fancy"]],
            "precision": [["auto", "fp32", "fp16"], {"default": "auto"}],
            "offload": [["auto", "none", "model"], {"default": "auto"}],
            "vae_tiling": [["auto", "off", "on"], {"default": "auto"}],
        }
    },
    "output": ["MODEL", "CLIP", "VAE", "INT", "INT"],
    "python_module": "custom_nodes.theirs",
}
INPUTS = {
    "weights": "a.safetensors",
    "kind": "plain",
    "precision": "auto",
    "offload": "auto",
    "vae_tiling": "auto",
}


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    path = REPOSITORY / "tests" / "data" / "canvas" / "object_info.json"
    return Catalogue({**json.loads(path.read_text(encoding="utf-8")), "TheirLoader": THEIRS})


@pytest.fixture
def graph() -> Any:
    path = REPOSITORY / "workflows" / "api" / "sprite.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    found["1"] = {"class_type": "TheirLoader", "inputs": dict(INPUTS)}
    return found


def test_the_role(graph: Any, catalogue: Catalogue) -> None:
    assert parameters(graph, catalogue)["model"] == "a.safetensors"
    changed = set_parameters(graph, split_settings(["model=XL\\b.safetensors"]), catalogue)
    assert changed["1"]["inputs"] == {**INPUTS, "weights": "XL/b.safetensors"}


def test_the_ladder(graph: Any, catalogue: Catalogue) -> None:
    assert rungs(graph, catalogue, together=4) == LADDER
    made = eased(graph, Degradation(vae_tiling=True, offload=True), catalogue)
    assert made["1"]["inputs"] == {**INPUTS, "vae_tiling": "on", "offload": "model"}
    assert made["7"]["class_type"] == "VAEDecode"


def test_the_settings(graph: Any, catalogue: Catalogue) -> None:
    offered = OfferedSettings.of(graph, catalogue, "theirs.json")
    assert offered.nodes == {"1": ("precision", "vae_tiling", "offload")}


def test_the_affinity(graph: Any, catalogue: Catalogue, tmp_path: Path) -> None:
    path = tmp_path / "batch.yaml"
    path.write_text(
        "name: b\nworkflow: sprite\nvars: {m: [a.safetensors, XL/b.safetensors]}\n"
        "items: [{id: x, prompt: p, set: {model: '{m}'}}]\n",
        encoding="utf-8",
    )
    planner = Planner(graph, catalogue, lambda value: None)
    jobs = list(plans.jobs_of(load(path), planner))
    assert sorted(job.model for job in jobs) == ["XL/b.safetensors", "a.safetensors"]


def test_the_version_of_our_own_loader_is_its_model(graph: Any) -> None:
    versions = {
        "input": {
            "required": {"version": [["v1-5", "sdxl"]], "precision": [["auto"]]},
            "optional": {"download": ["BOOLEAN", {}]},
        },
        "output": ["MODEL", "CLIP", "VAE", "INT", "INT"],
    }
    path = REPOSITORY / "tests" / "data" / "canvas" / "object_info.json"
    declared = json.loads(path.read_text(encoding="utf-8"))
    known = Catalogue({**declared, "SpriteworksStableDiffusionLoader": versions})
    graph["1"] = {
        "class_type": "SpriteworksStableDiffusionLoader",
        "inputs": {"version": "v1-5", "precision": "auto"},
    }
    assert parameters(graph, known)["model"] == "v1-5"
    assert (
        set_parameters(graph, split_settings(["model=sdxl"]), known)["1"]["inputs"]["version"]
        == "sdxl"
    )
