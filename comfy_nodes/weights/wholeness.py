"""Whether a checkpoint has all weights of its parts.

ComfyUI only logs those that are missing, and draws noise.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path

import torch

from ..errors import ModelUnreadable

UNET, VAE = "model.diffusion_model.", "first_stage_model."
_TEXT = ("cond_stage_model.", "conditioner.embedders.")
_LAYER = re.compile(r"(.+\.(?:layers|resblocks)\.)(\d+)\.(.+)")
# A VAE in the names of the code that it was published with; others are renamed by the host.
_VAE_MARK = f"{VAE}encoder.conv_in.weight"


def check_parts(
    path: Path, names: Collection[str], unet: Iterable[str], vae: Iterable[str]
) -> None:
    """Raises ModelUnreadable, naming one of them, where weights are missing.

    `names` are those in the file; `unet` and `vae` are the ones that the host's networks have,
    without what stands before them in a file.
    """
    wanted = [UNET + name for name in unet]
    if _VAE_MARK in names:
        wanted += [VAE + name for name in vae]
    there = set(names)
    lacking = [name for name in wanted if name not in there] + _text_lacks(names)
    if lacking:
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        raise ModelUnreadable(
            f"{path.name} is incomplete: it has no {min(lacking)}{more}. Download it again."
        )


def check_numbers(tensor: torch.Tensor, name: str, where: str) -> None:
    """Raises ModelUnreadable, naming both, for a weight that holds NaN or an infinity.

    A network with one such number draws black or nothing. Reads the tensor once, without a copy.
    """
    # Of any number that is none the sum is none, too; of others it is finite in this format.
    wide = torch.float64 if tensor.dtype in (torch.float32, torch.float64) else torch.float32
    try:
        plain = tensor if tensor.dtype.itemsize > 1 else tensor.to(torch.float32)
        is_sound = bool(torch.isfinite(plain.sum(dtype=wide)))
    except RuntimeError as error:
        raise ModelUnreadable(
            f"the weight {name} of {where} has the number format {tensor.dtype}, which cannot be "
            "read here: take another file of the model"
        ) from error
    if not is_sound:
        raise ModelUnreadable(
            f"the weight {name} of {where} holds values that are no numbers (NaN or infinite): the "
            "file is damaged, or was merged wrongly; download it again"
        )


def _text_lacks(names: Collection[str]) -> list[str]:
    """Weights that one layer of a text encoder has and another has not."""
    layers: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for name in names:
        match = _LAYER.fullmatch(name) if name.startswith(_TEXT) else None
        if match:
            layers[match[1]][int(match[2])].add(match[3])
    return [
        f"{prefix}{number}.{rest}"
        for prefix, by_number in layers.items()
        for number in range(max(by_number) + 1)
        for rest in set().union(*by_number.values()) - by_number[number]
    ]
