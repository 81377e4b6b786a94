"""The optimisation settings of a loader: one frozen value shared by nodes, engine and CLI.

A setting acts on the one model it was loaded with, never on the process. What each does, costs
and gains is in docs/optimization-guide.md.

A field of LoaderSettings is the one place that describes a setting: its type, bounds and default,
and as a `Setting` what nodes, hosts and benchmarks have to know of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, Flag, auto
from typing import Annotated, Any

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


class Scope(Flag):
    """Which of a loader's outputs something acts on."""

    MODEL = auto()
    CLIP = auto()
    VAE = auto()
    ALL = MODEL | CLIP | VAE


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is said of a setting beside its type, bounds and default."""

    tooltip: str
    # the nodes that offer it: loaders all, Optimize Model those of MODEL, Optimize VAE those of VAE
    scope: Scope
    # choices that act on less than `scope` does
    narrower: tuple[tuple[Enum, Scope], ...] = ()
    # whether a graph may leave it out of a loader, and a node for settings alone folds it away
    advanced: bool = True
    # of the widget of a number: what an arrow adds, and what is rounded to
    step: float | None = None
    round: float | None = None
    # the values with which weights can stay in ComfyUI's dynamic memory; None: all
    dynamic: tuple[Enum, ...] | None = None
    # whether it is a Toggle of torch's that is the whole process's, set while the model works
    process: bool = False
    # what a host without such a setting does, the baseline of benchmarks; None: as the default
    without: Enum | None = None
    # what benchmarks try unless they are told; None: every choice but auto
    tried: tuple[Any, ...] | None = None


class LoaderSettings(BaseModel):
    """What a loader is told about speed and memory.

    An unknown name or value is refused, and so are two settings that contradict each other. The
    order is that of a node's inputs; a loader has those first that are not advanced. Canvas files
    know a node's fields by their order, so a new one comes last.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    precision: Annotated[
        Precision,
        Setting(
            tooltip="Number format of the model. auto: fp16 on an accelerator; on a CPU bf16 for "
            "large models where the CPU computes in it, else fp32. fp16 and bf16 halve the memory "
            "and change the picture slightly; fp8 stores the weights in a quarter and changes it "
            "more.",
            scope=Scope.MODEL | Scope.CLIP,
            advanced=False,
            dynamic=(Precision.AUTO,),
        ),
    ] = Precision.AUTO
    attention: Annotated[
        Attention,
        Setting(
            tooltip="How attention is computed. sdpa: PyTorch's own, usually fastest. flash, "
            "xformers, sliced: the same picture up to rounding; sliced needs little memory and is "
            "slow on a card. sage changes the picture.",
            scope=Scope.MODEL,
            advanced=False,
            without=Attention.SDPA,
        ),
    ] = Attention.AUTO
    vae_precision: Annotated[
        VaePrecision,
        Setting(
            tooltip="Number format of the VAE. auto: bf16 where the device computes in it, else "
            "fp32. fp16 makes XL pictures black.",
            scope=Scope.VAE,
            dynamic=(VaePrecision.AUTO,),
        ),
    ] = VaePrecision.AUTO
    vae_tiling: Annotated[
        VaeTiling,
        Setting(
            tooltip="Decode in overlapping tiles: less memory, slightly different large pictures. "
            "auto: only when memory runs out or is known to be short.",
            scope=Scope.VAE,
            advanced=False,
            without=VaeTiling.OFF,
        ),
    ] = VaeTiling.AUTO
    # Pixels of the decoded picture; multiples of 64, as in ComfyUI's tiled decode.
    vae_tile: Annotated[
        int,
        Field(ge=128, le=4096, multiple_of=64),
        Setting(tooltip="Side of a tile in pixels, for tiled decoding.", scope=Scope.VAE, tried=()),
    ] = 512
    vae_overlap: Annotated[
        int,
        Field(ge=0, le=1024, multiple_of=8),
        Setting(
            tooltip="How far tiles overlap in pixels: at most a quarter of a tile.",
            scope=Scope.VAE,
            tried=(),
        ),
    ] = 128
    vae_slicing: Annotated[
        Toggle,
        Setting(
            tooltip="Pictures of a batch one by one through the VAE: less memory, same picture.",
            scope=Scope.VAE,
            without=Toggle.OFF,
            tried=(),  # without batches it means nothing
        ),
    ] = Toggle.AUTO
    offload: Annotated[
        Offload,
        Setting(
            tooltip="Where weights wait. none: on the device. text_encoder: that one lives in "
            "system memory. model: every part returns to system memory after use. sequential: the "
            "model's layers come one by one, slowest and smallest. auto: the host decides.",
            scope=Scope.ALL,
            narrower=((Offload.TEXT_ENCODER, Scope.CLIP), (Offload.SEQUENTIAL, Scope.MODEL)),
            advanced=False,
            dynamic=(Offload.AUTO, Offload.TEXT_ENCODER),
        ),
    ] = Offload.AUTO
    memory_format: Annotated[
        MemoryFormat,
        Setting(
            tooltip="Order of the convolutions' weights. channels_last suits tensor cores; same "
            "picture up to rounding.",
            scope=Scope.MODEL | Scope.VAE,
            dynamic=(MemoryFormat.AUTO, MemoryFormat.CONTIGUOUS),
            without=MemoryFormat.CONTIGUOUS,
        ),
    ] = MemoryFormat.AUTO
    compile: Annotated[
        Compile,
        Setting(
            tooltip="torch.compile: slow first run, faster ones after it. blocks: the repeated "
            "blocks; whole: everything in one piece, again for each new size.",
            scope=Scope.MODEL | Scope.VAE,
            dynamic=(Compile.OFF,),
        ),
    ] = Compile.OFF
    compile_mode: Annotated[
        CompileMode,
        Setting(
            tooltip="default, reduce-overhead (CUDA graphs) or max-autotune (tries kernels).",
            scope=Scope.MODEL | Scope.VAE,
            tried=(),  # without compile it means nothing
        ),
    ] = CompileMode.DEFAULT
    quantization: Annotated[
        Quantization,
        Setting(
            tooltip="8-bit weights of the linear layers, with a scale for each row: less memory, "
            "slower, changes the picture.",
            scope=Scope.MODEL,
            dynamic=(Quantization.OFF,),
        ),
    ] = Quantization.OFF
    cudnn_benchmark: Annotated[
        Toggle,
        Setting(
            tooltip="cuDNN tries its kernels on each new size. Set while this model runs.",
            scope=Scope.MODEL,
            process=True,
            without=Toggle.OFF,
        ),
    ] = Toggle.AUTO
    fp16_accumulation: Annotated[
        Toggle,
        Setting(
            tooltip="Sums of fp16 products kept in fp16: faster on GeForce cards, changes the "
            "picture. Set while this model runs.",
            scope=Scope.MODEL,
            process=True,
            without=Toggle.OFF,
        ),
    ] = Toggle.AUTO
    tf32: Annotated[
        Toggle,
        Setting(
            tooltip="fp32 products with 10 bits: faster for precision fp32, changes the picture "
            "slightly. Set while this model runs.",
            scope=Scope.MODEL,
            process=True,
            without=Toggle.OFF,
        ),
    ] = Toggle.AUTO
    # Largest relative change of the UNet's input, summed over steps, for which its last answer is
    # used again; 0 computes every step.
    step_cache: Annotated[
        float,
        Field(ge=0.0, le=1.0),
        Setting(
            tooltip="LOSSY. Skips the model in steps where its input changed by less than this: 0 "
            "is off, 0.1 is careful, 0.3 is fast.",
            scope=Scope.MODEL,
            step=0.01,
            round=0.001,
            tried=(0.1,),
        ),
    ] = 0.0
    strict: Annotated[
        bool,
        Setting(
            tooltip="Refuse what the device cannot do instead of taking the next best with a line "
            "in the log.",
            scope=Scope.ALL,
            tried=(),  # nothing of speed
        ),
    ] = False
    # By the faster of PyTorch's libraries (ops/cpu_kernels.py), also while the VAE works.
    cpu_kernels: Annotated[
        Toggle,
        Setting(
            tooltip="fp32 layers on a CPU by oneDNN's matrix products and NNPACK's Winograd "
            "convolutions: faster on other processors than Intel's; same picture up to rounding. "
            "Set while this model runs.",
            scope=Scope.MODEL | Scope.VAE,
            process=True,
            without=Toggle.OFF,
        ),
    ] = Toggle.AUTO

    @property
    def torch_compile_mode(self) -> str | None:
        """The argument `mode` of torch.compile."""
        return None if self.compile_mode is CompileMode.DEFAULT else self.compile_mode.value

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


SETTINGS: Mapping[str, Setting] = {
    name: next(one for one in field.metadata if isinstance(one, Setting))
    for name, field in LoaderSettings.model_fields.items()
}


def settings_of_scope(scope: Scope) -> tuple[str, ...]:
    """Names of the settings that act on any of these outputs, in order."""
    return tuple(name for name, setting in SETTINGS.items() if setting.scope & scope)


def blocking_dynamic_memory(settings: LoaderSettings, names: Iterable[str]) -> tuple[str, ...]:
    """Those of `names` whose values need weights outside of ComfyUI's dynamic memory.

    Of settings as they were asked for, before `auto` is resolved.
    """
    return tuple(
        name
        for name in names
        if (possible := SETTINGS[name].dynamic) is not None
        and getattr(settings, name) not in possible
    )
