"""A MODEL over other weights: loaded from its file again, or over a copy of its network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from ..errors import UnsupportedModel
from .compat import host, without_dynamic_memory

# What ComfyUI keeps of a MODEL in order to load it once more: a function, its arguments and, where
# that gives several, which one.
PatcherInit = tuple[Any, ...]
_PATCHER_INIT = "cached_patcher_init"


def set_patcher_init(patcher: Any, function: Callable[..., Any], *arguments: Any) -> None:
    """Tells ComfyUI how to load this MODEL once more, for another GPU or without dynamic memory.

    It calls `function(*arguments)`, with `disable_dynamic=True` where it must not be dynamic, and
    takes the patcher that comes back. Older versions ask for no such thing.
    """
    if hasattr(patcher, _PATCHER_INIT):
        setattr(patcher, _PATCHER_INIT, (function, arguments))


def patcher_init_of(patcher: Any) -> PatcherInit | None:
    """What set_patcher_init, or the loader that made the MODEL, has left there."""
    init: PatcherInit | None = getattr(patcher, _PATCHER_INIT, None)
    return init


def without_dynamic(patcher: Any, node: str) -> Any:
    """A clone over weights of its own that are not in dynamic memory, loaded from the file again.

    Settings, LoRAs and whatever else was put on the MODEL come along; weights have the number
    formats that ComfyUI gave them. Raises UnsupportedModel, naming the node, where the loader left
    no way to do that.
    """
    if patcher_init_of(patcher) is None:
        raise UnsupportedModel(
            f"{node}: these settings need weights that are not in ComfyUI's dynamic memory, and "
            "the node that loaded this model does not let ComfyUI load it again. Use one of "
            "ComfyUI's or Spriteworks' loaders, leave precision, quantization, memory_format, "
            "compile and offload on their defaults, or start ComfyUI with --disable-dynamic-vram."
        )
    return _with_own_records(patcher.clone(**without_dynamic_memory(patcher.clone)), patcher)


def load_again(init: PatcherInit) -> Any:
    """The patcher that it makes, not in dynamic memory, over weights that nobody else has."""
    function, arguments, *which = init
    found = function(*arguments, disable_dynamic=True)
    return found[which[0]] if which else found


def clone_over(patcher: Any, network: nn.Module) -> Any:
    """A clone of a MODEL over another network, which shares nothing that belongs to the weights."""
    clone = patcher.clone()
    clone.model = network
    clone.size = 0  # to be counted again
    return _with_own_records(clone, patcher)


def _with_own_records(clone: Any, patcher: Any) -> Any:
    """The clone with records of its own of what was done to its weights, which are others."""
    for name in host().shared:
        if getattr(clone, name) is getattr(patcher, name):
            setattr(clone, name, type(getattr(clone, name))())
    clone.parent = None  # that of the weights that were left behind
    return clone
