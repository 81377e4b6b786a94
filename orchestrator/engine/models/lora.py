"""LoRAs merged into copies of the weights that they change.

Reads the names that kohya's trainers, diffusers and peft write, for the UNet both in diffusers'
and in the original numbering of blocks. A weight W becomes W + strength * alpha / rank * up @ down
(Hu et al. 2021, arXiv 2106.09685); a `.diff` is added as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from comfy_nodes.weights.files import read_file

from ..handles.handles import Clip, Model, Part, TextEncoder
from ..tuning.storage import narrow, wide_weight
from ..tuning.tuning import tune_unet, twin
from .building import Weights
from .names import UnetNames

_log = logging.getLogger(__name__)

# The pairs of a LoRA's two matrices as different trainers name them: up, down.
_PAIRS = (
    (".lora_up.weight", ".lora_down.weight"),
    ("_lora.up.weight", "_lora.down.weight"),
    (".lora_B.weight", ".lora_A.weight"),
    (".lora.up.weight", ".lora.down.weight"),
    (".lora_linear_layer.up.weight", ".lora_linear_layer.down.weight"),
)


def read_lora(path: Path) -> Weights:
    """The tensors of a LoRA file. Raises ModelUnreadable for a damaged one."""
    return read_file(path)


def apply_lora(
    model: Model, clip: Clip, lora: Weights, strength_model: float, strength_clip: float
) -> tuple[Model, Clip]:
    """The model and the text encoder with the LoRA merged in; the originals stay untouched."""
    used: set[str] = set()
    unet = model.unet.module
    names = {name: list(_unet_aliases(name, unet.config)) for name in _weights(unet)}
    merged = _merged(model.unet, lora, names, strength_model, used)
    if merged is not model.unet:
        tune_unet(merged.module, model.settings, merged.storage)
    changed_model = replace(model, unet=merged)
    encoders = tuple(
        _with_lora(encoder, index, lora, strength_clip, used)
        for index, encoder in enumerate(clip.encoders)
    )
    unknown = [key for key in lora if key not in used]
    if len(unknown) == len(lora):
        _log.warning("the LoRA fits nothing in this model and changes nothing")
    elif unknown:
        _log.warning("%d weights of the LoRA have no place: %s", len(unknown), unknown[0])
    return changed_model, replace(clip, encoders=encoders)


def _with_lora(
    encoder: TextEncoder, index: int, lora: Weights, strength: float, used: set[str]
) -> TextEncoder:
    network = encoder.part.module
    names = {name: list(_text_aliases(name, index)) for name in _weights(network)}
    merged = _merged(encoder.part, lora, names, strength, used)
    if merged.storage is not None:
        narrow(merged.module, merged.storage)
    return replace(encoder, part=merged)


def _merged(
    part: Part,
    lora: Weights,
    names: Mapping[str, list[str]],
    strength: float,
    used: set[str],
) -> Part:
    """The part with changed copies of the weights that the LoRA names; others are shared."""
    changed: dict[str, nn.Parameter] = {}
    for name, aliases in names.items():
        base = wide_weight(part.module, name)
        found = (_difference(lora, alias, base, used) for alias in aliases)
        difference = next((each for each in found if each is not None), None)
        if difference is not None and strength != 0:
            total = base.float() + strength * difference.to(base.device)
            changed[name] = nn.Parameter(total.to(part.dtype), requires_grad=False)
    if not changed:
        return part
    # At home first, so that the weights that both have stay shared there.
    return replace(part, module=twin(part.module.to(part.home), changed))


def _difference(
    lora: Weights, alias: str, weight: torch.Tensor, used: set[str]
) -> torch.Tensor | None:
    """What the LoRA adds to a weight at strength 1, float32 in the weight's shape."""
    direct = lora.get(f"{alias}.diff")
    if direct is not None:
        used.add(f"{alias}.diff")
        return direct.float().reshape(weight.shape)
    for up_name, down_name in ((alias + up, alias + down) for up, down in _PAIRS):
        if up_name in lora and down_name in lora:
            used |= {up_name, down_name, f"{alias}.alpha", f"{alias}.lora_mid.weight"}
            up, down = lora[up_name].float(), lora[down_name].float()
            alpha = lora.get(f"{alias}.alpha")
            scale = 1.0 if alpha is None else float(alpha) / down.shape[0]
            middle = lora.get(f"{alias}.lora_mid.weight")
            if middle is not None:
                down = _through(middle.float(), down)
            return scale * (up.flatten(1) @ down.flatten(1)).reshape(weight.shape)
    return None


def _through(middle: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    """LoCon's three-part convolution as two: [rank, rank, k, k] over [rank, in, 1, 1]."""
    return torch.einsum("rskl,si->rikl", middle, down.flatten(1))


def _weights(network: nn.Module) -> list[str]:
    return [name for name, _ in network.named_parameters() if name.endswith(".weight")]


def _unet_aliases(name: str, config: Mapping[str, object]) -> Iterator[str]:
    """What LoRA files call a weight of the UNet, without the matrix's own ending."""
    ours = name.removesuffix(".weight")
    original = UnetNames(config).original(name).removesuffix(".weight")
    yield f"lora_unet_{ours.replace('.', '_')}"
    yield f"lora_unet_{original.replace('.', '_')}"
    yield f"diffusion_model.{original}"
    # Attention's output was called without its index in diffusers' older files.
    processor = ours.replace(".to_", ".processor.to_")
    for prefix in ("", "unet."):
        yield f"{prefix}{ours}"
        yield f"{prefix}{processor.removesuffix('.0') if '.to_out.0' in processor else processor}"


def _text_aliases(name: str, index: int) -> Iterator[str]:
    """What LoRA files call a weight of the text encoder with this index."""
    ours = f"text_model.{name.removesuffix('.weight').removeprefix('text_model.')}"
    joined = ours.replace(".", "_")
    yield f"lora_te{index + 1}_{joined}"
    if index == 0:
        yield f"lora_te_{joined}"
        yield f"text_encoder.{ours}"
    else:
        yield f"text_encoder_2.{ours}"
