"""Which weights are read where a diffusers folder has a part in fp16 and in full; no I/O.

The loader on ComfyUI, the engine and the hub's checks all ask here. diffusers and transformers
write MODEL.safetensors in full and MODEL.fp16.safetensors; large parts in shards, whose index is
MODEL.safetensors.index.json, or MODEL.safetensors.index.fp16.json.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from ..hardware import SMALL, Device, resolve
from ..settings import LoaderSettings, Precision

_SHARD = re.compile(r"-(\d{5})-of-(\d{5})\.safetensors")


def reads_half(settings: LoaderSettings, device: Device) -> bool:
    """Whether a folder's fp16 weights are read before its full ones.

    They are where the weights are kept in fp16 on this device, whether that was asked for, chosen
    by auto, or took the place of what the device cannot do. All else comes of the full weights, so
    that it is rounded once.
    """
    # No number of parameters decides between fp16 and the others.
    resolved = resolve(settings.model_copy(update={"strict": False}), device, SMALL)
    return resolved.settings.precision is Precision.FP16


def weights_file(there: Collection[str], stem: str, *, half: bool) -> str | None:
    """Of the file names `there` in a part's folder the one to begin with: weights, or their index.

    `stem` is "diffusion_pytorch_model" or "model". Without the variant that `half` asks for, the
    other one; None where there is none.
    """
    return next((name for name in _names(stem, half) if name in there), None)


def shards_of(index: str, there: Collection[str]) -> tuple[str, ...]:
    """The names of the shards that belong to an index, those that `there` lacks included.

    How many there are, each shard's name says; () where there is none to say so.
    """
    stem, _, rest = index.partition(".safetensors.index")
    whole = f"{stem}{rest.removesuffix('.json')}"
    counts = {
        found[2]
        for name in there
        if name.startswith(whole) and (found := _SHARD.fullmatch(name, len(whole)))
    }
    return tuple(
        f"{whole}-{number:05}-of-{count}.safetensors"
        for count in sorted(counts)
        for number in range(1, int(count) + 1)
    )


def is_index(name: str) -> bool:
    """Whether a name of `weights_file` is that of shards' index."""
    return name.endswith(".json")


def _names(stem: str, half: bool) -> list[str]:
    fp16 = [f"{stem}.fp16.safetensors", f"{stem}.safetensors.index.fp16.json"]
    full = [f"{stem}.safetensors", f"{stem}.safetensors.index.json"]
    return [*fp16, *full] if half else [*full, *fp16]
