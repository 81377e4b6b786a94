"""ComfyUI's dynamic memory in a process of ours: the real one on a card, or imitated on a CPU.

Imitated, what stands in the host's own code stays its own: which layers are made without weights,
what a patcher does with them when it loads a model, how layers cast them. The memory is not: no
page is swapped, buffers of pinned memory are empty, and weights lie where the file's lie. A LoRA's
part in large layers is added by the paging itself, and so is not seen here.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


class _Buffer:
    """In place of a buffer of pinned memory, which only a driver for a card has."""

    size = 0

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def truncate(self, *_: Any, **__: Any) -> None:
        pass


def _load_safetensors(path: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Weights and texts of a file; the host's reads it by the driver's own mapping."""
    import safetensors

    with safetensors.safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118


def prepare() -> None:
    """On a card, before torch is imported: lets the driver's allocations be taken over."""
    import_module("comfy_aimdo.control").init()


def turn_on_real() -> bool:
    """On a card, as ComfyUI's main does; False where this machine's driver does not allow it."""
    import torch

    control: Any = import_module("comfy_aimdo.control")
    cards = range(torch.cuda.device_count())
    try:
        there = control.init_devices((card, 0) for card in cards)
    except TypeError:  # older ones want no headroom
        there = control.init_devices(iter(cards))
    if there:
        patchers: Any = import_module("comfy.model_patcher")
        patchers.CoreModelPatcher = patchers.ModelPatcherDynamic
        import_module("comfy.memory_management").aimdo_enabled = True  # type: ignore[attr-defined]
    return bool(there)


def imitate() -> bool:
    """Turns it on for the rest of the process; False where this ComfyUI has none."""
    patchers: Any = import_module("comfy.model_patcher")
    if not hasattr(patchers, "ModelPatcherDynamic"):
        return False
    import_module("comfy_aimdo.host_buffer").HostBuffer = _Buffer  # type: ignore[attr-defined]

    class Dynamic(patchers.ModelPatcherDynamic):  # type: ignore[misc]
        """The host's, on a CPU too, for which it would make a plain one."""

        def __new__(cls, *_: Any, **__: Any) -> Any:
            return object.__new__(cls)

        def partially_unload(self, *_: Any, **__: Any) -> int:
            """No page is anywhere else; the host's asks for a card."""
            restore = getattr(self, "restore_loaded_backups", int)  # since 0.24
            freed: int = restore() if hasattr(self, "backup") else 0
            return freed

    patchers.CoreModelPatcher = Dynamic
    import_module("comfy.utils").load_safetensors = _load_safetensors  # type: ignore[attr-defined]
    import_module("comfy.memory_management").aimdo_enabled = True  # type: ignore[attr-defined]
    return True
