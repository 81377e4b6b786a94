"""LoRAs merged into copies of the weights that they change.

Reads the names that kohya's trainers, diffusers and peft write, for the UNet both in diffusers'
and in the original numbering of blocks. A weight W becomes W + strength * alpha / rank * up @ down
(Hu et al. 2021, arXiv 2106.09685); a `.diff` is added as it is. What a file holds beside these is
never left out in silence: the whole LoRA is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from comfy_nodes.errors import ModelUnreadable, UnsupportedModel
from comfy_nodes.weights.files import read_file
from comfy_nodes.weights.wholeness import check_numbers

from ..handles.handles import Clip, Model, Part, TextEncoder
from ..model_files import reads
from ..tuning.storage import narrow, wide_weight
from ..tuning.tuning import tune_unet, twin
from .building import ON_COMFYUI, Weights
from .names import UnetNames

# As many kinds of weights are named in a message.
_MOST_KINDS = 5
# The pairs of a LoRA's two matrices as different trainers name them: up, down.
_PAIRS = (
    (".lora_up.weight", ".lora_down.weight"),
    ("_lora.up.weight", "_lora.down.weight"),
    (".lora_B.weight", ".lora_A.weight"),
    (".lora.up.weight", ".lora.down.weight"),
    (".lora_linear_layer.up.weight", ".lora_linear_layer.down.weight"),
)
_ALPHA, _MIDDLE, _WHOLE = ".alpha", ".lora_mid.weight", ".diff"
_ENDINGS = (*(ending for pair in _PAIRS for ending in pair), _ALPHA, _MIDDLE, _WHOLE)


def read_lora(path: Path) -> Weights:
    """The tensors of a LoRA file. Raises ModelUnreadable for one that is damaged or empty."""
    reads(path)
    lora = read_file(path)
    if not lora:
        raise ModelUnreadable(f"{path.name} holds no weights: download it again.")
    for name, tensor in lora.items():
        # A single number (alpha) is one in any format.
        if tensor.numel() > 1 and not tensor.is_floating_point():
            raise ModelUnreadable(
                f"the weight {name} of {path.name} holds {tensor.dtype}, no weights: download it "
                "again"
            )
        check_numbers(tensor, name, path.name)
    return lora


def apply_lora(
    model: Model,
    clip: Clip,
    lora: Weights,
    strength_model: float,
    strength_clip: float,
    name: str = "the LoRA",
) -> tuple[Model, Clip]:
    """The model and the text encoder with the LoRA merged in; the originals stay untouched.

    Raises UnsupportedModel, which begins with `name`, where any of it has no place in the model.
    """
    used: set[str] = set()
    unet = model.unet.module
    names = {each: list(_unet_aliases(each, unet.config)) for each in _weights(unet)}
    try:
        merged = _merged(model.unet, lora, names, strength_model, used)
        encoders = tuple(
            _with_lora(encoder, index, lora, strength_clip, used)
            for index, encoder in enumerate(clip.encoders)
        )
    except _Misfit as misfit:
        raise UnsupportedModel(
            f"{name} was made for another kind of model: its weights for {misfit} have another "
            "shape than this model's."
        ) from misfit
    unknown = [key for key in lora if key not in used]
    if unknown:
        raise UnsupportedModel(_unplaced(name, unknown, len(lora)))
    if merged is not model.unet:
        tune_unet(merged, model.settings)
    changed_model = replace(model, unet=merged)
    return changed_model, replace(clip, encoders=encoders)


class _Misfit(Exception):
    """The name under which a file has weights of another shape."""


def _unplaced(name: str, unknown: Sequence[str], count: int) -> str:
    """Say which weights of a LoRA, of `count`, are not applied, and why."""
    strange = [key for key in unknown if not key.endswith(_ENDINGS)]
    if strange:
        kinds = sorted({key.rpartition(".")[2] for key in strange})
        more = " and others" if len(kinds) > _MOST_KINDS else ""
        return (
            f"{name} has weights of a kind that the embedded engine does not apply: "
            f"{', '.join(kinds[:_MOST_KINDS])}{more}, as in {strange[0]}. {ON_COMFYUI}"
        )
    which = "none" if len(unknown) == count else f"{len(unknown)}"
    have = "has a place" if len(unknown) == count else "have no place"
    return (
        f"{name} was made for another kind of model: {which} of its {count} weights {have} in this "
        f"one, as {unknown[0]}."
    )


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
    direct = lora.get(alias + _WHOLE)
    if direct is not None:
        used |= {alias + _WHOLE, alias + _ALPHA}
        return _shaped(direct.float(), weight, alias)
    for up_name, down_name in ((alias + up, alias + down) for up, down in _PAIRS):
        if up_name in lora and down_name in lora:
            used |= {up_name, down_name, alias + _ALPHA, alias + _MIDDLE}
            up, down = lora[up_name].float(), lora[down_name].float()
            if up.ndim < 2 or down.ndim < 2:
                raise _Misfit(alias)
            alpha = lora.get(alias + _ALPHA)
            if 0 in up.shape or 0 in down.shape or (alpha is not None and alpha.numel() != 1):
                raise _Misfit(alias)
            scale = 1.0 if alpha is None else float(alpha) / down.shape[0]
            middle = lora.get(alias + _MIDDLE)
            if middle is not None:
                if middle.ndim != 4 or middle.shape[1] != down.shape[0]:
                    raise _Misfit(alias)
                down = _through(middle.float(), down)
            if up[0].numel() != down.shape[0]:
                raise _Misfit(alias)
            return scale * _shaped(up.flatten(1) @ down.flatten(1), weight, alias)
    return None


def _shaped(difference: torch.Tensor, weight: torch.Tensor, alias: str) -> torch.Tensor:
    if difference.numel() != weight.numel() or len(difference) != len(weight):
        raise _Misfit(alias)
    return difference.reshape(weight.shape)


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
