"""The graphs under workflows/batches on the embedded engine and on real ComfyUI: they agree."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from comfy_nodes.folders import MODEL_FILES
from orchestrator.library import Value, connect

MODEL, LORA = "stands-in-for-a-larger-one", "stands-in-for-pixel-art.safetensors"
# Few steps, and a sampler whose noise every version seeds alike: what is tested is the way.
SETTINGS: dict[str, Value] = {"steps": 2, "seed": 11, "sampler": "euler"}
Pixels = np.ndarray


@pytest.fixture(scope="module")
def supplied(supplies: Any) -> dict[str, Value]:
    """A model and a LoRA for it where the servers look, and the settings that name them."""
    folder = supplies.models / "diffusers" / MODEL
    shutil.copytree(MODEL_FILES / "spriteworks-starter", folder)
    (weights,) = (folder / "unet").glob("*.safetensors")
    with safe_open(weights, "numpy") as unet:
        name = min(key for key in unet.keys() if key.endswith("attn1.to_q.weight"))  # noqa: SIM118
        wide, narrow = unet.get_slice(name).get_shape()
    rng = np.random.default_rng(5)
    key = f"lora_unet_{name.removesuffix('.weight').replace('.', '_')}"
    pair = {"lora_up": (wide, 4), "lora_down": (4, narrow)}
    save_file(
        {
            f"{key}.{part}.weight": rng.normal(0, 1, shape).astype("float32")
            for part, shape in pair.items()
        },
        supplies.models / "loras" / LORA,
    )
    return {"model": MODEL, "LoRA.lora_name": LORA}


def run(url: str, repository: Path, name: str, settings: dict[str, Value]) -> Pixels:
    """The one picture of a graph."""
    with connect(url) as server:
        path = repository / "workflows" / "batches" / name
        (picture,) = server.run(path, timeout=400, settings={**SETTINGS, **settings}).pictures
    return np.asarray(picture.image().convert("RGBA"), int)


def test_a_lora_changes_the_sprite_and_only_by_its_strength(
    engine_url: str, repository: Path, supplied: dict[str, Value]
) -> None:
    with_it = run(engine_url, repository, "sprite-lora.json", supplied)
    none: dict[str, Value] = {"LoRA.strength_model": 0.0, "LoRA.strength_clip": 0.0}
    without = run(engine_url, repository, "sprite-lora.json", {**supplied, **none})
    plain = run(engine_url, repository, "../api/sprite.json", {"model": MODEL})
    np.testing.assert_array_equal(without, plain)
    assert with_it.shape != plain.shape or (with_it != plain).any()


@pytest.mark.comfyui
def test_a_lora_gives_the_same_sprite_on_comfyui(
    engine_url: str, comfyui_url: str, repository: Path, supplied: dict[str, Value]
) -> None:
    ours = run(engine_url, repository, "sprite-lora.json", supplied)
    theirs = run(comfyui_url, repository, "sprite-lora.json", supplied)
    assert np.abs(ours - theirs).max() <= 1


def test_a_tile_fills_its_square(engine_url: str, repository: Path) -> None:
    tile = run(engine_url, repository, "tile.json", {})
    assert (tile[..., 3] == 255).all()
    assert len(np.unique(tile[..., :3].reshape(-1, 3), axis=0)) <= 16


@pytest.mark.comfyui
def test_a_tile_is_the_same_on_comfyui(engine_url: str, comfyui_url: str, repository: Path) -> None:
    ours = run(engine_url, repository, "tile.json", {})
    theirs = run(comfyui_url, repository, "tile.json", {})
    assert np.abs(ours - theirs).max() <= 1
