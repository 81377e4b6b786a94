"""The attention of one MODEL: functions in the form in which ComfyUI's UNet calls them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import comfy.ldm.modules.attention as host_attention
import torch

from ..ops.attention import FUNCTIONS, Attend, possible
from ..settings import LoaderSettings

KEY = "optimized_attention_override"

# Options of newer versions that change what is computed.
_FOREIGN = frozenset({"scale", "enable_gqa"})


def set_attention(model: Any, settings: LoaderSettings) -> None:
    """Makes this MODEL's UNet, and no other's, compute its attention as the settings say.

    Raises UnsupportedSetting where the UNet's heads do not allow it and `strict` is set.
    """
    network = model.model.diffusion_model
    chosen = possible(settings, head_widths(network), network.dtype)
    options = model.model_options.setdefault("transformer_options", {})
    function = FUNCTIONS.get(chosen)
    options[KEY] = sdpa if function is None else _override(function)


def sdpa(_host_choice: Any, *args: Any, **options: Any) -> Any:
    """PyTorch's own attention, through ComfyUI's function for it, which knows every form."""
    return host_attention.attention_pytorch(*args, **options)


def head_widths(network: torch.nn.Module) -> set[int]:
    """Channels of one head, of all attention layers of a UNet of ComfyUI's."""
    kind = host_attention.CrossAttention
    return {layer.dim_head for layer in network.modules() if isinstance(layer, kind)}


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
            options |= {"skip_reshape": skip_reshape, "skip_output_reshape": skip_output_reshape}
            options |= {"mask": mask, "attn_precision": attn_precision}
            return sdpa(host_choice, q, k, v, heads, **options)
        if not skip_reshape:
            q, k, v = (each.unflatten(-1, (heads, -1)).transpose(1, 2) for each in (q, k, v))
        answer = attend(q, k, v)
        return answer if skip_output_reshape else answer.transpose(1, 2).flatten(2)

    return attention
