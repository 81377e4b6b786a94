"""Weights that come to the device for the time in which they are needed.

What rests in system memory stays there: the device gets copies, and loses them afterwards. Nothing
is carried back, since a network that only computes changes none of its weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def lent(network: nn.Module, device: torch.device) -> Iterator[None]:
    """The whole network on the device."""
    copies: dict[int, torch.Tensor] = {}
    with ExitStack() as loans:
        for module in network.modules():
            loans.callback(_restore, module, _lend(module, device, copies))
        yield


@contextmanager
def lent_by_layer(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Each layer on the device only while it computes: slow, and never more than one layer there.

    Only layers that have weights of their own count; they are called one after another.
    """
    with ExitStack() as hooks:
        for module in network.modules():
            if _own(module):
                hooks.callback(_LayerLoan(module, device).end)
        yield


class _LayerLoan:
    """Lends one layer's weights around each of its calls."""

    def __init__(self, module: nn.Module, device: torch.device) -> None:
        self._device = device
        self._resting: dict[str, Any] | None = None
        self._module = module
        self._hooks = [
            module.register_forward_pre_hook(self._before),
            # Also after an error, so that the next run finds the weights where they belong.
            module.register_forward_hook(self._after, always_call=True),
        ]

    def end(self) -> None:
        """Take the hooks off again."""
        for hook in self._hooks:
            hook.remove()
        self._give_back()

    def _before(self, module: nn.Module, _inputs: Any) -> None:
        self._resting = _lend(module, self._device, {})

    def _after(self, _module: nn.Module, _inputs: Any, _output: Any) -> None:
        self._give_back()

    def _give_back(self) -> None:
        if self._resting is not None:
            _restore(self._module, self._resting)
            self._resting = None


def _own(module: nn.Module) -> dict[str, Any]:
    """The module's own parameters and buffers, without its children's, by name."""
    tensors = {**module._parameters, **module._buffers}
    return {name: tensor for name, tensor in tensors.items() if tensor is not None}


def _lend(
    module: nn.Module, device: torch.device, copies: dict[int, torch.Tensor]
) -> dict[str, Any]:
    """Put copies on the device in place of the module's own tensors, and give those back.

    `copies` holds those made so far, so that a tensor in two places is copied once.
    """
    resting = {name: t for name, t in _own(module).items() if t.device != device}
    for name, tensor in resting.items():
        if id(tensor) not in copies:
            copy = tensor.detach().to(device)
            is_parameter = isinstance(tensor, nn.Parameter)
            copies[id(tensor)] = nn.Parameter(copy, requires_grad=False) if is_parameter else copy
        _put(module, name, copies[id(tensor)])
    return resting


def _restore(module: nn.Module, resting: dict[str, Any]) -> None:
    for name, tensor in resting.items():
        _put(module, name, tensor)


def _put(module: nn.Module, name: str, tensor: Any) -> None:
    place = module._parameters if name in module._parameters else module._buffers
    place[name] = tensor
