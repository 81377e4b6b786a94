"""Attention functions that a UNet of either host can be given: ComfyUI's and diffusers'."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import cache

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..errors import UnsupportedSetting
from ..settings import Attention, LoaderSettings

_log = logging.getLogger(__name__)

# Queries, keys and values [B, heads, tokens, D] to the answer of the same shape.
Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]

# Weights of attention that are computed at once: 4 MB in bf16, which stay in a processor's cache.
_WEIGHTS = 2**21

# Widths of a head for which SageAttention has kernels.
SAGE_WIDTHS = (64, 128)


def possible(settings: LoaderSettings, head_widths: set[int], dtype: torch.dtype) -> Attention:
    """The attention of the (resolved) settings, or sdpa where SageAttention cannot take the UNet.

    `head_widths`: channels of one head, of all layers; `dtype`: what the UNet computes in. Raises
    UnsupportedSetting instead where `strict` is set.
    """
    if settings.attention is not Attention.SAGE:
        return settings.attention
    unfit = sorted(head_widths - set(SAGE_WIDTHS))
    if not unfit and dtype is not torch.float32:
        return Attention.SAGE
    why = f"heads {unfit} wide" if unfit else "a UNet in fp32"
    text = f"SageAttention has no kernel for {why}"
    if settings.strict:
        raise UnsupportedSetting(f"attention sage is not possible: {text}. Choose sdpa or auto.")
    _log.warning("attention sage was replaced by sdpa: %s.", text)
    return Attention.SDPA


def flash(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """PyTorch's attention held to its flash kernel; its own choice where that one cannot run."""
    attend = torch.nn.functional.scaled_dot_product_attention
    try:
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            return attend(q, k, v)
    except RuntimeError as error:
        if "kernel" not in str(error).lower():  # PyTorch's "No available kernel"
            raise
        _say_once("the flash kernel cannot run here (%s): torch chooses another.", str(error))
        return attend(q, k, v)


@cache
def _say_once(text: str, *args: str) -> None:
    _log.warning(text, *args)


def sliced(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """One head of one picture after another, and of that some queries at a time.

    Slow on a card, with little memory. On a CPU in bf16 it is faster than PyTorch's: 0.3 s instead
    of 0.43 for two pictures of 4096 tokens with 8 heads of 40 channels, and instead of 0.64 with
    heads of 64, on two cores with AVX-512 BF16.
    """
    batch, heads, tokens, _ = q.shape
    answer = q.new_empty((batch, heads, tokens, v.shape[-1]))
    scale: float = q.shape[-1] ** -0.5
    step = min(tokens, max(1, _WEIGHTS // k.shape[2]))
    room = q.new_empty((2, step, k.shape[2]))
    for picture in range(batch):
        for head in range(heads):
            queries, values = q[picture, head].contiguous(), v[picture, head].contiguous()
            keys = (k[picture, head] * scale).t()
            for at in range(0, tokens, step):
                some = queries[at : at + step]
                products, weights = room[:, : len(some)]
                torch.mm(some, keys, out=products)
                torch.softmax(products, dim=-1, out=weights)
                torch.mm(weights, values, out=answer[picture, head, at : at + step])
    return answer


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


# Those that are not PyTorch's own choice, which each host has a function for.
FUNCTIONS: Mapping[Attention, Attend] = {
    Attention.FLASH: flash,
    Attention.XFORMERS: xformers,
    Attention.SAGE: sage,
    Attention.SLICED: sliced,
}
