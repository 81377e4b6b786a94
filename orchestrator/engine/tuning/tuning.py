"""A loader's settings applied to networks: each to the one network that it is given.

Expects resolved settings (comfy_nodes/hardware.py): nothing here chooses, except where the
network itself does not allow what the device would.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

from torch import nn

from comfy_nodes.kernels import room_for_kinds, switched
from comfy_nodes.ops.memory_format import set_memory_format
from comfy_nodes.settings import Compile, CompileMode, LoaderSettings

from ..handles.handles import Part
from .attention import set_attention
from .storage import narrow, quantize

# diffusers' classes that stand many times in a UNet, or in a VAE.
_REPEATED = ("BasicTransformerBlock", "ResnetBlock2D")


def tune_unet(unet: Part, settings: LoaderSettings) -> None:
    """Stores, lays out and compiles this UNet as chosen, also again after a change of weights.

    Raises UnsupportedSetting when strict.
    """
    network = unet.module
    set_attention(network, settings)
    if unet.quantized is not None:
        quantize(network, unet.quantized)
    if unet.storage is not None:
        narrow(network, unet.storage)
    set_memory_format(network, settings.memory_format)
    compile_network(network, settings)


def compile_network(network: nn.Module, settings: LoaderSettings) -> None:
    """Has torch compile the network, or its repeated blocks, at the first call of each."""
    if settings.compile is Compile.OFF:
        return
    mode = settings.torch_compile_mode
    for module in _compiled_parts(network, settings.compile):
        module.compile(mode=mode)


def _compiled_parts(network: nn.Module, what: Compile) -> Iterator[nn.Module]:
    if what is Compile.BLOCKS:
        yield from (m for m in network.modules() if type(m).__name__ in _REPEATED)
    elif hasattr(network, "decoder"):
        # Of a VAE only these are called; the whole is two networks side by side.
        yield from (network.get_submodule("encoder"), network.get_submodule("decoder"))
    else:
        yield network


@contextmanager
def at_work(settings: LoaderSettings) -> Iterator[None]:
    """What a model's settings ask of the process, for as long as the model samples."""
    compiles = settings.compile is not Compile.OFF
    with switched(settings), room_for_kinds() if compiles else nullcontext():
        yield


def runs_in_graphs(settings: LoaderSettings) -> bool:
    """Whether the network's output lies in memory that its next call writes over."""
    return settings.compile is not Compile.OFF and settings.compile_mode is not CompileMode.DEFAULT


def twin(network: nn.Module, changed: Mapping[str, nn.Parameter] | None = None) -> Any:
    """A copy of the network's modules over the same weights, but for those that are `changed`.

    Its parameters are objects of its own, so that giving them another format leaves the
    original's as they are. It is not compiled, even where the original is.
    """
    memo: dict[int, Any] = {id(buffer): buffer for buffer in network.buffers()}
    for parameter in network.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.detach(), requires_grad=False)
    copied = copy.deepcopy(network, memo)
    for name, parameter in (changed or {}).items():
        owner, _, leaf = name.rpartition(".")
        setattr(copied.get_submodule(owner), leaf, parameter)
    return copied
