"""Which files of a repository make up a model; no I/O."""

from __future__ import annotations

from collections.abc import Collection

from ..errors import UnsupportedModel
from ..models import Version
from ..weights.variants import is_index, shards_of, weights_file

INDEX = "model_index.json"  # what makes a folder a model: it comes last
_UNET_FILE, _TEXT_FILE = "diffusion_pytorch_model", "model"


def folder_files(there: Collection[str], version: Version, *, half: bool) -> tuple[str, ...]:
    """Paths of the files of a version's diffusers folder among those `there`, the index last.

    Of weights in fp16 and in full those that are read with `half` (see weights/variants.py).
    Pickles and what no loader reads (safety checker, other frameworks) are left out. Raises
    UnsupportedModel, naming the first that is missing.
    """
    paths: list[str] = []
    for part, stem in weights_of(version):
        weights = _weights(there, part, stem, half) or (f"{part}/{stem}.safetensors",)
        paths += [f"{part}/config.json", *weights]
    for encoder in version.text_encoders:
        tokenizer = encoder.replace("text_encoder", "tokenizer")
        paths += [f"{tokenizer}/vocab.json", f"{tokenizer}/merges.txt"]
        optional = (
            f"{tokenizer}/tokenizer_config.json",
            f"{tokenizer}/special_tokens_map.json",
        )
        paths += [path for path in optional if path in there]
    paths += ["scheduler/scheduler_config.json", INDEX]
    for path in paths:
        if path not in there:
            raise UnsupportedModel(f"{version.name} has no {path}")
    return tuple(paths)


def checkpoint_file(there: Collection[str], version: Version) -> str:
    """The version's single safetensors file among those `there`. Raises UnsupportedModel."""
    if version.checkpoint is None:
        raise UnsupportedModel(
            f"{version.name} is published as a folder or as a pickle, not as one safetensors file: "
            "take the folder"
        )
    if version.checkpoint.name not in there:
        raise UnsupportedModel(f"{version.name} has no {version.checkpoint.name}")
    return version.checkpoint.name


def weights_of(version: Version) -> list[tuple[str, str]]:
    """The folders that hold weights, each with the stem of its file."""
    encoders = [(name, _TEXT_FILE) for name in version.text_encoders]
    return [("unet", _UNET_FILE), ("vae", _UNET_FILE), *encoders]


def either_weights(there: Collection[str], version: Version) -> tuple[str, ...]:
    """Paths of all weights among those `there` that some setting reads, in fp16 and in full."""
    found = (
        path
        for part, stem in weights_of(version)
        for half in (True, False)
        for path in _weights(there, part, stem, half)
    )
    return tuple(dict.fromkeys(found))


def _weights(there: Collection[str], part: str, stem: str, half: bool) -> tuple[str, ...]:
    """A part's weights, in shards with their index; () where there are none."""
    folder = f"{part}/"
    names = {path.removeprefix(folder) for path in there if path.startswith(folder)}
    first = weights_file(names, stem, half=half)
    if first is None:
        return ()
    shards = shards_of(first, names) if is_index(first) else ()
    return tuple(f"{folder}{name}" for name in (first, *shards))
