"""The order of a network's convolution weights in memory."""

from __future__ import annotations

import torch
from torch import nn

from ..settings import MemoryFormat

_FORMATS = {
    MemoryFormat.CONTIGUOUS: torch.contiguous_format,
    MemoryFormat.CHANNELS_LAST: torch.channels_last,
}


def set_memory_format(network: nn.Module, wanted: MemoryFormat) -> None:
    """The order of the convolutions' weights, of this network's own tensors. `auto` leaves it."""
    if wanted is MemoryFormat.AUTO:
        return
    order = _FORMATS[wanted]
    for parameter in network.parameters():
        if parameter.ndim == 4 and not parameter.is_contiguous(memory_format=order):
            parameter.data = parameter.data.contiguous(memory_format=order)


def has_memory_format(network: nn.Module, wanted: MemoryFormat) -> bool:
    """Whether set_memory_format would change nothing."""
    if wanted is MemoryFormat.AUTO:
        return True
    return all(
        parameter.is_contiguous(memory_format=_FORMATS[wanted])
        for parameter in network.parameters()
        if parameter.ndim == 4
    )
