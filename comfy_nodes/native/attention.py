"""The attention of one MODEL: functions in the form in which ComfyUI's UNet calls them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import comfy.ldm.modules.attention as host_attention
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..errors import UnsupportedSetting
from ..settings import Attention, LoaderSettings

_log = logging.getLogger(__name__)

KEY = "optimized_attention_override"

# Widths of a head for which SageAttention has kernels.
_SAGE_WIDTHS = (64, 128)

# Options of newer versions that change what is computed.
_FOREIGN = frozenset({"scale", "enable_gqa"})

# Queries, keys and values [B, heads, tokens, D] to the answer of the same shape.
Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def set_attention(model: Any, settings: LoaderSettings) -> None:
    """Makes this MODEL's UNet, and no other's, compute its attention as the settings say.

    Raises UnsupportedSetting where the UNet's heads do not allow it and `strict` is set.
    """
    functions: dict[Attention, Attend] = {
        Attention.FLASH: flash,
        Attention.XFORMERS: xformers,
        Attention.SAGE: sage,
        Attention.SLICED: sliced,
    }
    chosen = _possible(model, settings)
    options = model.model_options.setdefault("transformer_options", {})
    options[KEY] = _override(functions[chosen]) if chosen in functions else sdpa


def sdpa(_host_choice: Any, *args: Any, **options: Any) -> Any:
    """PyTorch's own attention, through ComfyUI's function for it, which knows every form."""
    return host_attention.attention_pytorch(*args, **options)


def flash(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """PyTorch's attention held to its flash kernel; its own choice where that one cannot run."""
    try:
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            return torch.nn.functional.scaled_dot_product_attention(q, k, v)
    except RuntimeError as error:
        if "kernel" not in str(error).lower():  # PyTorch's "No available kernel"
            raise
        return torch.nn.functional.scaled_dot_product_attention(q, k, v)


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


def sliced(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """One head of one picture after another: a heads-th of the memory, and slow."""
    batch, heads, tokens, _ = q.shape
    answer = q.new_empty((batch, heads, tokens, v.shape[-1]))
    scale: float = q.shape[-1] ** -0.5
    for picture in range(batch):
        for head in range(heads):
            weights = (q[picture, head] * scale) @ k[picture, head].transpose(-1, -2)
            answer[picture, head] = weights.softmax(dim=-1) @ v[picture, head]
    return answer


def head_widths(network: torch.nn.Module) -> set[int]:
    """Channels of one head, of all attention layers of a UNet of ComfyUI's."""
    kind = host_attention.CrossAttention
    return {layer.dim_head for layer in network.modules() if isinstance(layer, kind)}


def _possible(model: Any, settings: LoaderSettings) -> Attention:
    if settings.attention is not Attention.SAGE:
        return settings.attention
    network = model.model.diffusion_model
    unfit = sorted(head_widths(network) - set(_SAGE_WIDTHS))
    if not unfit and network.dtype is not torch.float32:
        return Attention.SAGE
    why = f"heads {unfit} wide" if unfit else "a UNet in fp32"
    text = f"SageAttention has no kernel for {why}"
    if settings.strict:
        raise UnsupportedSetting(f"attention sage is not possible: {text}. Choose sdpa or auto.")
    _log.warning("attention sage was replaced by sdpa: %s.", text)
    return Attention.SDPA


def _override(attend: Attend) -> Callable[..., Any]:
    """In the form in which ComfyUI takes a replacement: its own choice comes first.

    What only its own functions know (masks; scales and groups of heads, in newer versions) goes to
    the one for PyTorch's attention.
    """

    def attention(
        host_choice: Any,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        heads: int,
        mask: torch.Tensor | None = None,
        attn_precision: Any = None,
        skip_reshape: bool = False,
        skip_output_reshape: bool = False,
        **options: Any,
    ) -> Any:
        if mask is not None or not _FOREIGN.isdisjoint(options):
            return sdpa(
                host_choice,
                q,
                k,
                v,
                heads,
                mask=mask,
                attn_precision=attn_precision,
                skip_reshape=skip_reshape,
                skip_output_reshape=skip_output_reshape,
                **options,
            )
        if not skip_reshape:
            q, k, v = (each.unflatten(-1, (heads, -1)).transpose(1, 2) for each in (q, k, v))
        answer = attend(q, k, v)
        return answer if skip_output_reshape else answer.transpose(1, 2).flatten(2)

    return attention
