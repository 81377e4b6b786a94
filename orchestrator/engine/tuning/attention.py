"""How a UNet computes its attention: processors for diffusers' attention layers."""

from __future__ import annotations

from typing import Any

import torch

from comfy_nodes.ops.attention import FUNCTIONS, Attend, possible
from comfy_nodes.settings import Attention, LoaderSettings


class Processor:
    """diffusers' attention layer with another function in its middle.

    For the layers of Stable Diffusion's transformer blocks, which have neither mask nor norm.
    """

    def __init__(self, attend: Attend) -> None:
        self.attend = attend

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """[B, tokens, C] to the same."""
        seen = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        q, k, v = (
            _split_heads(project(states), attn.heads)
            for project, states in (
                (attn.to_q, hidden_states),
                (attn.to_k, seen),
                (attn.to_v, seen),
            )
        )
        answer = self.attend(q, k, v).transpose(1, 2).flatten(2)
        return attn.to_out[1](attn.to_out[0](answer))


def set_attention(unet: Any, settings: LoaderSettings) -> None:
    """Makes this UNet, and no other, compute its attention as the (resolved) settings say.

    Raises UnsupportedSetting where the UNet's heads do not allow it and `strict` is set.
    """
    unet.set_attn_processor(_processor(possible(settings, head_widths(unet), unet.dtype)))


def head_widths(unet: Any) -> set[int]:
    """Channels of one head, of all attention layers."""
    from diffusers.models.attention_processor import Attention as Layer

    layers = (module for module in unet.modules() if isinstance(module, Layer))
    return {layer.inner_dim // layer.heads for layer in layers}


def _processor(attention: Attention) -> Any:
    from diffusers.models.attention_processor import AttnProcessor2_0

    function = FUNCTIONS.get(attention)
    return AttnProcessor2_0() if function is None else Processor(function)


def _split_heads(states: torch.Tensor, heads: int) -> torch.Tensor:
    """[B, tokens, C] to [B, heads, tokens, C / heads]."""
    return states.unflatten(-1, (heads, -1)).transpose(1, 2)
