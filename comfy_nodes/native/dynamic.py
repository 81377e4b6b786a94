"""Which parts of a model stay in ComfyUI's dynamic memory, and which settings give it up.

There weights are as the file has them and come to the card page by page. What stores them
otherwise, orders them otherwise, says where they wait or compiles over them cannot be had there.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from ..settings import (
    Compile,
    LoaderSettings,
    MemoryFormat,
    Offload,
    Precision,
    Quantization,
    VaePrecision,
)
from .compat import host

_log = logging.getLogger(__name__)

# Values that dynamic memory can do, by the setting's name; any other gives it up.
_OF_BOTH: Mapping[str, frozenset[Enum]] = {
    "memory_format": frozenset({MemoryFormat.AUTO, MemoryFormat.CONTIGUOUS}),
    "offload": frozenset({Offload.AUTO, Offload.TEXT_ENCODER}),
}
_OF_MODEL: Mapping[str, frozenset[Enum]] = {
    "precision": frozenset({Precision.AUTO}),
    "quantization": frozenset({Quantization.OFF}),
    "compile": frozenset({Compile.OFF}),
    **_OF_BOTH,
}
_OF_VAE: Mapping[str, frozenset[Enum]] = {
    "vae_precision": frozenset({VaePrecision.AUTO}),
    **_OF_BOTH,
}


@dataclass(frozen=True)
class Kept:
    """Which parts stay in dynamic memory; the text encoders go with the UNet."""

    model: bool
    vae: bool


def kept(settings: LoaderSettings, *, wanted: bool = True) -> Kept:
    """For settings as they were asked for, before `auto` is resolved. Logs what gives it up.

    Neither part where ComfyUI has no dynamic memory, or it is not `wanted`.
    """
    if not (wanted and host().dynamic):
        return Kept(model=False, vae=False)
    model, vae = obstacles_of_model(settings), obstacles_of_vae(settings)
    named = list(dict.fromkeys([*model, *vae]))
    if named:
        _log.info(
            "Loading %s without ComfyUI's dynamic memory, because of %s.",
            _parts(bool(model), bool(vae)),
            " and ".join(f"{name} {getattr(settings, name).value}" for name in named),
        )
    return Kept(model=not model, vae=not vae)


def obstacles_of_model(settings: LoaderSettings) -> list[str]:
    """Names of the settings that a UNet in dynamic memory cannot have."""
    return _obstacles(settings, _OF_MODEL)


def obstacles_of_vae(settings: LoaderSettings) -> list[str]:
    """Names of the settings that a VAE in dynamic memory cannot have."""
    return _obstacles(settings, _OF_VAE)


def _obstacles(settings: LoaderSettings, possible: Mapping[str, frozenset[Enum]]) -> list[str]:
    return [name for name, values in possible.items() if getattr(settings, name) not in values]


def _parts(model: bool, vae: bool) -> str:
    if model and vae:
        return "the whole model"
    return "the UNet and the text encoders" if model else "the VAE"
