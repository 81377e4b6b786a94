"""The optimisation settings of a loader: one frozen value shared by nodes, engine and CLI.

A setting acts on the one model it was loaded with, never on the process.
"""

from __future__ import annotations

from enum import Enum

from pydantic import BaseModel, ConfigDict


class Precision(str, Enum):
    """Number format of the weights and of the arithmetic."""

    AUTO = "auto"  # fp32 on a CPU, what the host thinks best on an accelerator
    FP32 = "fp32"
    FP16 = (
        "fp16"  # half the memory; the VAE keeps the host's safe choice (SDXL's overflows in fp16)
    )
    BF16 = "bf16"  # half the memory, fp32's range, fewer digits


class Attention(str, Enum):
    """How the UNet's attention is computed. All give the same result up to rounding."""

    AUTO = "auto"  # sdpa on a CPU, the host's own on an accelerator
    SDPA = "sdpa"  # torch.nn.functional.scaled_dot_product_attention
    SLICED = "sliced"  # in slices when memory is short: slow, small


class VaeTiling(str, Enum):
    """Whether the VAE works on the whole picture or on overlapping tiles."""

    AUTO = "auto"  # whole, and in tiles when memory ran out
    OFF = "off"  # whole, and an error when memory runs out
    ON = "on"  # always in tiles; pictures larger than a tile change slightly


class Offload(str, Enum):
    """Where weights wait while they are not in use."""

    AUTO = "auto"  # the host's memory management decides
    NONE = "none"  # they stay on the device
    TEXT_ENCODER = "text_encoder"  # the text encoder lives and works in system memory
    MODEL = "model"  # every part returns to system memory after use


class LoaderSettings(BaseModel):
    """What a loader is told about speed and memory; an unknown name or value is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    precision: Precision = Precision.AUTO
    attention: Attention = Attention.AUTO
    vae_tiling: VaeTiling = VaeTiling.AUTO
    offload: Offload = Offload.AUTO
