"""Networks as the parts of a model, where their placement says and in its number formats."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import nn

from comfy_nodes.ops.dtypes import DTYPES
from comfy_nodes.ops.memory_format import set_memory_format
from comfy_nodes.placing import Dtype, Memory, PartPlacement, Placement, Where, place
from comfy_nodes.probe import this_device
from comfy_nodes.settings import LoaderSettings

from ..handles.handles import Part, Vae
from .devices import device_at
from .storage import narrow
from .tuning import tune_unet

_log = logging.getLogger(__name__)


def placed(settings: LoaderSettings, device: torch.device, parameters: int) -> Placement:
    """The placement of a model with a UNet of that many parameters on that device.

    Says in the log what the machine cannot do and what is done instead; raises UnsupportedSetting
    there where the settings are strict.
    """
    found = place(settings, this_device(device), parameters, Memory.FIXED)
    for note in found.notes:
        _log.warning("%s", note)
    return found


def unet_part(network: Any, placement: Placement, device: torch.device) -> Part:
    """A UNet that nothing else uses, tuned as the settings say."""
    part = _part(network, placement.unet, device)
    tune_unet(part, placement.settings)
    return part


def vae_handle(network: Any, placement: Placement, device: torch.device) -> Vae:
    """A VAE that nothing else uses. It is compiled only where a node asks for that alone."""
    part = _narrowed(_part(network, placement.vae, device))
    set_memory_format(network, placement.vae.memory_format)
    return Vae(part, placement.settings)


def text_part(network: nn.Module, placement: Placement, device: torch.device) -> Part:
    """A text encoder, which may be kept off the accelerator altogether."""
    return _narrowed(_part(network, placement.text, device))


def _part(network: Any, placement: PartPlacement, device: torch.device) -> Part:
    quantized, stored = placement.quantized, placement.stored
    narrower = None if stored is placement.computed else stored
    return Part(
        network,
        device_at(placement.device, device),
        device_at(placement.home or Where.DEVICE, device),
        DTYPES[placement.computed],
        storage=_torch(narrower),
        quantized=_torch(quantized),
        by_layer=placement.by_layer,
    )


def _torch(dtype: Dtype | None) -> torch.dtype | None:
    return None if dtype is None else DTYPES[dtype]


def _narrowed(part: Part) -> Part:
    if part.storage is not None:
        narrow(part.module, part.storage)
    return part
