"""The optimisation settings of a loader: one frozen value shared by nodes, engine and CLI.

A setting acts on the one model it was loaded with, never on the process. What each does, costs
and gains is in docs/optimization-guide.md.
"""

from __future__ import annotations

from enum import Enum

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Precision(str, Enum):
    """Number format of the UNet and the text encoders."""

    AUTO = "auto"  # what is fastest on the device without visible loss (see hardware.py)
    FP32 = "fp32"
    FP16 = "fp16"  # half the memory
    BF16 = "bf16"  # half the memory, fp32's range, fewer digits
    FP8 = "fp8"  # UNet weights in 8 bits (e4m3), widened to fp16 or bf16 for the arithmetic


class VaePrecision(str, Enum):
    """Number format of the VAE, apart from the rest: SDXL's overflows in fp16."""

    AUTO = "auto"  # never fp16
    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"


class Attention(str, Enum):
    """How the UNet's attention is computed. All but sage give the same result up to rounding."""

    AUTO = "auto"  # sdpa; sliced where memory is short, and on a CPU in bf16, where it is faster
    SDPA = "sdpa"  # torch.nn.functional.scaled_dot_product_attention
    FLASH = "flash"  # SDPA held to its flash kernel
    XFORMERS = "xformers"  # xformers' memory_efficient_attention
    SAGE = "sage"  # SageAttention: 8-bit products, changes the picture
    SLICED = "sliced"  # in slices over heads and queries: small; slow on a card


class MemoryFormat(str, Enum):
    """Order of a convolution's weights in memory."""

    AUTO = "auto"  # what measures faster on the device
    CONTIGUOUS = "contiguous"  # NCHW
    CHANNELS_LAST = "channels_last"  # NHWC, which tensor cores and oneDNN prefer


class Compile(str, Enum):
    """What torch.compile is applied to."""

    OFF = "off"
    BLOCKS = "blocks"  # each repeated block: a tenth of the compile time of whole
    WHOLE = "whole"  # the UNet in one piece; compiles anew for each new size


class CompileMode(str, Enum):
    """The `mode` of torch.compile."""

    DEFAULT = "default"
    REDUCE_OVERHEAD = "reduce-overhead"  # CUDA graphs
    MAX_AUTOTUNE = "max-autotune"  # tries kernels: slow to start


class VaeTiling(str, Enum):
    """Whether the VAE works on the whole picture or on overlapping tiles."""

    AUTO = "auto"  # whole, and in tiles when memory ran out or is known to be too small
    OFF = "off"  # whole, and an error when memory runs out
    ON = "on"  # always in tiles; pictures larger than a tile change slightly


class Offload(str, Enum):
    """Where weights wait while they are not in use."""

    AUTO = "auto"  # the host's memory management decides
    NONE = "none"  # they stay on the device
    TEXT_ENCODER = "text_encoder"  # the text encoder lives and works in system memory
    MODEL = "model"  # every part returns to system memory after use
    SEQUENTIAL = "sequential"  # the UNet's layers come to the device one by one: slowest, smallest


class Quantization(str, Enum):
    """8-bit weights of the UNet's linear layers, with a scale for each row."""

    OFF = "off"
    INT8 = "int8"
    FP8 = "fp8"


class Toggle(str, Enum):
    """A switch that may be left to the device's table."""

    AUTO = "auto"
    OFF = "off"
    ON = "on"


class LoaderSettings(BaseModel):
    """What a loader is told about speed and memory.

    An unknown name or value is refused, and so are two settings that contradict each other.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    precision: Precision = Precision.AUTO
    attention: Attention = Attention.AUTO
    vae_tiling: VaeTiling = VaeTiling.AUTO
    offload: Offload = Offload.AUTO
    vae_precision: VaePrecision = VaePrecision.AUTO
    # Pixels of the decoded picture; multiples of 64, as in ComfyUI's tiled decode.
    vae_tile: int = Field(default=512, ge=128, le=4096, multiple_of=64)
    vae_overlap: int = Field(default=128, ge=0, le=1024, multiple_of=8)
    # Pictures of a batch one by one through the VAE.
    vae_slicing: Toggle = Toggle.AUTO
    memory_format: MemoryFormat = MemoryFormat.AUTO
    compile: Compile = Compile.OFF
    compile_mode: CompileMode = CompileMode.DEFAULT
    quantization: Quantization = Quantization.OFF
    # The kernel switches are the process's: set while this model samples, then restored.
    cudnn_benchmark: Toggle = Toggle.AUTO
    fp16_accumulation: Toggle = Toggle.AUTO
    tf32: Toggle = Toggle.AUTO
    # Lossy. Largest relative change of the UNet's input, summed over steps, for which its last
    # answer is used again; 0 computes every step.
    step_cache: float = Field(default=0.0, ge=0.0, le=1.0)
    # Refuse what the device cannot do instead of taking the next best with a line in the log.
    strict: bool = False
    # fp32 layers on a CPU by the faster of PyTorch's libraries (ops/cpu_kernels.py), set while this
    # model samples and while its VAE works. Last, as canvas files saved before it was there know
    # their fields by order.
    cpu_kernels: Toggle = Toggle.AUTO

    @model_validator(mode="after")
    def _no_contradictions(self) -> LoaderSettings:
        if self.precision is Precision.FP8 and self.quantization is not Quantization.OFF:
            raise ValueError(
                "precision fp8 and quantization both change how the UNet's weights are stored: "
                "set one of the two"
            )
        if self.vae_overlap > self.vae_tile // 4:
            raise ValueError(
                f"vae_overlap {self.vae_overlap} is more than a quarter of vae_tile "
                f"{self.vae_tile}: make the overlap smaller or the tile larger"
            )
        if self.compile is not Compile.OFF and self.offload is Offload.SEQUENTIAL:
            raise ValueError(
                f"compile {self.compile.value} and offload sequential exclude each other: "
                "compiled code needs its weights on the device"
            )
        return self
