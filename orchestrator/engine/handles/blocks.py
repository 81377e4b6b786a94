"""The blocks of a network, and asking at each of them whether the run is to stop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from ..stopping import check_interrupted


@contextmanager
def stoppable(network: nn.Module) -> Iterator[None]:
    """Each block of the network asks before it computes; a call may end with InterruptedByUser.

    Not where torch compiles the network or its blocks: hooks would make it compile them anew.
    """
    hooks = [
        block.register_forward_pre_hook(_ask)
        for block in ([] if _is_compiled(network) else blocks_of(network))
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def blocks_of(network: nn.Module) -> list[nn.Module]:
    """What is repeated in a network and has parts of its own: residual blocks, transformer blocks.

    Of the blocks in other blocks both are given.
    """
    found = {
        id(block): block
        for module in network.modules()
        if isinstance(module, nn.ModuleList)
        for block in module
        if next(block.children(), None) is not None
    }
    return list(found.values())


def _is_compiled(network: nn.Module) -> bool:
    return any(module._compiled_call_impl is not None for module in network.modules())


def _ask(_module: nn.Module, _inputs: Any) -> None:
    check_interrupted()
