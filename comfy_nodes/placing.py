"""Where each part of a model runs and rests, and in which number formats: one value for both hosts.

Pure: `place` gives it for settings, a device, the model's size and how the host treats weights.
native/ carries it out on ComfyUI's objects, the engine on diffusers'.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from .hardware import Device, computed_in, resolve
from .settings import (
    LoaderSettings,
    MemoryFormat,
    Offload,
    Precision,
    Quantization,
    Scope,
    blocking_dynamic_memory,
    settings_of_scope,
)


class Dtype(Enum):
    """A number format; `ops.dtypes` has torch's object for each."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"
    FP8 = "fp8"  # e4m3
    INT8 = "int8"


class Where(Enum):
    """One of the two memories of a machine; the same one where the device is the CPU."""

    DEVICE = "device"  # the device that the model is for
    CPU = "cpu"


class Memory(Enum):
    """How a host treats weights."""

    FIXED = "fixed"  # they are where they are put: the engine
    MANAGED = "managed"  # it moves layers as memory runs short: ComfyUI
    DYNAMIC = "dynamic"  # they come page by page, as their file has them: ComfyUI from 0.15 on


@dataclass(frozen=True, kw_only=True)
class PartPlacement:
    """Where the UNet, the text encoders or the VAE run and rest, and in which number formats."""

    # where it computes
    device: Where = Where.DEVICE
    # where it rests between uses; None: the host decides
    home: Where | None
    # what was chosen for its weights, without 8 bits: fp32, fp16 or bf16
    dtype: Dtype
    # what it computes in: fp32 where a CPU would have to compute in fp16
    computed: Dtype
    # what the weights of linear layers and convolutions are stored in; None: as their file has
    # them, in dynamic memory
    stored: Dtype | None
    # 8 bits with a scale for each row, of linear layers' weights
    quantized: Dtype | None = None
    # the order of convolutions' weights; auto: as they are
    memory_format: MemoryFormat
    # whether its layers come to the device one by one, each for its own turn only
    by_layer: bool = False
    # whether it goes home after each use, however much room there is
    released: bool = False

    @property
    def in_dynamic_memory(self) -> bool:
        """Whether the weights stay as their file has them, and come page by page."""
        return self.stored is None


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Of a whole model, with settings in which nothing is left open that the host does not do."""

    settings: LoaderSettings
    unet: PartPlacement
    text: PartPlacement
    vae: PartPlacement
    # a sentence for each setting that was replaced
    notes: tuple[str, ...] = ()
    # what is loaded without dynamic memory, and why; empty where nothing is
    without_dynamic_memory: str = ""


def place(
    settings: LoaderSettings,
    device: Device,
    parameters: int,
    memory: Memory,
    *,
    vae_alone: bool = False,
) -> Placement:
    """The placement of a model with a UNet of that many parameters on that device.

    `vae_alone`: of a VAE by itself, which is compiled where the settings say so; that of a loader
    is not. Raises UnsupportedSetting where something had to be replaced and `settings.strict` is
    set.
    """
    found = resolve(settings, device, parameters, host_manages_memory=memory is not Memory.FIXED)
    dynamic = memory is Memory.DYNAMIC
    of_model, of_vae = _blocking(settings, vae_alone=vae_alone)
    model = _Given(found.settings, device, memory, dynamic and not of_model)
    vae = _Given(found.settings, device, memory, dynamic and not of_vae)
    return Placement(
        settings=found.settings,
        unet=_unet(model),
        text=_text(model),
        vae=_part(vae, Dtype(found.settings.vae_precision.value)),
        notes=found.notes,
        without_dynamic_memory=_why_not_dynamic(settings, of_model, of_vae) if dynamic else "",
    )


def _blocking(
    settings: LoaderSettings, *, vae_alone: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Settings that need UNet and text encoders outside of dynamic memory, and the VAE."""
    of_model = settings_of_scope(Scope.MODEL | Scope.CLIP)
    of_vae = settings_of_scope(Scope.VAE)
    if not vae_alone:
        of_vae = tuple(name for name in of_vae if name != "compile")
    return (
        blocking_dynamic_memory(settings, of_model),
        blocking_dynamic_memory(settings, of_vae),
    )


@dataclass(frozen=True)
class _Given:
    """What the placement of a part follows from."""

    settings: LoaderSettings  # resolved
    device: Device
    memory: Memory
    in_dynamic_memory: bool


def _unet(given: _Given) -> PartPlacement:
    settings = given.settings
    part = _part(given, _model_dtype(given))
    narrow = Dtype.FP8 if settings.precision is Precision.FP8 else part.stored
    quantized = None
    if settings.quantization is not Quantization.OFF:
        quantized = Dtype(settings.quantization.value)
    by_layer = settings.offload is Offload.SEQUENTIAL
    return replace(part, stored=narrow, quantized=quantized, by_layer=by_layer)


def _text(given: _Given) -> PartPlacement:
    """The text encoders, which may be kept off the device altogether."""
    part = _part(given, _model_dtype(given))
    if given.settings.offload is not Offload.TEXT_ENCODER:
        return part
    return replace(part, device=Where.CPU, home=Where.CPU, computed=_computed(part.dtype, True))


def _part(given: _Given, dtype: Dtype) -> PartPlacement:
    dynamic = given.in_dynamic_memory
    return PartPlacement(
        home=_home(given.settings.offload, given.memory),
        dtype=dtype,
        computed=_computed(dtype, given.device.on_cpu),
        stored=None if dynamic else dtype,
        memory_format=MemoryFormat.AUTO if dynamic else given.settings.memory_format,
        released=given.settings.offload is Offload.MODEL,
    )


def _model_dtype(given: _Given) -> Dtype:
    return Dtype(computed_in(given.settings, given.device).value)


def _computed(dtype: Dtype, on_cpu: bool) -> Dtype:
    """CPUs compute in fp16 so slowly (one VAE pass in minutes) that fp32 is done instead."""
    return Dtype.FP32 if dtype is Dtype.FP16 and on_cpu else dtype


def _home(offload: Offload, memory: Memory) -> Where | None:
    if offload in (Offload.MODEL, Offload.SEQUENTIAL):
        return Where.CPU
    decided = offload is Offload.NONE or memory is Memory.FIXED
    return Where.DEVICE if decided else None


def _why_not_dynamic(
    settings: LoaderSettings, of_model: tuple[str, ...], of_vae: tuple[str, ...]
) -> str:
    names = tuple(dict.fromkeys([*of_model, *of_vae]))
    if not names:
        return ""
    parts = "the whole model" if of_model and of_vae else "the VAE"
    if not of_vae:
        parts = "the UNet and the text encoders"
    because = " and ".join(f"{name} {getattr(settings, name).value}" for name in names)
    return f"Loading {parts} without ComfyUI's dynamic memory, because of {because}."
