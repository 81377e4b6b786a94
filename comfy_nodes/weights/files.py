"""Reading safetensors files; every damage to them becomes one of our errors here."""

from __future__ import annotations

from pathlib import Path

import safetensors
import safetensors.torch
import torch

from ..errors import ModelUnreadable
from ..profiles import named, read_json
from .kinds import kind_of
from .variants import is_index, weights_file

Weights = dict[str, torch.Tensor]


def read_part(folder: Path, stem: str, *, half: bool) -> Weights:
    """The weights of one part of a diffusers folder (unet, vae, text_encoder).

    `stem` is "diffusion_pytorch_model" or "model"; `half` is what `variants.reads_half` says. Files
    in shards are put together. Raises ModelUnreadable when there is none or it is damaged.
    """
    there = {path.name for path in folder.glob("*") if path.is_file()}
    name = weights_file(there, stem, half=half)
    if name is None:
        raise ModelUnreadable(
            f"There is no {named(folder / stem)}.safetensors: download the model again. "
            "Weights in .bin files are not loaded, because such files can run code."
        )
    if is_index(name):
        return _read_shards(folder, read_json(folder / name).get("weight_map"))
    return read_file(folder / name)


def _read_shards(folder: Path, weight_map: object) -> Weights:
    if not isinstance(weight_map, dict):
        raise ModelUnreadable(
            f"The weights' index in {folder.parent.name}/{folder.name} names no files: download it "
            "again."
        )
    weights: Weights = {}
    for name in sorted(set(map(str, weight_map.values()))):
        weights.update(read_file(folder / Path(name).name))
    return weights


def read_file(path: Path) -> Weights:
    """The tensors of a safetensors file, on the CPU. Raises ModelUnreadable."""
    check_file(path)
    try:
        return dict(safetensors.torch.load_file(path, device="cpu"))
    except (safetensors.SafetensorError, OSError, ValueError, LookupError, TypeError) as error:
        # A sound header may still name a number format that this torch has not.
        raise ModelUnreadable(
            f"{named(path)} cannot be read ({type(error).__name__}: {error}). Download it again."
        ) from error


def read_metadata(path: Path) -> dict[str, str]:
    """The texts in the header of a safetensors file, by their keys. Raises ModelUnreadable."""
    check_file(path)
    with safetensors.safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})


def check_file(path: Path) -> None:
    """Raises ModelUnreadable unless the header is sound and the file as long as it says."""
    try:
        with safetensors.safe_open(path, framework="pt"):
            pass
    except (OSError, safetensors.SafetensorError) as error:
        kind = kind_of(path)
        if kind is not None and "safetensors" not in kind:
            raise ModelUnreadable(
                f"{named(path)} is {kind}, not the safetensors file that its name "
                "says: download it again."
            ) from error
        raise ModelUnreadable(
            f"{named(path)} cannot be read: it is missing, cut short or no "
            f"safetensors file ({error}). Download it again."
        ) from error
