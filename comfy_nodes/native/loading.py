"""Loads models into ComfyUI's own MODEL, CLIP and VAE."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import comfy.model_base
import comfy.model_management
import comfy.sd
import comfy.supported_models
import comfy.utils
import torch

from ..errors import ModelUnreadable, UnsupportedModel
from ..models import Family, Prediction, family_of, version_of
from ..ops.dtypes import DTYPES
from ..placing import Placement
from ..profiles import (
    ModelProfile,
    prediction_of,
    profile_of_folder,
    profile_of_version,
    read_json,
    read_scheduler_config,
)
from ..settings import LoaderSettings
from ..weights.files import Weights, check_file, read_part
from ..weights.pickles import check_allowed, is_pickle, read_pickle
from ..weights.variants import reads_half
from ..weights.wholeness import check_parts
from . import text, tuning, unet, vae
from .compat import is_dynamic, without_dynamic_memory
from .folders import ComfyFolders
from .loaded_weights import shape_mismatch
from .patching import core_patcher, plain_patcher
from .reloading import set_patcher_init

_UNET = "model.diffusion_model."  # before the names of a checkpoint's UNet weights
_PROFILE = "spriteworks_profile"

Metadata = dict[str, str] | None  # the texts in a safetensors file's header


@dataclass(frozen=True)
class Loaded:
    """ComfyUI's own model objects and what the model is made for."""

    model: Any
    clip: Any
    vae: Any
    profile: ModelProfile


def load_diffusers(folder: Path, settings: LoaderSettings, *, dynamic: bool = True) -> Loaded:
    """Loads a diffusers folder of the Stable Diffusion family, of any width and depth.

    `dynamic`: into ComfyUI's dynamic memory, where that is on and the settings allow it.
    Raises ModelUnreadable for a damaged or incomplete folder, UnsupportedModel for another kind.
    """
    try:
        loaded = _loaded_folder(folder, settings, dynamic=dynamic)
    except (ModelUnreadable, UnsupportedModel) as error:
        if folder.name in str(error):
            raise
        raise type(error)(f"{folder.name}: {error}") from error
    _let_reload(loaded, load_diffusers, folder, settings)
    return loaded


def _loaded_folder(folder: Path, settings: LoaderSettings, *, dynamic: bool) -> Loaded:
    config = read_json(folder / "unet" / "config.json")
    vae_config = read_json(folder / "vae" / "config.json")
    family = family_of(config)
    half = reads_half(settings, tuning.hardware())
    weights = read_part(folder / "unet", "diffusion_pytorch_model", half=half)
    placement = tuning.place_loaded(settings, _numbers(weights), dynamic=dynamic)
    in_dynamic_memory = placement.unet.in_dynamic_memory
    network = _folder_unet(folder, config, vae_config, DTYPES[placement.unet.dtype])
    model = (core_patcher if in_dynamic_memory else plain_patcher)(network)
    unet.fill(network, weights, assign=is_dynamic(model))
    clip = text.build_clip(
        family,
        text.read_text_parts(folder, family, half=half),
        embeddings=ComfyFolders().roots("embeddings"),
        options=tuning.text_options(placement.text),
        dynamic=placement.text.in_dynamic_memory,
    )
    weights = read_part(folder / "vae", "diffusion_pytorch_model", half=half)
    loaded_vae = vae.build_vae(vae_config, weights, DTYPES[placement.vae.dtype])
    return _finish(model, clip, loaded_vae, profile_of_folder(folder), placement)


def load_checkpoint(
    path: Path, settings: LoaderSettings, *, allow_pickle: bool = False, dynamic: bool = True
) -> Loaded:
    """Loads a single-file checkpoint of Stable Diffusion 1.x, 2.x or XL in its usual layout.

    `dynamic`: into ComfyUI's dynamic memory, where that is on and the settings allow it.
    Raises ModelUnreadable for a damaged file, UnsupportedModel for another kind of model and for a
    pickle that is not allowed or holds code.
    """
    check_allowed(path, allow_pickle=allow_pickle)
    weights, metadata = (read_pickle(path), None) if is_pickle(path) else _read(path)
    names = list(weights)
    placement = tuning.place_loaded(settings, _numbers(weights, _UNET), dynamic=dynamic)
    model, clip, loaded_vae = _guessed(path, weights, metadata, placement)
    family = _family_of_host(model)
    if family is None or clip is None or loaded_vae.first_stage_model is None:
        raise _unsupported(path, "its UNet, text encoder or VAE is missing or of another kind")
    networks = (model.model.diffusion_model, loaded_vae.first_stage_model)
    check_parts(path, names, *(network.state_dict() for network in networks))
    _check_shapes(path, *networks, clip.cond_stage_model)
    profile = _profile_of_file(path, model, family)
    loaded = _finish(model, clip, loaded_vae, profile, placement)
    _let_reload(loaded, partial(load_checkpoint, allow_pickle=allow_pickle), path, settings)
    return loaded


def _numbers(weights: Weights, prefix: str = "") -> int:
    """How many numbers the weights whose names begin so hold."""
    return sum(one.numel() for name, one in weights.items() if name.startswith(prefix))


def _read(path: Path) -> tuple[Weights, Metadata]:
    """Weights and texts as ComfyUI reads them; it then knows where in the file the weights lie."""
    check_file(path)
    found: tuple[Weights, Metadata] = comfy.utils.load_torch_file(str(path), return_metadata=True)
    return found


def _guessed(path: Path, weights: Weights, metadata: Metadata, placement: Placement) -> Any:
    """What ComfyUI makes of the weights: MODEL, CLIP and VAE."""
    load = comfy.sd.load_state_dict_guess_config
    options = {} if placement.unet.in_dynamic_memory else without_dynamic_memory(load)
    try:
        found = load(
            weights,
            embedding_directory=[str(root) for root in ComfyFolders().roots("embeddings")],
            model_options={"dtype": DTYPES[placement.unet.dtype]},
            te_model_options=tuning.text_options(placement.text),
            metadata=metadata,
            **options,
        )
    except RuntimeError as error:
        # torch's words for weights that do not fit: a headline, then a line for each.
        lines = str(error).splitlines()
        if len(lines) < 2 or not lines[0].startswith("Error(s) in loading state_dict"):
            raise  # out of memory, or something of the host's, which says it better
        raise _misshapen(path, lines[1].strip()) from error
    if found is None:
        raise _unsupported(path, "ComfyUI does not know its layout")
    return found[:3]


def _check_shapes(path: Path, *networks: Any) -> None:
    for network in networks:
        wrong = shape_mismatch(network)
        if wrong:
            raise _misshapen(path, wrong)


def _misshapen(path: Path, what: str) -> ModelUnreadable:
    return ModelUnreadable(
        f"{path.name} holds weights that do not fit each other: {what}. Download it again."
    )


def _let_reload(
    loaded: Loaded, load: Callable[..., Loaded], path: Path, settings: LoaderSettings
) -> None:
    """Lets ComfyUI load each part once more with these settings, for another GPU for instance."""
    for part, patcher in _patchers(loaded).items():
        set_patcher_init(patcher, _again, load, path, settings, part)


def _again(
    load: Callable[..., Loaded],
    path: Path,
    settings: LoaderSettings,
    part: str,
    disable_dynamic: bool = False,
) -> Any:
    """The patcher of one part, of a model that was loaded anew."""
    return _patchers(load(path, settings, dynamic=not disable_dynamic))[part]


def _patchers(loaded: Loaded) -> dict[str, Any]:
    return {"model": loaded.model, "clip": loaded.clip.patcher, "vae": loaded.vae.patcher}


def profile_of(model: Any) -> ModelProfile | None:
    """The profile that a Spriteworks loader left on a MODEL; None for other loaders' models."""
    profile = model.get_attachment(_PROFILE)
    return profile if isinstance(profile, ModelProfile) else None


def _folder_unet(folder: Path, config: Any, vae_config: Any, dtype: torch.dtype) -> Any:
    scheduler = read_scheduler_config(folder)
    network = unet.build_unet(
        config,
        scheduler=scheduler,
        prediction=prediction_of(scheduler),
        latent_scale=vae_config.get("scaling_factor", 0.18215),
        dtype=dtype,
    )
    return network.to(comfy.model_management.unet_offload_device())


def _finish(
    model: Any, clip: Any, loaded_vae: Any, profile: ModelProfile, placement: Placement
) -> Loaded:
    tuning.tune(model, clip, loaded_vae, placement)
    model.set_attachments(_PROFILE, profile)
    return Loaded(model, clip, loaded_vae, profile)


def _family_of_host(model: Any) -> Family | None:
    host = comfy.supported_models
    kinds = {host.SD15: Family.SD1, host.SD20: Family.SD2, host.SDXL: Family.SDXL}
    config = model.model.model_config
    return next((family for kind, family in kinds.items() if isinstance(config, kind)), None)


def _profile_of_file(path: Path, model: Any, family: Family) -> ModelProfile:
    """A single file says nothing of its size or of Turbo: the version's, and the file's name."""
    is_v = model.model.model_type is comfy.model_base.ModelType.V_PREDICTION
    prediction = Prediction.V if is_v else Prediction.EPSILON
    return profile_of_version(version_of(family, prediction, turbo="turbo" in path.stem.lower()))


def _unsupported(path: Path, why: str) -> UnsupportedModel:
    return UnsupportedModel(
        f"{path.name} is not a Stable Diffusion 1.x, 2.x or XL checkpoint: {why}. A folder of "
        "another width or depth can be loaded with the diffusers loader."
    )
