"""Makes ComfyUI's model patchers, which hold a network and move its weights."""

from __future__ import annotations

from typing import Any

import comfy.model_management as management
import comfy.model_patcher
from torch import nn


def core_patcher(network: nn.Module) -> Any:
    """A patcher as ComfyUI's own loaders make it for a UNet: in dynamic memory where that is on."""
    plain = comfy.model_patcher.ModelPatcher
    return _patcher(getattr(comfy.model_patcher, "CoreModelPatcher", plain), network)


def plain_patcher(network: nn.Module) -> Any:
    """A patcher without dynamic memory."""
    return _patcher(comfy.model_patcher.ModelPatcher, network)


def plain_patcher_like(old: Any, network: nn.Module) -> Any:
    """A patcher without dynamic memory, on another one's devices."""
    return comfy.model_patcher.ModelPatcher(
        network, load_device=old.load_device, offload_device=old.offload_device
    )


def _patcher(kind: Any, network: nn.Module) -> Any:
    home = management.unet_offload_device()
    return kind(network, load_device=management.get_torch_device(), offload_device=home)
