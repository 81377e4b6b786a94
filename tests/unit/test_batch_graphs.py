"""Graphs of several seeds, and graphs made easier for a server; on real node declarations."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.batch.logic.easing import eased, rungs
from orchestrator.batch.logic.retry import LADDER, Degradation, Rung
from orchestrator.batch.logic.seed_batches import apart, batched, can_batch
from orchestrator.workflow.catalogue import Catalogue
from orchestrator.workflow.checking import validate

SEED_BATCH = {
    "input": {
        "required": {
            "model": ["MODEL"],
            "width": ["INT", {"default": 512, "min": 16, "max": 16384}],
            "height": ["INT", {"default": 512, "min": 16, "max": 16384}],
            "seed": ["INT", {"default": 0, "min": 0, "max": 2**64 - 1}],
            "batch_size": ["INT", {"default": 8, "min": 1, "max": 4096}],
        }
    },
    "output": ["MODEL", "LATENT"],
}


@pytest.fixture(scope="module")
def info(object_info: dict[str, Any]) -> Catalogue:
    return Catalogue(object_info)


@pytest.fixture(scope="module")
def object_info(repository: Path) -> dict[str, Any]:
    path = repository / "tests" / "data" / "comfyui" / "object_info.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    found["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"][0] = ["m.safetensors"]
    found["SpriteworksSeedBatch"] = SEED_BATCH
    return found


@pytest.fixture
def graph() -> dict[str, Any]:
    return {
        "1": {
            "class_type": "CheckpointLoaderSimple",
            "inputs": {"ckpt_name": "m.safetensors"},
        },
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a potion", "clip": ["1", 1]}},
        "3": {
            "class_type": "EmptyLatentImage",
            "inputs": {"width": 64, "height": 32, "batch_size": 1},
        },
        "4": {
            "class_type": "KSampler",
            "inputs": {
                "model": ["1", 0],
                "positive": ["2", 0],
                "negative": ["2", 0],
                "latent_image": ["3", 0],
                "seed": 7,
                "steps": 4,
                "cfg": 5.0,
                "sampler_name": "euler",
                "scheduler": "normal",
                "denoise": 1.0,
            },
        },
        "5": {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["1", 2]}},
        "6": {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "x"}},
    }


def test_seeds_become_one_graph_that_the_server_takes(graph: Any, info: Any) -> None:
    before = copy.deepcopy(graph)
    assert can_batch(graph, info)
    made = batched(graph, [7, 8, 9])
    assert graph == before
    assert validate(made, info) == []
    assert made["3"]["class_type"] == "SpriteworksSeedBatch"
    assert made["3"]["inputs"] == {
        "model": ["1", 0],
        "width": 64,
        "height": 32,
        "seed": 7,
        "batch_size": 3,
    }
    assert made["4"]["inputs"]["model"] == ["3", 0]
    assert made["4"]["inputs"]["latent_image"] == ["3", 1]


def test_a_graph_of_several_seeds_is_taken_apart_again(graph: Any) -> None:
    sampled = [copy.deepcopy(graph) for _ in range(3)]
    for number, one in enumerate(sampled):
        one["4"]["inputs"]["seed"] = 7 + number
    assert apart(batched(graph, [7, 8, 9])) == sampled
    assert apart(graph) == []
    odd = batched(graph, [7])
    odd["3"]["inputs"]["batch_size"] = 10**9
    assert apart(odd) == []


def test_seeds_that_do_not_follow_on_are_refused(graph: Any) -> None:
    with pytest.raises(ValueError, match="do not follow"):
        batched(graph, [7, 9])


@pytest.mark.parametrize(
    ("node", "change"),
    [
        # its steps depend on the whole batch
        ("4", {"sampler_name": "dpm_adaptive"}),
        # noise that is laid over all pictures at once
        ("4", {"sampler_name": "dpmpp_sde"}),
        ("3", {"batch_size": 2}),
        ("3", {"batch_size": ["1", 0]}),
    ],
)
def test_pictures_that_would_differ_are_made_one_by_one(
    graph: Any, info: Any, node: str, change: dict[str, Any]
) -> None:
    graph[node]["inputs"].update(change)
    assert not can_batch(graph, info)


def test_a_latent_that_others_use_is_left_alone(graph: Any, info: Any) -> None:
    graph["7"] = {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["1", 2]}}
    assert not can_batch(graph, info)


def test_a_node_that_mixes_pictures_forbids_it(graph: Any, info: Any) -> None:
    graph["7"] = {"class_type": "ImageBatch", "inputs": {"image1": ["5", 0], "image2": ["5", 0]}}
    graph["6"]["inputs"]["images"] = ["7", 0]
    assert not can_batch(graph, info)


def test_two_samplers_forbid_it(graph: Any, info: Any) -> None:
    graph["7"] = copy.deepcopy(graph["4"])
    assert not can_batch(graph, info)


def test_without_the_pack_there_are_no_batches(graph: Any, object_info: Any) -> None:
    poor = {name: one for name, one in object_info.items() if name != "SpriteworksSeedBatch"}
    assert not can_batch(graph, Catalogue(poor))


def test_a_graph_of_comfyui_decodes_in_its_own_tiles(
    graph: Any, info: Any, object_info: Any
) -> None:
    assert rungs(graph, info) == (Rung.FREE, Rung.VAE_TILING)
    assert rungs(graph, info, together=2) == (Rung.FREE, Rung.SMALLER_BATCH, Rung.VAE_TILING)
    # A server without that node has no such rung.
    bare = Catalogue({k: one for k, one in object_info.items() if k != "VAEDecodeTiled"})
    assert rungs(graph, bare) == (Rung.FREE,)
    assert eased(graph, Degradation(vae_tiling=True), bare) == graph
    made = eased(graph, Degradation(vae_tiling=True), info)
    assert made["5"]["class_type"] == "VAEDecodeTiled"
    assert made["5"]["inputs"]["samples"] == ["4", 0]
    assert validate(made, info) == []


def test_our_loaders_take_it_as_settings(graph: Any, repository: Path) -> None:
    path = repository / "tests" / "data" / "canvas" / "object_info.json"
    info = Catalogue(json.loads(path.read_text(encoding="utf-8")))
    graph["1"] = {
        "class_type": "SpriteworksDiffusersLoader",
        "inputs": {"model_name": "m", "vae_tiling": "auto", "offload": "auto"},
    }
    assert rungs(graph, info, together=4) == LADDER
    made = eased(graph, Degradation(vae_tiling=True, offload=True), info)
    assert made["1"]["inputs"] == {"model_name": "m", "vae_tiling": "on", "offload": "model"}
    assert made["5"]["class_type"] == "VAEDecode"
    assert graph["1"]["inputs"]["offload"] == "auto"


def test_a_choice_that_means_the_set_forbids_it(graph: Any, object_info: Any) -> None:
    mode = [["each", "shared"], {"whole_set": ["shared"], "default": "each"}]
    theirs = {
        "input": {"required": {"image": ["IMAGE", {"per_picture": True}], "mode": mode}},
        "output": ["IMAGE"],
    }
    info = Catalogue({**object_info, "TheirPalette": theirs})
    graph["7"] = {"class_type": "TheirPalette", "inputs": {"image": ["5", 0], "mode": "each"}}
    graph["6"]["inputs"]["images"] = ["7", 0]
    assert can_batch(graph, info)
    graph["7"]["inputs"]["mode"] = "shared"
    assert not can_batch(graph, info)
    del theirs["input"]["required"]["image"][1]["per_picture"]
    graph["7"]["inputs"]["mode"] = "each"
    assert not can_batch(graph, Catalogue({**object_info, "TheirPalette": theirs}))


def test_nothing_to_ease_changes_nothing(graph: Any, info: Any) -> None:
    assert eased(graph, Degradation(free=True), info) == graph
