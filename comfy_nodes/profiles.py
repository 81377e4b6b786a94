"""What a loaded model is made for: the size, steps and guidance that a workflow should follow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import ModelUnreadable, UnsupportedModel
from .models import Prediction, Version, family_of, version_of

PROFILE_FILE = "spriteworks.json"


class ModelProfile(BaseModel):
    """Native width and height in pixels, and the model's own defaults where it has any.

    None means that the model has no wish of its own and takes what the workflow says.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    width: int = Field(ge=8, le=16384)
    height: int = Field(ge=8, le=16384)
    steps: int | None = Field(default=None, ge=1, le=10000)
    cfg: float | None = Field(default=None, ge=0.0, le=100.0)
    sampler: str | None = None
    scheduler: str | None = None


def profile_of_version(version: Version) -> ModelProfile:
    """The profile of a published version; most leave steps and guidance to the workflow."""
    own = version.sampling if version.insists else None
    return ModelProfile(
        width=version.size,
        height=version.size,
        steps=own.steps if own else None,
        cfg=own.cfg if own else None,
    )


def profile_of_folder(folder: Path) -> ModelProfile:
    """The profile of a diffusers folder: its spriteworks.json, else what its configs tell.

    Raises ModelUnreadable when a config is missing or is no JSON.
    """
    own = folder / PROFILE_FILE
    if own.is_file():
        try:
            return ModelProfile.model_validate(read_json(own))
        except ValidationError as error:
            raise ModelUnreadable(
                f"{own.name} of the model {folder.name!r} is not a model profile: {error}. "
                "Correct the file, or delete it to use the defaults of the model's version."
            ) from error
    unet = read_json(folder / "unet" / "config.json")
    return _profile_of_configs(unet, read_scheduler_config(folder))


def _profile_of_configs(unet: Mapping[str, Any], scheduler: Mapping[str, Any]) -> ModelProfile:
    version = version_of(
        family_of(unet),
        prediction_of(scheduler),
        turbo=_is_turbo(scheduler),
        inpainting=unet.get("in_channels", 4) == 9,
    )
    profile = profile_of_version(version)
    size = unet.get("sample_size")  # in latent pixels, 8 picture pixels each
    if isinstance(size, int):
        return profile.model_copy(update={"width": size * 8, "height": size * 8})
    return profile


def prediction_of(scheduler: Mapping[str, Any]) -> Prediction:
    """What the UNet predicts, from scheduler_config.json; diffusers' default is the noise.

    Raises UnsupportedModel for a prediction type that Stable Diffusion has not.
    """
    name = scheduler.get("prediction_type", Prediction.EPSILON.value)
    try:
        return Prediction(name)
    except ValueError as error:
        known = ", ".join(p.value for p in Prediction)
        raise UnsupportedModel(
            f"The model's scheduler has prediction_type {name!r}; supported are {known}."
        ) from error


def _is_turbo(scheduler: Mapping[str, Any]) -> bool:
    """SDXL Turbo has SDXL's own layout; its folder is told by the scheduler it asks for."""
    return (
        scheduler.get("_class_name") == "EulerAncestralDiscreteScheduler"
        and scheduler.get("timestep_spacing") == "trailing"
    )


def read_scheduler_config(folder: Path) -> dict[str, Any]:
    """scheduler/scheduler_config.json of a diffusers folder; empty where there is none."""
    path = folder / "scheduler" / "scheduler_config.json"
    return read_json(path) if path.is_file() else {}


def named(path: Path) -> str:
    """A file of a model folder as errors name it: MODEL/PART/FILE."""
    return "/".join(path.parts[-3:])


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file of a model folder.

    Raises ModelUnreadable when it is missing, no JSON or no object.
    """
    where = named(path)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelUnreadable(f"There is no {where}: download the whole folder again.") from error
    except (OSError, ValueError) as error:
        raise ModelUnreadable(f"{where} cannot be read ({error}): download it again.") from error
    if not isinstance(value, dict):
        raise ModelUnreadable(f"{where} holds no JSON object: download it again.")
    return value
