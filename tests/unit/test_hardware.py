from dataclasses import replace

import pytest
import torch

from comfy_nodes.errors import UnsupportedSetting
from comfy_nodes.hardware import (
    COMPILER,
    CPU_KERNELS,
    FP16_ACCUMULATION,
    GIB,
    SAGE,
    XFORMERS,
    Device,
    Resolved,
    resolve,
)
from comfy_nodes.probe import this_device
from comfy_nodes.settings import LoaderSettings, Offload

SD15 = 859_520_964
XL = 2_567_463_684
STARTER = 28_000_000
VAE = 83_653_863  # of Stable Diffusion, by itself
ALL = frozenset({XFORMERS, SAGE, COMPILER, FP16_ACCUMULATION})

CPU = Device("cpu", "a CPU", 32 * GIB, libraries=frozenset({COMPILER}))
BF16_CPU = Device("cpu", "a CPU with AVX-512 BF16", 32 * GIB, bf16=True)
MPS = Device("mps", "Metal on arm", 16 * GIB, bf16=True)


def card(
    gib: float, capability: tuple[int, int] = (8, 9), libraries: frozenset[str] = ALL
) -> Device:
    # A card reports somewhat less than it is sold with.
    return Device(
        "cuda",
        f"a {gib} GB card",
        int((gib - 0.3) * GIB),
        capability,
        bf16=capability >= (8, 0),
        libraries=libraries,
    )


def settings(**values: object) -> LoaderSettings:
    return LoaderSettings.model_validate(values)


def auto(device: Device, parameters: int = XL) -> LoaderSettings:
    found = resolve(LoaderSettings(), device, parameters)
    assert found.notes == ()
    return found.settings


def words(found: LoaderSettings) -> tuple[str, str, str, str, str, str, str]:
    return (
        found.precision.value,
        found.vae_precision.value,
        found.vae_tiling.value,
        found.vae_slicing.value,
        found.offload.value,
        found.memory_format.value,
        found.attention.value,
    )


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        (CPU, ("fp32", "fp32", "auto", "off", "none", "channels_last", "sdpa")),
        (BF16_CPU, ("bf16", "bf16", "auto", "off", "none", "channels_last", "sliced")),
        (MPS, ("fp16", "fp32", "auto", "on", "none", "contiguous", "sdpa")),
        (card(4), ("fp16", "bf16", "on", "on", "sequential", "channels_last", "sdpa")),
        (card(6), ("fp16", "bf16", "on", "on", "sequential", "channels_last", "sdpa")),
        (card(8), ("fp16", "bf16", "on", "on", "model", "channels_last", "sdpa")),
        (card(10), ("fp16", "bf16", "on", "on", "none", "channels_last", "sdpa")),
        (card(12), ("fp16", "bf16", "auto", "on", "none", "channels_last", "sdpa")),
        (card(16), ("fp16", "bf16", "auto", "on", "none", "channels_last", "sdpa")),
        (card(24), ("fp16", "bf16", "auto", "off", "none", "channels_last", "sdpa")),
        (card(48), ("fp16", "bf16", "auto", "off", "none", "channels_last", "sdpa")),
        (card(80, (9, 0)), ("fp16", "bf16", "auto", "off", "none", "channels_last", "sdpa")),
        (card(11, (6, 1)), ("fp16", "fp32", "on", "on", "none", "contiguous", "sdpa")),
        (card(24, (7, 5)), ("fp16", "fp32", "auto", "off", "none", "channels_last", "sdpa")),
    ],
    ids=lambda value: value.name if isinstance(value, Device) else "",
)
def test_auto_follows_the_table(device: Device, expected: tuple[str, ...]) -> None:
    assert words(auto(device)) == expected


def test_the_smaller_version_stays_on_a_card_that_the_larger_one_has_to_leave() -> None:
    assert auto(card(6), SD15).offload is Offload.NONE
    assert auto(card(4), SD15).offload is Offload.MODEL
    assert auto(card(4), STARTER).offload is Offload.NONE


def test_a_host_with_its_own_memory_management_keeps_it() -> None:
    found = resolve(LoaderSettings(), card(4), XL, host_manages_memory=True)
    assert found.settings.offload is Offload.AUTO


def test_small_models_keep_their_pictures_on_every_cpu() -> None:
    assert auto(BF16_CPU, STARTER).precision.value == "fp32"
    assert auto(BF16_CPU, VAE).precision.value == "bf16"
    assert auto(CPU, SD15).precision.value == "fp32"


def test_a_little_memory_on_metal_slices_the_attention() -> None:
    assert auto(Device("mps", "Metal", 8 * GIB)).attention.value == "sliced"


def test_slices_are_for_bf16_on_a_cpu_and_not_for_its_compiled_models() -> None:
    assert resolve(settings(precision="fp32"), BF16_CPU, XL).settings.attention.value == "sdpa"
    compiled = replace(BF16_CPU, libraries=frozenset({COMPILER}))
    assert resolve(settings(compile="blocks"), compiled, XL).settings.attention.value == "sdpa"
    imitated = resolve(settings(precision="bf16"), CPU, XL).settings
    assert imitated.attention.value == "sdpa"


def test_cpu_kernels_are_for_large_models_in_fp32_where_mkl_lags() -> None:
    def found(device: Device, parameters: int = SD15, **asked: object) -> str:
        return str(resolve(settings(**asked), device, parameters).settings.cpu_kernels.value)

    lagging = replace(CPU, libraries=frozenset({COMPILER, CPU_KERNELS}), mkl_lags=True)
    assert found(lagging) == "on"
    assert found(lagging, cpu_kernels="off") == "off"
    assert found(lagging, STARTER) == "auto"
    assert found(lagging, STARTER, cpu_kernels="on") == "on"
    assert found(lagging, compile="blocks") == "auto"
    assert found(replace(lagging, mkl_lags=False)) == "auto"
    assert found(replace(lagging, libraries=frozenset())) == "auto"
    computes_bf16 = replace(lagging, bf16=True)
    assert found(computes_bf16) == "auto"
    assert found(computes_bf16, vae_precision="fp32") == "on"
    assert found(computes_bf16, precision="fp32") == "on"
    assert found(card(24)) == "auto"


def test_fp32_keeps_the_vae_in_fp32() -> None:
    found = resolve(settings(precision="fp32"), card(24), XL).settings
    assert found.vae_precision.value == "fp32"
    assert found.memory_format.value == "contiguous"


OLD = card(8, (7, 5))
BARE = card(24, (8, 6), frozenset())


@pytest.mark.parametrize(
    ("asked", "device", "instead", "because"),
    [
        ({"precision": "bf16"}, OLD, {"precision": "fp16"}, "no bf16"),
        ({"precision": "fp8"}, MPS, {"precision": "fp16"}, "8-bit"),
        ({"vae_precision": "bf16"}, OLD, {"vae_precision": "fp32"}, "no bf16"),
        ({"attention": "flash"}, OLD, {"attention": "sdpa"}, "Ampere"),
        ({"attention": "flash", "precision": "fp32"}, BARE, {"attention": "sdpa"}, "fp32"),
        ({"attention": "flash"}, MPS, {"attention": "sdpa"}, "Ampere"),
        ({"attention": "xformers"}, CPU, {"attention": "sdpa"}, "CUDA"),
        ({"attention": "xformers"}, BARE, {"attention": "sdpa"}, "not installed"),
        ({"attention": "sage"}, OLD, {"attention": "sdpa"}, "Ampere"),
        ({"attention": "sage"}, BARE, {"attention": "sdpa"}, "not installed"),
        ({"compile": "blocks"}, MPS, {"compile": "off"}, "Metal"),
        ({"compile": "whole"}, BARE, {"compile": "off"}, "triton"),
        ({"compile": "blocks"}, BF16_CPU, {"compile": "off"}, "C++"),
        (
            {"compile": "blocks", "compile_mode": "reduce-overhead"},
            CPU,
            {"compile_mode": "default"},
            "CUDA graphs",
        ),
        ({"quantization": "fp8"}, MPS, {"quantization": "int8"}, "Metal"),
        ({"cudnn_benchmark": "on"}, CPU, {"cudnn_benchmark": "off"}, "CUDA"),
        ({"tf32": "on"}, OLD, {"tf32": "off"}, "Ampere"),
        ({"fp16_accumulation": "on"}, BARE, {"fp16_accumulation": "off"}, "2.7"),
        ({"cpu_kernels": "on"}, OLD, {"cpu_kernels": "off"}, "CPUs"),
        ({"cpu_kernels": "on"}, CPU, {"cpu_kernels": "off"}, "neither oneDNN nor NNPACK"),
        ({"cpu_kernels": "on"}, BF16_CPU, {"cpu_kernels": "off"}, "bf16"),
        ({"cpu_kernels": "on", "compile": "blocks"}, CPU, {"cpu_kernels": "off"}, "torch.compile"),
    ],
)
def test_what_cannot_be_done_is_replaced_with_a_note_or_refused_when_strict(
    asked: dict[str, str], device: Device, instead: dict[str, str], because: str
) -> None:
    found: Resolved = resolve(settings(**asked), device, XL)
    name, value = next(iter(instead.items()))
    assert getattr(found.settings, name).value == value
    (note,) = found.notes
    assert note.startswith(f"{name} {asked[name]} was replaced by {value}: ")
    assert because in note
    with pytest.raises(UnsupportedSetting, match=f"{name} {asked[name]} is not possible") as caught:
        resolve(settings(**asked, strict=True), device, XL)
    assert ("or auto" in str(caught.value)) == hasattr(type(getattr(found.settings, name)), "AUTO")


@pytest.mark.parametrize(
    "asked",
    [
        {"precision": "fp8"},
        {"attention": "flash"},
        {"attention": "xformers"},
        {"attention": "sage"},
        {"compile": "whole", "compile_mode": "reduce-overhead"},
        {"quantization": "fp8"},
        {"cudnn_benchmark": "on"},
        {"fp16_accumulation": "on"},
        {"tf32": "on"},
        {"offload": "sequential"},
        {"vae_precision": "fp16"},
    ],
)
def test_what_can_be_done_is_done(asked: dict[str, str]) -> None:
    found = resolve(settings(**asked, strict=True), card(24), XL)
    assert found.notes == ()
    assert {name: getattr(found.settings, name).value for name in asked} == asked


def test_what_was_asked_for_is_kept_on_a_cpu() -> None:
    asked = {"precision": "fp8", "attention": "flash", "offload": "model", "compile": "blocks"}
    found = resolve(settings(**asked), CPU, XL)
    assert found.notes == ()
    assert {name: getattr(found.settings, name).value for name in asked} == asked


def test_resolving_twice_changes_nothing() -> None:
    for device in (CPU, BF16_CPU, MPS, card(4), card(80)):
        once = resolve(LoaderSettings(), device, XL).settings
        assert resolve(once, device, XL) == Resolved(once)


def test_another_makers_accelerator_is_no_cpu() -> None:
    seen = this_device(torch.device("hpu"))  # of which this PyTorch tells nothing
    assert seen.kind == "hpu"
    assert not seen.on_cpu
    assert seen.memory > 0
    assert auto(Device("xpu", "a card", 16 * GIB, bf16=True)).precision.value == "fp16"


def test_this_machine_is_looked_at() -> None:
    device = this_device(torch.device("cpu"))
    assert device.kind == "cpu"
    assert device.capability is None
    assert device.memory > 2**28
    assert device == this_device(torch.device("cpu"))
    assert resolve(LoaderSettings(), device, XL).settings.precision.value in ("fp32", "bf16")
