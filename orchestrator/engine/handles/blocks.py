"""The blocks of a network, and asking at each of them whether the run is to stop.

Attention over many tokens takes minutes on a CPU, in one call: there it is computed for some
queries after others, and asked between them, too. Each query's answer is its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from ..stopping import check_interrupted

# Products of a query with a key on a CPU at once: they take two cores 0.2 s with 64 channels.
_PRODUCTS = 2**26
# Tokens below which attention is far from that; nothing is looked at there.
_FEW = 2048


@contextmanager
def stoppable(network: nn.Module) -> Iterator[None]:
    """Each block of the network asks before it computes; a call may end with InterruptedByUser.

    Not where torch compiles the network or its blocks: hooks would make it compile them anew.
    """
    if _is_compiled(network):
        yield
        return
    hooks = [block.register_forward_pre_hook(_ask) for block in blocks_of(network)]
    layers: list[Any] = [layer for layer in network.modules() if hasattr(layer, "set_processor")]
    processors: list[Any] = [layer.processor for layer in layers]
    for layer, processor in zip(layers, processors, strict=True):
        layer.processor = _Parted(processor)
    try:
        yield
    finally:
        for layer, processor in zip(layers, processors, strict=True):
            layer.processor = processor
        for hook in hooks:
            hook.remove()


class _Parted:
    """diffusers' processor of an attention layer, whose long calls ask amid their work."""

    def __init__(self, processor: Any) -> None:
        self.processor = processor

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
    ) -> torch.Tensor:
        given = (attn, hidden_states, encoder_hidden_states, attention_mask)
        # diffusers looks for its name here; ours does not take one
        more = {} if temb is None else {"temb": temb}
        # [B, tokens, C] in a UNet, [B, C, H, W] in a VAE
        tokens = hidden_states[0].numel() // attn.to_q.in_features
        if hidden_states.device.type != "cpu" or tokens < _FEW:
            answer: torch.Tensor = self.processor(*given, **more)
        else:
            with _Asking():
                answer = self.processor(*given, **more)
        return answer


class _Asking(TorchFunctionMode):
    """Asks before each of torch's functions, and parts attention over many tokens."""

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        check_interrupted()
        kwargs = kwargs or {}
        if function is nn.functional.scaled_dot_product_attention:
            return _in_parts(*args, **kwargs)
        return function(*args, **kwargs)


def _in_parts(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **more: Any,
) -> torch.Tensor:
    """torch's attention over [B, heads, tokens, D], for some queries after others."""
    attend = nn.functional.scaled_dot_product_attention
    step = max(1, _PRODUCTS // (query.shape[:-2].numel() * key.shape[-2]))
    if step >= query.shape[-2] or attn_mask is not None or is_causal:
        return attend(query, key, value, attn_mask, dropout_p, is_causal, **more)
    answers = []
    for part in query.split(step, dim=-2):
        check_interrupted()
        answers.append(attend(part, key, value, None, dropout_p, **more))
    return torch.cat(answers, dim=-2)


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
