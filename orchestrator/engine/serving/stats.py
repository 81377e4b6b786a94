"""What `/system_stats` says of this machine, in ComfyUI's form."""

from __future__ import annotations

import platform
import sys
from typing import Any

import psutil

from ...version import __version__

# Old clients read ComfyUI's version to know the protocol; this is the one that we follow.
PROTOCOL_VERSION = "0.33.0"


def system_stats() -> dict[str, Any]:
    """Memory in bytes, and what runs here."""
    import torch

    memory = psutil.virtual_memory()
    return {
        "system": {
            "os": sys.platform,
            "ram_total": memory.total,
            "ram_free": memory.available,
            "comfyui_version": PROTOCOL_VERSION,
            "spriteworks_version": __version__,
            "python_version": sys.version,
            "pytorch_version": str(torch.__version__),
            "embedded_python": False,
            "argv": sys.argv,
        },
        "devices": [_device(memory.total, memory.available)],
    }


def _device(ram_total: int, ram_free: int) -> dict[str, Any]:
    import torch

    from ..tuning.devices import best_device

    device = best_device()
    if device.type != "cuda":
        kind, index = device.type, None
        name = f"mps {platform.machine()}" if kind == "mps" else kind
        total, free, torch_total, torch_free = ram_total, ram_free, ram_total, ram_free
    else:
        kind, index = "cuda", torch.cuda.current_device()
        name = f"cuda:{index} {torch.cuda.get_device_name(index)}"
        free, total = torch.cuda.mem_get_info(index)
        torch_total = torch.cuda.memory_reserved(index)
        torch_free = torch_total - torch.cuda.memory_allocated(index)
        free += torch_free
    return {
        "name": name,
        "type": kind,
        "index": index,
        "vram_total": total,
        "vram_free": free,
        "torch_vram_total": torch_total,
        "torch_vram_free": torch_free,
    }
