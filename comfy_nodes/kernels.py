"""The switches of torch's kernels that a model asks for: set while it works, then as they were.

They belong to the process, not to a model, so a model that left them on would change how every
other one computes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import import_module
from typing import Any

import torch

from .ops.cpu_kernels import CpuKernels
from .settings import LoaderSettings, Toggle

# Kinds of one block (widths, resolutions) that are compiled before torch gives up and runs it
# uncompiled. Its own limit is 8; a UNet of SD 1.5 has about 14 kinds of residual blocks.
_MOST_KINDS = 64


def can_accumulate_in_fp16() -> bool:
    """Whether this torch has the switch for fp16 accumulation (2.7 and newer have)."""
    return hasattr(torch.backends.cuda.matmul, "allow_fp16_accumulation")


@contextmanager
def switched(settings: LoaderSettings) -> Iterator[None]:
    """The process with this model's kernel switches on or off; those at auto are not touched.

    Restores what was there before, also after an error. Without a CUDA device the switches can be
    set and have no effect. The change is the whole process's while it lasts, so hosts that run
    two models at the same time share it.
    """
    before = _values()
    try:
        _set(settings)
        with cpu_kernels(settings.cpu_kernels):
            yield
    finally:
        _restore(before)


def cpu_kernels(wanted: Toggle) -> AbstractContextManager[Any]:
    """This thread with a CPU's faster kernels where they are on; a VAE needs no other switch."""
    return CpuKernels() if wanted is Toggle.ON else nullcontext()


@contextmanager
def room_for_kinds() -> Iterator[None]:
    """The process with room for all kinds of a UNet's compiled blocks; for compiled models only."""
    # not every torch that we run on gives it types
    config: Any = import_module("torch._dynamo.config")
    name = "recompile_limit" if hasattr(config, "recompile_limit") else "cache_size_limit"
    with config.patch(**{name: max(_MOST_KINDS, getattr(config, name))}):
        yield


def _set(settings: LoaderSettings) -> None:
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    if settings.cudnn_benchmark is not Toggle.AUTO:
        cudnn.benchmark = settings.cudnn_benchmark is Toggle.ON
    if settings.fp16_accumulation is not Toggle.AUTO and can_accumulate_in_fp16():
        matmul.allow_fp16_accumulation = settings.fp16_accumulation is Toggle.ON
    if settings.tf32 is not Toggle.AUTO:
        # The older of torch's two names for it sets the newer one too, and not the other way.
        matmul.allow_tf32 = settings.tf32 is Toggle.ON
        cudnn.allow_tf32 = settings.tf32 is Toggle.ON


def _values() -> list[tuple[Any, str, Any]]:
    """(owner, name, value) of every switch that there is, in the order in which to restore."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    names = [
        (cudnn, "benchmark"),
        (matmul, "allow_fp16_accumulation"),
        (matmul, "allow_tf32"),
        (cudnn, "allow_tf32"),
        # Since torch 2.9. Last, as setting the older names changes these.
        (matmul, "fp32_precision"),
        (getattr(cudnn, "conv", None), "fp32_precision"),
        (getattr(cudnn, "rnn", None), "fp32_precision"),
    ]
    values = []
    for owner, name in names:
        try:
            values.append((owner, name, getattr(owner, name)))
        except AttributeError:
            continue  # this torch is older than the switch
        except RuntimeError:
            continue  # torch does not tell the older name after the newer one was set
    return values


def _restore(values: list[tuple[Any, str, Any]]) -> None:
    for owner, name, value in values:
        setattr(owner, name, value)
