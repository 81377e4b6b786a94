"""The number format of the weights of one network, after it was loaded: set, and checked.

With dynamic memory on, ComfyUI's layers take over whatever shape and format a file has. So what a
network was built with says nothing, and this is the one place that sees to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from ..errors import ModelUnreadable

# Formats that weights can be moved between; narrower ones belong to a file of its own kind.
_CASTS = "comfy_cast_weights"  # ComfyUI's switch of a layer that can cast
_WIDE = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def set_dtypes(
    network: nn.Module, *, computed: torch.dtype | None, stored: torch.dtype | None
) -> None:
    """Gives all weights one format, and makes layers cast them where they compute in another.

    `stored` is the format; None keeps the one that most numbers of the network have, as its file
    has it, and weights of 8 bits as they are. `computed` is the format of the layers' inputs; None
    leaves it to the layers, as for text encoders, which always cast.
    """
    wanted = _main_format(network) if stored is None else stored
    for layer, name, weight in _weights(network):
        if weight.dtype is not wanted and (weight.dtype in _WIDE or stored is not None):
            weight = weight.detach().to(wanted)
            setattr(layer, name, nn.Parameter(weight, requires_grad=False))
        if not hasattr(layer, _CASTS):
            _note(layer, name, wanted)
        elif computed is not None:
            _note(layer, name, computed)
            if weight.dtype is not computed:
                setattr(layer, _CASTS, True)


def shape_mismatch(network: nn.Module) -> str | None:
    """What is wrong with the first weight that its layer cannot compute with; None: all are right.

    Linear layers and embeddings, as all others check the shape when they are loaded.
    """
    for path, layer in network.named_modules():
        for name, shape in _shapes(layer).items():
            weight = getattr(layer, name, None)
            if weight is None or weight.is_meta:
                return f"{path}.{name} is missing"
            if _is_plain(weight) and tuple(weight.shape) != shape:
                return f"{path}.{name} is {list(weight.shape)}, not {list(shape)}"
    return None


def mismatch(part: str, what: str) -> ModelUnreadable:
    """For a part of a diffusers folder ("UNet", ...) whose weights are not those of its config."""
    return ModelUnreadable(
        f"The {part}'s weights do not match its config.json: {what}. Download the whole folder "
        "again."
    )


def count_dtypes(network: nn.Module) -> Counter[torch.dtype]:
    """How many numbers are stored in each format; whole numbers, such as positions, left out."""
    counts: Counter[torch.dtype] = Counter()
    for _, _, weight in _weights(network):
        counts[weight.dtype] += weight.numel()
    return counts


def _main_format(network: nn.Module) -> torch.dtype:
    counts = Counter({k: v for k, v in count_dtypes(network).items() if k in _WIDE})
    return counts.most_common(1)[0][0] if counts else torch.float32


def _weights(network: nn.Module) -> Iterator[tuple[nn.Module, str, torch.Tensor]]:
    """Each layer's own weights, but those in formats of ComfyUI's (quantised tensors)."""
    for layer in network.modules():
        for name, weight in list(layer.named_parameters(recurse=False)):
            if _is_plain(weight) and weight.is_floating_point():
                yield layer, name, weight


def _is_plain(weight: torch.Tensor) -> bool:
    return type(weight.data) is torch.Tensor and type(weight) in (nn.Parameter, torch.Tensor)


def _note(layer: nn.Module, name: str, format_: torch.dtype) -> None:
    """Tells dynamic memory what to cast a weight to; it notes what the layer was built with."""
    noted = f"{name}_comfy_model_dtype"
    if hasattr(layer, noted):
        setattr(layer, noted, format_)


def _shapes(layer: Any) -> dict[str, tuple[int, ...]]:
    if isinstance(layer, nn.Linear):
        shapes: dict[str, tuple[int, ...]] = {"weight": (layer.out_features, layer.in_features)}
        if layer.bias is not None:
            shapes["bias"] = (layer.out_features,)
        return shapes
    if isinstance(layer, nn.Embedding):
        return {"weight": (layer.num_embeddings, layer.embedding_dim)}
    return {}
