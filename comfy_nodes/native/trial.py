"""How ComfyUI treats weights, seen at a network of two layers: built, loaded, cloned, run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import comfy.model_management as management
import comfy.ops
import torch
from torch import nn

from .offloading import release
from .patching import core_patcher

_WIDTH = 8
_BUILT, _STORED = torch.float32, torch.float16


@dataclass(frozen=True)
class Seen:
    """What the trial showed."""

    dynamic: bool
    casts: bool  # told to, a layer computes in its input's format
    clone_shares_network: bool
    shared: frozenset[str]  # the clone's containers that are the original's


class _Network(nn.Module):
    """A linear layer and a convolution of one pixel, both of ComfyUI's kind."""

    def __init__(self) -> None:
        super().__init__()
        layers = comfy.ops.disable_weight_init
        self.linear = layers.Linear(_WIDTH, _WIDTH, dtype=_BUILT)
        self.convolution = layers.Conv2d(_WIDTH, _WIDTH, 1, dtype=_BUILT)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """[N, WIDTH] in any format."""
        wide = self.linear(rows)[:, :, None, None]
        answer: torch.Tensor = self.convolution(wide)[:, :, 0, 0]
        return answer


def run(is_dynamic: Callable[[Any], bool]) -> Seen:
    """Loads the network as ComfyUI's own loaders do, computes with it once, and lets it go.

    `is_dynamic` says it of a patcher. Raises whatever ComfyUI and torch raise where that fails.
    """
    network = _Network()
    patcher = core_patcher(network)
    dynamic = is_dynamic(patcher)
    network.load_state_dict(_weights(), assign=dynamic)
    clone = patcher.clone()
    return Seen(
        dynamic=dynamic,
        casts=_casts(network, patcher),
        clone_shares_network=clone.model is network,
        shared=_shared(patcher, clone),
    )


def _weights() -> dict[str, torch.Tensor]:
    """Both layers double their input."""
    twice = 2 * torch.eye(_WIDTH, dtype=_STORED)
    none = torch.zeros(_WIDTH, dtype=_STORED)
    return {
        "linear.weight": twice,
        "linear.bias": none,
        "convolution.weight": twice[:, :, None, None].clone(),
        "convolution.bias": none.clone(),
    }


def _casts(network: Any, patcher: Any) -> bool:
    network.to(_STORED)
    for layer in (network.linear, network.convolution):
        layer.comfy_cast_weights = True
    rows = torch.ones(1, _WIDTH, dtype=_BUILT, device=patcher.load_device)
    management.load_models_gpu([patcher])
    try:
        with torch.no_grad():
            answer = network(rows)
    finally:
        release(network)
    return answer.dtype is _BUILT and bool((answer == 4).all())


def _shared(patcher: Any, clone: Any) -> frozenset[str]:
    """Names of the clone's containers that are the same objects as the original's."""
    return frozenset(
        name
        for name, value in vars(clone).items()
        if isinstance(value, dict | list | set) and value is getattr(patcher, name, None)
    )
