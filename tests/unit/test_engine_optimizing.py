"""Settings given to a MODEL or VAE of another loader, and LoRAs over a model with settings."""

from __future__ import annotations

import logging
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch

from comfy_nodes.errors import UnsupportedSetting
from comfy_nodes.settings import (
    Attention,
    Compile,
    LoaderSettings,
    MemoryFormat,
    Precision,
    Quantization,
)
from engine_pictures import compiled, decibels, load, picture, sampled, unet
from orchestrator.engine.handles.handles import Loaded
from orchestrator.engine.models.loading import load_diffusers
from orchestrator.engine.models.lora import apply_lora
from orchestrator.engine.models.vae import decode
from orchestrator.engine.tuning.optimizing import optimize_model, optimize_vae


def test_an_optimized_model_is_what_the_loader_makes(tiny_models: Path, plain: Loaded) -> None:
    for settings in (
        LoaderSettings(precision=Precision.BF16, attention=Attention.SLICED),
        LoaderSettings(memory_format=MemoryFormat.CHANNELS_LAST),
        LoaderSettings(precision=Precision.FP8),
        LoaderSettings(step_cache=0.3),
    ):
        loaded = load_diffusers(tiny_models / "tiny-sd1", settings)
        optimized = optimize_model(plain.model, settings)
        assert optimized.settings == loaded.model.settings
        # The texts of one loader: a loader's precision is its text encoders' too.
        expected = sampled(plain, loaded.model)
        assert torch.equal(sampled(plain, optimized), expected)


def test_optimizing_leaves_the_original_as_it_was(plain: Loaded, baseline: torch.Tensor) -> None:
    everything = LoaderSettings(
        precision=Precision.FP8,
        vae_precision="bf16",
        attention=Attention.SLICED,
        memory_format=MemoryFormat.CHANNELS_LAST,
        compile=Compile.BLOCKS,
    )
    optimize_model(plain.model, everything)
    optimize_vae(plain.vae, everything)
    assert torch.equal(picture(plain), baseline)
    same_format = optimize_model(plain.model, LoaderSettings(attention=Attention.FLASH))
    shared = zip(unet(plain).parameters(), same_format.unet.module.parameters(), strict=True)
    assert all(one.data_ptr() == other.data_ptr() for one, other in shared)


def test_optimizing_again_replaces_the_settings(plain: Loaded, baseline: torch.Tensor) -> None:
    once = optimize_model(
        plain.model,
        LoaderSettings(
            attention=Attention.SLICED,
            memory_format=MemoryFormat.CHANNELS_LAST,
            compile=Compile.WHOLE,
            step_cache=0.5,
        ),
    )
    again = optimize_model(once, LoaderSettings())
    assert torch.equal(decode(plain.vae, sampled(plain, again)), baseline)
    # 8 bits do not come back, but the layers are plain ones again.
    narrow = optimize_model(plain.model, LoaderSettings(precision=Precision.FP8))
    wide = optimize_model(narrow, LoaderSettings(precision=Precision.FP32)).unet.module
    assert {weight.dtype for weight in wide.parameters()} == {torch.float32}
    assert not any(type(module).__name__.startswith("Narrow") for module in wide.modules())


def test_what_the_machine_cannot_do_is_said_or_refused(
    tiny_models: Path, plain: Loaded, caplog: pytest.LogCaptureFixture
) -> None:
    if torch.cuda.is_available():
        pytest.skip("a card has the switch")
    with caplog.at_level(logging.WARNING, "orchestrator.engine"):
        loaded = load(tiny_models, cudnn_benchmark="on")
    assert len(caplog.records) == 1
    assert "cudnn_benchmark" in caplog.text
    assert loaded.model.settings.cudnn_benchmark.value == "off"
    for refuse in (
        lambda strict: load_diffusers(tiny_models / "tiny-sd1", strict),
        lambda strict: optimize_model(plain.model, strict),
        lambda strict: optimize_vae(plain.vae, strict),
    ):
        with pytest.raises(UnsupportedSetting, match="cudnn_benchmark"):
            refuse(LoaderSettings(cudnn_benchmark="on", strict=True))


# LoRAs over a tuned model


def lora_for(loaded: Loaded) -> dict[str, torch.Tensor]:
    name = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
    shape = unet(loaded).get_parameter(f"{name}.weight").shape
    generator = torch.Generator().manual_seed(0)
    return {
        f"unet.{name}.lora_B.weight": torch.randn(shape[0], 2, generator=generator) * 0.1,
        f"unet.{name}.lora_A.weight": torch.randn(2, shape[1], generator=generator) * 0.1,
        "lora_te_text_model_encoder_layers_0_mlp_fc1.diff": torch.full((128, 64), 1e-3),
    }


@pytest.mark.parametrize(
    "settings",
    [
        {"precision": Precision.FP8},
        {"precision": Precision.FP16},
        {"precision": Precision.BF16, "memory_format": MemoryFormat.CHANNELS_LAST},
        {"compile": Compile.BLOCKS},
        {"quantization": Quantization.INT8},
    ],
    ids=lambda settings: " ".join(settings),
)
def test_a_lora_keeps_the_settings(
    tiny_models: Path, plain: Loaded, settings: dict[str, Any]
) -> None:
    loaded = load(tiny_models, **settings)
    before = unet(loaded)
    model, clip = apply_lora(loaded.model, loaded.clip, lora_for(loaded), 1.0, 1.0)
    changed = model.unet.module
    text = loaded.clip.encoders[0].part.module
    pairs = [(before, changed), (text, clip.encoders[0].part.module)]
    weights = [zip(a.parameters(), b.parameters(), strict=True) for a, b in pairs]
    for one, other in chain(*weights):
        assert (one.dtype, one.stride()) == (other.dtype, other.stride())
    assert compiled(changed) == compiled(before)
    if "compile" not in settings:
        wanted = apply_lora(plain.model, plain.clip, lora_for(plain), 1.0, 1.0)[0]
        expected = decode(plain.vae, sampled(plain, wanted))
        assert decibels(decode(plain.vae, sampled(plain, model)), expected) >= 38.0
