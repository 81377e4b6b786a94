"""Which settings suit a device: the table behind `auto`, and what replaces what cannot be done.

Pure: a device is a value, so every row can be tried without having the device. How a real one is
looked at is in probe.py; the table in words is in docs/optimization-guide.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from .errors import UnsupportedSetting
from .settings import (
    Attention,
    Compile,
    CompileMode,
    LoaderSettings,
    MemoryFormat,
    Offload,
    Precision,
    Quantization,
    Toggle,
    VaePrecision,
    VaeTiling,
)

GIB = 2**30

# A model of fewer UNet parameters stays in fp32, and its weights as they are, on a CPU: it is fast
# enough there, and its pictures stay the same on every machine. The starter model has 14 M, SD 1.5
# has 860 M. A VAE that is optimised by itself is counted instead: Stable Diffusion's has 84 M.
SMALL = 50_000_000

# The memory that a card is sold with is a little more than the memory it reports.
_TILES_BELOW = 11 * GIB  # the VAE of XL needs 4 to 5 GiB beside the model at 1024x1024
_SLICES_BELOW = 17 * GIB  # a batch of 8 needs eight times that
_MPS_SLICES_BELOW = 16 * GIB  # shared with the system

_AMPERE = (8, 0)
_VOLTA = (7, 0)  # the first with tensor cores

# Share of a model's parameters that is not the UNet's (text encoders, VAE): 0.2 for SD 1.5, 0.35
# for XL. Room for one picture at the native size beside the weights.
_BESIDE_UNET = 1.35
_ROOM = 2 * GIB

XFORMERS = "xformers"
SAGE = "sageattention"
COMPILER = "compiler"
FP16_ACCUMULATION = "fp16_accumulation"
CPU_KERNELS = "cpu_kernels"


@dataclass(frozen=True)
class Device:
    """What the choice of settings depends on."""

    kind: str  # PyTorch's name: "cpu", "cuda", "mps", or another accelerator's
    name: str
    memory: int  # bytes: the card's, or the system's for cpu and mps
    capability: tuple[int, int] | None = None  # CUDA compute capability
    bf16: bool = False  # arithmetic in bf16 is native: Ampere, AVX-512 BF16, AMX and newer
    libraries: frozenset[str] = frozenset()  # of XFORMERS, SAGE, COMPILER, ...
    mkl_lags: bool = False  # a CPU on which MKL multiplies fp32 far slower than oneDNN

    @property
    def on_cpu(self) -> bool:
        """Whether weights and arithmetic share system memory and no accelerator takes part."""
        return self.kind == "cpu"

    @property
    def on_cuda(self) -> bool:
        """Whether it is driven by CUDA (or ROCm, which goes by that name in PyTorch)."""
        return self.kind == "cuda"

    def at_least(self, capability: tuple[int, int]) -> bool:
        """Whether it is a CUDA device of this compute capability or newer."""
        return self.on_cuda and self.capability is not None and self.capability >= capability


@dataclass(frozen=True)
class Resolved:
    """Settings that the device can run, and a sentence for each that was replaced."""

    settings: LoaderSettings
    notes: tuple[str, ...] = ()


def resolve(
    settings: LoaderSettings,
    device: Device,
    parameters: int,
    *,
    host_manages_memory: bool = False,
) -> Resolved:
    """The settings for a UNet of that many parameters on that device.

    Three `auto` stay, because they have a meaning of their own: vae_tiling (in tiles once memory
    ran out), the kernel switches (as the process has them), and offload where the host manages
    memory itself, as ComfyUI does. Raises UnsupportedSetting, naming the setting, where something
    had to be replaced and `settings.strict` is set.
    """
    change = _Changes(settings)
    _precision(change, device, parameters)
    _vae(change, device, parameters)
    _attention(change, device)
    _memory_format(change, device, parameters)
    _compile(change, device)
    _quantization(change, device)
    _offload(change, device, parameters, host_manages_memory)
    _kernels(change, device)
    _cpu_kernels(change, device, parameters)
    return Resolved(change.settings, tuple(change.notes))


def refuse_impossible(settings: LoaderSettings, device: Device) -> None:
    """Raises UnsupportedSetting for what `resolve` refuses of strict settings for every model."""
    try:
        resolve(settings, device, 0)
    except UnsupportedSetting:
        # what is chosen for an auto, on which others may depend, is another for large models
        resolve(settings, device, SMALL)


def computed_in(settings: LoaderSettings, device: Device) -> Precision:
    """fp32, fp16 or bf16: what a UNet computes in, by resolved settings. 8-bit weights are widened.

    A CPU computes what is stored in fp16 in fp32, which is left to the hosts.
    """
    if settings.precision is not Precision.FP8:
        return settings.precision
    if device.bf16:
        return Precision.BF16
    return Precision.FP32 if device.on_cpu else Precision.FP16


class _Changes:
    """Settings on their way from what was asked for to what will be done."""

    def __init__(self, settings: LoaderSettings) -> None:
        self.settings = settings
        self.notes: list[str] = []

    def choose(self, name: str, value: Enum) -> None:
        """Fills in what was left open."""
        self.settings = self.settings.model_copy(update={name: value})

    def replace(self, name: str, value: Enum, why: str) -> None:
        """Takes the next best of what was asked for. Raises UnsupportedSetting when strict."""
        asked: Any = getattr(self.settings, name)
        if self.settings.strict:
            # auto is what would take the replacement anyway, where there is one
            others = [value.value, "auto"] if hasattr(type(asked), "AUTO") else [value.value]
            raise UnsupportedSetting(
                f"{name} {asked.value} is not possible: {why}. Choose {' or '.join(others)}, or "
                "switch strict off to have it replaced."
            )
        self.notes.append(f"{name} {asked.value} was replaced by {value.value}: {why}.")
        self.choose(name, value)


def _precision(change: _Changes, device: Device, parameters: int) -> None:
    asked = change.settings.precision
    if asked is Precision.AUTO:
        change.choose("precision", _best_precision(device, parameters))
    elif asked is Precision.BF16 and not device.bf16 and not device.on_cpu:
        change.replace("precision", Precision.FP16, f"{device.name} has no bf16 arithmetic")
    elif asked is Precision.FP8 and device.kind == "mps":
        change.replace("precision", Precision.FP16, "Metal has no 8-bit floats")


def _best_precision(device: Device, parameters: int) -> Precision:
    if not device.on_cpu:
        return Precision.FP16
    return Precision.BF16 if device.bf16 and parameters >= SMALL else Precision.FP32


def _vae(change: _Changes, device: Device, parameters: int) -> None:
    asked = change.settings.vae_precision
    if asked is VaePrecision.AUTO:
        change.choose("vae_precision", _best_vae(change.settings.precision, device, parameters))
    elif asked is VaePrecision.BF16 and not device.bf16 and not device.on_cpu:
        change.replace("vae_precision", VaePrecision.FP32, f"{device.name} has no bf16 arithmetic")
    if change.settings.vae_tiling is VaeTiling.AUTO and _short(device, _TILES_BELOW):
        change.choose("vae_tiling", VaeTiling.ON)
    if change.settings.vae_slicing is Toggle.AUTO:
        slicing = Toggle.ON if _short(device, _SLICES_BELOW) else Toggle.OFF
        change.choose("vae_slicing", slicing)


def _best_vae(precision: Precision, device: Device, parameters: int) -> VaePrecision:
    if device.on_cpu:
        # Measured on two cores with AVX-512 BF16, one decode at 512x512: 18 s in fp32, 8 s in bf16
        # and channels_last.
        wide = precision is Precision.BF16 and parameters >= SMALL
    else:
        wide = device.on_cuda and precision is not Precision.FP32
    return VaePrecision.BF16 if wide and device.bf16 else VaePrecision.FP32


def _short(device: Device, limit: int) -> bool:
    return not device.on_cpu and device.memory < limit


def _attention(change: _Changes, device: Device) -> None:
    asked = change.settings.attention
    if asked is Attention.AUTO:
        short = device.kind == "mps" and device.memory < _MPS_SLICES_BELOW
        sliced = short or _slices_are_fast(change.settings, device)
        change.choose("attention", Attention.SLICED if sliced else Attention.SDPA)
        return
    obstacle = _obstacle(asked, change.settings.precision, device)
    if obstacle:
        change.replace("attention", Attention.SDPA, obstacle)


def _slices_are_fast(settings: LoaderSettings, device: Device) -> bool:
    """A loop that would be unrolled if it were compiled; what it gains is told at `sliced`."""
    bf16 = settings.precision is Precision.BF16 and device.bf16
    return device.on_cpu and bf16 and settings.compile is Compile.OFF


def _obstacle(asked: Attention, precision: Precision, device: Device) -> str | None:
    """Why this kind of attention cannot run, None where it can."""
    if asked is Attention.FLASH:
        return _no_flash(precision, device)
    if asked is Attention.XFORMERS:
        if not device.on_cuda:
            return "xformers computes on CUDA devices only"
        return None if XFORMERS in device.libraries else "xformers is not installed"
    if asked is Attention.SAGE:
        if not device.at_least(_AMPERE):
            return f"SageAttention needs an Ampere card or newer, not {device.name}"
        return None if SAGE in device.libraries else "sageattention is not installed"
    return None


def _no_flash(precision: Precision, device: Device) -> str | None:
    if device.on_cpu:
        return None  # PyTorch has a flash kernel for CPUs, in every number format
    if not device.at_least(_AMPERE):
        return f"the flash kernel needs an Ampere card or newer, not {device.name}"
    if precision is Precision.FP32:
        return "the flash kernel computes in fp16 and bf16 only, and precision is fp32"
    return None


def _memory_format(change: _Changes, device: Device, parameters: int) -> None:
    if change.settings.memory_format is MemoryFormat.AUTO:
        tensor_cores = device.at_least(_VOLTA) and change.settings.precision is not Precision.FP32
        # oneDNN's order, too. Measured as above: a tenth off a decode, nothing lost elsewhere.
        large_on_cpu = device.on_cpu and parameters >= SMALL
        last = tensor_cores or large_on_cpu
        change.choose(
            "memory_format", MemoryFormat.CHANNELS_LAST if last else MemoryFormat.CONTIGUOUS
        )


def _compile(change: _Changes, device: Device) -> None:
    if change.settings.compile is Compile.OFF:
        return
    if device.kind == "mps":
        change.replace("compile", Compile.OFF, "torch.compile is not dependable on Metal")
    elif COMPILER not in device.libraries:
        missing = "triton is not installed" if device.on_cuda else "no C++ compiler was found"
        change.replace("compile", Compile.OFF, missing)
    elif change.settings.compile_mode is CompileMode.REDUCE_OVERHEAD and not device.on_cuda:
        change.replace("compile_mode", CompileMode.DEFAULT, "CUDA graphs need a CUDA device")


def _quantization(change: _Changes, device: Device) -> None:
    if change.settings.quantization is Quantization.FP8 and device.kind == "mps":
        change.replace("quantization", Quantization.INT8, "Metal has no 8-bit floats")


def _offload(change: _Changes, device: Device, parameters: int, host_manages_memory: bool) -> None:
    if change.settings.offload is Offload.AUTO and not host_manages_memory:
        change.choose("offload", _best_offload(change.settings.precision, device, parameters))


def _best_offload(precision: Precision, device: Device, parameters: int) -> Offload:
    if not device.on_cuda:
        return Offload.NONE  # system memory is the device's
    weights = parameters * _bytes(precision)
    if weights * _BESIDE_UNET + _ROOM <= device.memory:
        return Offload.NONE
    return Offload.MODEL if weights + _ROOM <= device.memory else Offload.SEQUENTIAL


def _bytes(precision: Precision) -> int:
    return {Precision.FP32: 4, Precision.FP8: 1}.get(precision, 2)


def _kernels(change: _Changes, device: Device) -> None:
    for name in ("cudnn_benchmark", FP16_ACCUMULATION, "tf32"):
        on = getattr(change.settings, name) is Toggle.ON
        why = _no_kernel(name, device) if on else None
        if why:
            change.replace(name, Toggle.OFF, why)


def _no_kernel(name: str, device: Device) -> str | None:
    if not device.on_cuda:
        return "it is a switch of CUDA's libraries"
    if name == "tf32" and not device.at_least(_AMPERE):
        return f"TF32 needs an Ampere card or newer, not {device.name}"
    if name == FP16_ACCUMULATION and FP16_ACCUMULATION not in device.libraries:
        return "this PyTorch has no such switch: 2.7 is the first"
    return None


def _cpu_kernels(change: _Changes, device: Device, parameters: int) -> None:
    asked, settings = change.settings.cpu_kernels, change.settings
    why = _no_cpu_kernels(settings, device)
    if asked is Toggle.ON and why:
        change.replace(CPU_KERNELS, Toggle.OFF, why)
    # Measured as above: a tenth off a UNet pass in fp32 with PyTorch 2.11, half off a decode.
    if asked is Toggle.AUTO and not why and device.mkl_lags and parameters >= SMALL:
        change.choose(CPU_KERNELS, Toggle.ON)


def _no_cpu_kernels(settings: LoaderSettings, device: Device) -> str | None:
    if not device.on_cpu:
        return "they are for CPUs"
    unet_in_bf16 = computed_in(settings, device) is Precision.BF16
    if unet_in_bf16 and settings.vae_precision is VaePrecision.BF16:
        return "they compute in fp32, and the model in bf16"
    if settings.compile is not Compile.OFF:
        return "torch.compile chooses its own kernels"
    return None if CPU_KERNELS in device.libraries else "this PyTorch has neither oneDNN nor NNPACK"
