"""Models and LoRAs that are not what they say get a sentence with the file's name."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from comfy_nodes.errors import PackError
from comfy_nodes.settings import LoaderSettings
from orchestrator.engine.handles.handles import Loaded
from orchestrator.engine.models.loading import load_checkpoint, load_diffusers
from orchestrator.engine.models.lora import apply_lora, read_lora

UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def loaded(tiny_models: Path) -> Loaded:
    return load_diffusers(tiny_models / "tiny-sd1", LoaderSettings())


@pytest.fixture(scope="module")
def target(loaded: Loaded) -> tuple[str, int, int]:
    """A weight that LoRAs change: kohya's name for it, and its sides."""
    network = loaded.model.unet.module
    name = next(n for n, _ in network.named_parameters() if n.endswith("attn1.to_q.weight"))
    out, into = network.get_parameter(name).shape
    return f"lora_unet_{name.removesuffix('.weight').replace('.', '_')}", out, into


def told(work: Callable[[], Any], name: str) -> str:
    with pytest.raises(PackError) as caught:
        work()
    text = str(caught.value)
    assert name in text
    assert "\n" not in text
    return text


NAN, INF = float("nan"), float("inf")
LORAS: dict[str, Callable[[int, int], dict[str, torch.Tensor]]] = {
    "nan": lambda out, into: {"up": torch.full((out, 2), NAN), "down": torch.zeros(2, into)},
    "infinite": lambda out, into: {"up": torch.ones(out, 2), "down": torch.full((2, into), INF)},
    "nan among many": lambda out, into: {
        "up": torch.zeros(out, 2).index_fill(0, torch.tensor([1]), NAN).half(),
        "down": torch.zeros(2, into).half(),
    },
    "whole numbers": lambda out, into: {
        "up": torch.zeros(out, 2).long(),
        "down": torch.zeros(2, into).long(),
    },
    "no rank": lambda out, into: {"up": torch.zeros(out, 0), "down": torch.zeros(0, into)},
    "several alphas": lambda out, into: {
        "up": torch.zeros(out, 2),
        "down": torch.zeros(2, into),
        "alpha": torch.ones(3),
    },
    "nan as alpha": lambda out, into: {
        "up": torch.zeros(out, 2),
        "down": torch.zeros(2, into),
        "alpha": torch.tensor(NAN),
    },
    "odd middle": lambda out, into: {
        "up": torch.zeros(out, 2),
        "down": torch.zeros(2, into),
        "mid": torch.zeros(7, 7, 3, 3),
    },
    "single numbers": lambda out, into: {"up": torch.tensor(1.0), "down": torch.tensor(1.0)},
    "turned": lambda out, into: {"up": torch.zeros(2, out), "down": torch.zeros(into, 2)},
    "nothing": lambda out, into: {},
}


@pytest.mark.parametrize("kind", LORAS)
def test_a_lora_that_lies(
    kind: str, loaded: Loaded, target: tuple[str, int, int], tmp_path: Path
) -> None:
    name, out, into = target
    parts = {"up": "lora_up.weight", "down": "lora_down.weight", "mid": "lora_mid.weight"}
    path = tmp_path / "lies.safetensors"
    weights = LORAS[kind](out, into)
    save_file({f"{name}.{parts.get(key, key)}": one for key, one in weights.items()}, path)
    told(
        lambda: apply_lora(loaded.model, loaded.clip, read_lora(path), 1.0, 1.0, path.name), "lies"
    )


def _one(dtype: str, shape: list[int], start: int, end: int) -> bytes:
    entry = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    return json.dumps({"a": entry}).encode()


@pytest.mark.parametrize(
    ("header", "length"),
    [
        (b"{}", 2**62),
        (b"{}", 10**8),
        (b"[" * 50_000, None),
        (b'{"\xff": 1}', None),
        (_one("F99", [1], 0, 4), None),
        (_one("F32", [9], 0, 36), None),
        (_one("F32", [1], 4, 0), None),
        (_one("F32", [-1], 0, 4), None),
        (_one("F32", [2**63, 2**63], 0, 4), None),
        (_one("F4", [8], 0, 4), None),
        (_one("U32", [1], 0, 4), None),
    ],
)
def test_a_header_that_lies(header: bytes, length: int | None, tmp_path: Path) -> None:
    path = tmp_path / "lies.safetensors"
    size = struct.pack("<Q", len(header) if length is None else length)
    path.write_bytes(size + header + b"\0" * 4)
    told(lambda: load_checkpoint(path, LoaderSettings()), "lies.safetensors")


@pytest.fixture
def folder(tiny_models: Path, tmp_path: Path) -> Path:
    shutil.copytree(tiny_models / "tiny-sd1", tmp_path / "lies")
    return tmp_path / "lies"


def _changed(path: Path, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    weights = load_file(path)
    name = next(name for name in sorted(weights) if name.endswith("attn1.to_q.weight"))
    weights[name] = change(weights[name]).contiguous()
    save_file(weights, path)


@pytest.mark.parametrize(
    "change",
    [
        lambda weight: weight.index_fill(0, torch.tensor([0]), NAN),
        lambda weight: weight.index_fill(1, torch.tensor([0]), -INF),
        lambda weight: weight.reshape(weight.shape[0] // 2, weight.shape[1] * 2),
        lambda weight: weight.to(torch.int32),
        lambda weight: weight.flatten(),
    ],
)
def test_a_weight_that_lies(folder: Path, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    _changed(folder / UNET, change)
    assert "to_q" in told(lambda: load_diffusers(folder, LoaderSettings()), "lies/unet")


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("unet", "block_out_channels", "wide"),
        ("unet", "block_out_channels", []),
        ("unet", "attention_head_dim", 0),
        ("unet", "cross_attention_dim", None),
        ("unet", "norm_num_groups", 7),
        ("vae", "scaling_factor", "large"),
        ("vae", "latent_channels", -4),
        ("text_encoder", "num_attention_heads", 0),
        ("text_encoder", "hidden_act", "no such"),
        ("text_encoder", "vocab_size", "many"),
        ("scheduler", "num_train_timesteps", "many"),
        ("scheduler", "beta_start", []),
    ],
)
def test_a_config_that_lies(folder: Path, part: str, key: str, value: object) -> None:
    path = folder / part / ("scheduler_config.json" if part == "scheduler" else "config.json")
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**config, key: value}), encoding="utf-8")
    told(lambda: load_diffusers(folder, LoaderSettings()), "lies")
