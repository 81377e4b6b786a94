"""How a UNet computes its attention: processors for diffusers' attention layers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from comfy_nodes.errors import UnsupportedSetting
from comfy_nodes.settings import Attention, LoaderSettings

_log = logging.getLogger(__name__)

# Queries, keys and values [B, heads, tokens, D] to the answer of the same shape.
Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]

# Widths of a head for which SageAttention has kernels.
_SAGE_WIDTHS = (64, 128)


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
    unet.set_attn_processor(_processor(_possible(unet, settings)))


def _possible(unet: Any, settings: LoaderSettings) -> Attention:
    if settings.attention is not Attention.SAGE:
        return settings.attention
    unfit = sorted(head_widths(unet) - set(_SAGE_WIDTHS))
    if not unfit and unet.dtype is not torch.float32:
        return Attention.SAGE
    why = f"heads {unfit} wide" if unfit else "a UNet in fp32"
    text = f"SageAttention has no kernel for {why}"
    if settings.strict:
        raise UnsupportedSetting(f"attention sage is not possible: {text}. Choose sdpa or auto.")
    _log.warning("attention sage was replaced by sdpa: %s.", text)
    return Attention.SDPA


def head_widths(unet: Any) -> set[int]:
    """Channels of one head, of all attention layers."""
    from diffusers.models.attention_processor import Attention as Layer

    layers = (module for module in unet.modules() if isinstance(module, Layer))
    return {layer.inner_dim // layer.heads for layer in layers}


def _processor(attention: Attention) -> Any:
    from diffusers.models.attention_processor import AttnProcessor2_0, SlicedAttnProcessor

    if attention is Attention.SLICED:
        return SlicedAttnProcessor(slice_size=1)
    functions: dict[Attention, Attend] = {
        Attention.FLASH: flash,
        Attention.XFORMERS: xformers,
        Attention.SAGE: sage,
    }
    return Processor(functions[attention]) if attention in functions else AttnProcessor2_0()


def flash(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """torch's own attention held to its flash kernel; its own choice where that cannot run."""
    attend = torch.nn.functional.scaled_dot_product_attention
    try:
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            return attend(q, k, v)
    except RuntimeError as error:
        if "kernel" not in str(error).lower():  # torch says: no available kernel
            raise
        _say_once("the flash kernel cannot run here (%s): torch chooses another.", str(error))
        return attend(q, k, v)


@cache
def _say_once(text: str, *args: str) -> None:
    _log.warning(text, *args)


def xformers(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """xformers' attention, whose heads are the last dimension but one."""
    from xformers.ops import memory_efficient_attention

    q, k, v = (each.transpose(1, 2) for each in (q, k, v))
    answer: torch.Tensor = memory_efficient_attention(q, k, v)
    return answer.transpose(1, 2)


def sage(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """SageAttention: queries and keys are multiplied in 8 bits."""
    from sageattention import sageattn

    answer: torch.Tensor = sageattn(q, k, v, tensor_layout="HND", is_causal=False)
    return answer


def _split_heads(states: torch.Tensor, heads: int) -> torch.Tensor:
    """[B, tokens, C] to [B, heads, tokens, C / heads]."""
    return states.unflatten(-1, (heads, -1)).transpose(1, 2)
