"""Loads models into ComfyUI's own MODEL, CLIP and VAE."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.sd
import comfy.supported_models
import torch

from ..errors import ModelUnreadable, UnsupportedModel
from ..models import Family, Prediction, family_of, version_of
from ..profiles import (
    ModelProfile,
    prediction_of,
    profile_of_folder,
    profile_of_version,
    read_json,
    read_scheduler_config,
)
from ..settings import LoaderSettings, Precision
from ..weights.files import Weights, count_parameters, read_part, tensor_names
from ..weights.pickles import check_allowed, is_pickle, read_pickle
from ..weights.wholeness import check_parts
from . import text, tuning, unet, vae
from .compat import without_dynamic_memory
from .folders import ComfyFolders

_UNET = "model.diffusion_model."  # before the names of a checkpoint's UNet weights
_PROFILE = "spriteworks_profile"


@dataclass(frozen=True)
class Loaded:
    """ComfyUI's own model objects and what the model is made for."""

    model: Any
    clip: Any
    vae: Any
    profile: ModelProfile


def load_diffusers(folder: Path, settings: LoaderSettings) -> Loaded:
    """Loads a diffusers folder of the Stable Diffusion family, of any width and depth.

    Raises ModelUnreadable for a damaged or incomplete folder, UnsupportedModel for another kind.
    """
    try:
        return _loaded_folder(folder, settings)
    except (ModelUnreadable, UnsupportedModel) as error:
        if folder.name in str(error):
            raise
        raise type(error)(f"{folder.name}: {error}") from error


def _loaded_folder(folder: Path, settings: LoaderSettings) -> Loaded:
    config = read_json(folder / "unet" / "config.json")
    vae_config = read_json(folder / "vae" / "config.json")
    family = family_of(config)
    # A CPU gets fp32 or bf16 from auto, and both come from the full file.
    half = settings.precision is Precision.FP16 or (
        settings.precision is Precision.AUTO and not tuning.hardware().on_cpu
    )
    weights = read_part(folder / "unet", "diffusion_pytorch_model", half=half)
    settings = tuning.resolved(settings, sum(tensor.numel() for tensor in weights.values()))
    loaded_unet = _folder_unet(folder, config, vae_config, weights, tuning.unet_dtype(settings))
    clip = text.build_clip(
        family,
        text.read_text_parts(folder, family, half=half),
        embeddings=ComfyFolders().roots("embeddings"),
        options=tuning.text_options(settings),
    )
    weights = read_part(folder / "vae", "diffusion_pytorch_model", half=half)
    loaded_vae = vae.build_vae(vae_config, weights, tuning.vae_dtype(settings))
    return _finish(_patcher(loaded_unet), clip, loaded_vae, profile_of_folder(folder), settings)


def load_checkpoint(path: Path, settings: LoaderSettings, *, allow_pickle: bool = False) -> Loaded:
    """Loads a single-file checkpoint of Stable Diffusion 1.x, 2.x or XL in its usual layout.

    Raises ModelUnreadable for a damaged file, UnsupportedModel for another kind of model and for a
    pickle that is not allowed or holds code.
    """
    check_allowed(path, allow_pickle=allow_pickle)
    pickled = read_pickle(path) if is_pickle(path) else None
    names = tensor_names(path) if pickled is None else list(pickled)
    settings = tuning.resolved(settings, _parameters(path, pickled))
    try:
        model, clip, loaded_vae, _ = _guessed(
            path,
            pickled,
            embedding_directory=[str(root) for root in ComfyFolders().roots("embeddings")],
            model_options={"dtype": tuning.unet_dtype(settings)},
            te_model_options=tuning.text_options(settings),
        )
    except RuntimeError as error:
        raise _unsupported(path, "ComfyUI does not know its layout") from error
    family = _family_of_host(model)
    if family is None or clip is None or loaded_vae.first_stage_model is None:
        raise _unsupported(path, "its UNet, text encoder or VAE is missing or of another kind")
    check_parts(
        path,
        names,
        model.model.diffusion_model.state_dict(),
        loaded_vae.first_stage_model.state_dict(),
    )
    return _finish(model, clip, loaded_vae, _profile_of_file(path, model, family), settings)


def _parameters(path: Path, pickled: Weights | None) -> int:
    """How many numbers the UNet of a checkpoint has."""
    if pickled is None:
        return count_parameters(path, _UNET)
    return sum(one.numel() for name, one in pickled.items() if name.startswith(_UNET))


def _guessed(path: Path, pickled: Weights | None, **options: Any) -> Any:
    """What ComfyUI makes of the file, or of the weights that a pickle held."""
    options |= without_dynamic_memory(comfy.sd.load_checkpoint_guess_config)
    if pickled is None:
        return comfy.sd.load_checkpoint_guess_config(str(path), **options)
    found = comfy.sd.load_state_dict_guess_config(pickled, **options)
    if found is None:
        raise _unsupported(path, "ComfyUI does not know its layout")
    return found


def profile_of(model: Any) -> ModelProfile | None:
    """The profile that a Spriteworks loader left on a MODEL; None for other loaders' models."""
    profile = model.get_attachment(_PROFILE)
    return profile if isinstance(profile, ModelProfile) else None


def _folder_unet(
    folder: Path, config: Any, vae_config: Any, weights: Weights, dtype: torch.dtype
) -> Any:
    scheduler = read_scheduler_config(folder)
    return unet.build_unet(
        config,
        weights,
        scheduler=scheduler,
        prediction=prediction_of(scheduler),
        latent_scale=vae_config.get("scaling_factor", 0.18215),
        dtype=dtype,
    )


def _patcher(network: Any) -> Any:
    management = comfy.model_management
    network.to(management.unet_offload_device())
    return comfy.model_patcher.ModelPatcher(
        network,
        load_device=management.get_torch_device(),
        offload_device=management.unet_offload_device(),
    )


def _finish(
    model: Any, clip: Any, loaded_vae: Any, profile: ModelProfile, settings: LoaderSettings
) -> Loaded:
    tuning.tune(model, clip, loaded_vae, settings)
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
