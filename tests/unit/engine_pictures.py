"""Pictures of the tiny models on the engine, for the tests of its settings."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from comfy_nodes.settings import LoaderSettings
from orchestrator.engine.handles.handles import Loaded, Model
from orchestrator.engine.models.loading import load_diffusers
from orchestrator.engine.models.vae import decode
from orchestrator.engine.sampling.conditioning import encode_text
from orchestrator.engine.sampling.sampling import SamplingRequest, sample

REQUEST = SamplingRequest(seed=3, steps=6, cfg=4.0, sampler="euler", scheduler="karras")


def load(tiny_models: Path, name: str = "tiny-sd1", **settings: Any) -> Loaded:
    return load_diffusers(tiny_models / name, LoaderSettings(**settings))


def sampled(
    loaded: Loaded, model: Model, report: Callable[[int, torch.Tensor], None] | None = None
) -> torch.Tensor:
    """Latents of `model` with the texts of `loaded`."""
    texts = [encode_text(loaded.clip, text) for text in ("a red potion", "")]
    empty = {"samples": torch.zeros(1, 4, 8, 8)}
    latent = sample(model, *texts, empty, REQUEST, report or (lambda *_: None))
    samples: torch.Tensor = latent["samples"]
    return samples


def picture(loaded: Loaded) -> torch.Tensor:
    return decode(loaded.vae, sampled(loaded, loaded.model))


def decibels(one: torch.Tensor, other: torch.Tensor) -> float:
    """Peak signal (1) to noise; infinite for the same picture."""
    error = float((one - other).square().mean())
    return math.inf if error == 0 else -10 * math.log10(error)


def unet(loaded: Loaded) -> Any:
    return loaded.model.unet.module


def compiled(network: nn.Module) -> list[str]:
    """Classes of the modules that torch compiles."""
    return [type(m).__name__ for m in network.modules() if m._compiled_call_impl is not None]
