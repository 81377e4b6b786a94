"""Looks at the device that a model will run on."""

from __future__ import annotations

import platform
import shutil
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from .hardware import COMPILER, CPU_KERNELS, FP16_ACCUMULATION, SAGE, XFORMERS, Device

if TYPE_CHECKING:
    import torch

_CPU_INFO = Path("/proc/cpuinfo")


@cache
def this_device(device: torch.device) -> Device:
    """What resolve() wants to know of a device. Looked at once, then remembered."""
    if device.type == "cuda":
        return _cuda(device)
    if device.type == "mps":
        return _mps()
    return _cpu() if device.type == "cpu" else _other(device)


def _cuda(device: torch.device) -> Device:
    import torch

    properties = torch.cuda.get_device_properties(device)
    capability = (properties.major, properties.minor)
    # ROCm reports AMD's own numbers here, and every card that PyTorch supports has bf16.
    amd = torch.version.hip is not None
    return Device(
        kind="cuda",
        name=properties.name,
        memory=properties.total_memory,
        capability=capability,
        bf16=amd or capability >= (8, 0),
        libraries=_libraries(compiles=find_spec("triton") is not None),
    )


def _mps() -> Device:
    import torch

    return Device(
        kind="mps",
        name=f"Metal on {platform.processor() or platform.machine()}",
        memory=_system_memory(),
        bf16=torch.backends.mps.is_macos_or_newer(14, 0),
        libraries=_libraries(compiles=False),
    )


def _other(device: torch.device) -> Device:
    """Another maker's accelerator (xpu, npu, ...), as far as PyTorch tells of it in general."""
    import torch

    module = getattr(torch, device.type, None)
    told = getattr(module, "get_device_properties", None)
    properties = told(device) if told is not None else None
    return Device(
        kind=device.type,
        name=getattr(properties, "name", device.type),
        memory=int(getattr(properties, "total_memory", 0)) or _system_memory(),
        bf16=bool(getattr(module, "is_bf16_supported", bool)()),
        libraries=_libraries(compiles=find_spec("triton") is not None),
    )


def _cpu() -> Device:
    import torch

    return Device(
        kind="cpu",
        name=platform.processor() or platform.machine() or "CPU",
        memory=_system_memory(),
        bf16=_cpu_has_bf16(),
        libraries=_libraries(compiles=_cpp_compiler() is not None),
        mkl_lags=torch.backends.mkl.is_available() and not _cpu_is_intels(),
    )


def _libraries(*, compiles: bool) -> frozenset[str]:
    import torch

    from .ops.cpu_kernels import has_kernels

    found = {name for name in (XFORMERS, SAGE) if find_spec(name) is not None}
    if compiles:
        found.add(COMPILER)
    if hasattr(torch.backends.cuda.matmul, "allow_fp16_accumulation"):
        found.add(FP16_ACCUMULATION)
    if has_kernels():
        found.add(CPU_KERNELS)
    return frozenset(found)


def _cpp_compiler() -> str | None:
    names = ("cl",) if platform.system() == "Windows" else ("g++", "clang++", "c++")
    return next((found for found in map(shutil.which, names) if found), None)


def _cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bf16 itself, which oneDNN else imitates at half the speed."""
    import torch

    if platform.machine().lower() in ("aarch64", "arm64"):
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    asked = [
        getattr(torch.cpu, name)
        for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        if hasattr(torch.cpu, name)
    ]
    if asked:
        return any(one() for one in asked)
    return _cpu_info_names("avx512_bf16") or _cpu_info_names("amx_bf16")


def _cpu_is_intels() -> bool:
    if platform.system() == "Windows":
        return "GenuineIntel" in platform.processor()
    # A Mac whose PyTorch has MKL has a processor of Intel's.
    return platform.system() == "Darwin" or _cpu_info_names("GenuineIntel")


def _cpu_info_names(feature: str) -> bool:
    if not _CPU_INFO.is_file():
        return False
    return feature in _CPU_INFO.read_text(encoding="utf-8", errors="replace").split()


def _system_memory() -> int:
    import psutil

    return int(psutil.virtual_memory().total)
