"""The device that the engine computes on."""

from __future__ import annotations

import os

import torch

from comfy_nodes.memory import current_device
from comfy_nodes.placing import Where

from ...errors import UsageError

# Which device to use, where a person says so: cpu, cuda or mps.
DEVICE = "SPRITEWORKS_DEVICE"

_CPU = torch.device("cpu")


def best_device() -> torch.device:
    """The device that a person chose, else the accelerator where there is one, else the CPU.

    Raises UsageError where the one that was chosen is not there.
    """
    wanted = os.environ.get(DEVICE, "")
    there = {
        "": True,
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there.get(wanted, False):
        raise UsageError(f"there is no device {wanted!r} on this machine that torch can use")
    if wanted == "cuda" or not wanted:
        return current_device()
    return torch.device(wanted)


def device_at(where: Where, device: torch.device) -> torch.device:
    """torch's device for a place of a model that is for `device`."""
    return _CPU if where is Where.CPU else device
