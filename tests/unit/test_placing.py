"""Where the parts of a model run and rest, and in which number formats, in both hosts."""

from __future__ import annotations

from typing import Any

import pytest

from comfy_nodes.errors import UnsupportedSetting
from comfy_nodes.hardware import GIB, Device
from comfy_nodes.ops.dtypes import DTYPES
from comfy_nodes.placing import Dtype, Memory, PartPlacement, Placement, Where, place
from comfy_nodes.settings import LoaderSettings, MemoryFormat, Offload

XL = 2_567_463_684
CPU = Device("cpu", "a CPU", 32 * GIB)
BF16_CPU = Device("cpu", "a CPU with AVX-512 BF16", 32 * GIB, bf16=True)
CARD = Device("cuda", "a card", 24 * GIB, (8, 9), bf16=True)


def placed(
    device: Device = CARD,
    memory: Memory = Memory.FIXED,
    *,
    vae_alone: bool = False,
    **settings: Any,
) -> Placement:
    asked = LoaderSettings.model_validate(settings)
    return place(asked, device, XL, memory, vae_alone=vae_alone)


def parts(found: Placement) -> tuple[PartPlacement, PartPlacement, PartPlacement]:
    return found.unet, found.text, found.vae


# ------------------------------------------------------------------------- number formats


@pytest.mark.parametrize(
    ("device", "settings", "unet", "vae"),
    [
        # dtype, computed, stored
        (CARD, {}, "fp16 fp16 fp16", "bf16 bf16 bf16"),
        (CPU, {}, "fp32 fp32 fp32", "fp32 fp32 fp32"),
        (BF16_CPU, {}, "bf16 bf16 bf16", "bf16 bf16 bf16"),
        (CPU, {"precision": "fp16"}, "fp16 fp32 fp16", "fp32 fp32 fp32"),
        (CPU, {"vae_precision": "fp16"}, "fp32 fp32 fp32", "fp16 fp32 fp16"),
        (CARD, {"precision": "fp8"}, "bf16 bf16 fp8", "bf16 bf16 bf16"),
        (CPU, {"precision": "fp8"}, "fp32 fp32 fp8", "fp32 fp32 fp32"),
    ],
)
@pytest.mark.parametrize("memory", [Memory.FIXED, Memory.MANAGED])
def test_formats(
    device: Device, settings: dict[str, Any], unet: str, vae: str, memory: Memory
) -> None:
    found = placed(device, memory, **settings)

    def formats(part: PartPlacement) -> str:
        assert part.stored is not None
        return " ".join(one.value for one in (part.dtype, part.computed, part.stored))

    assert (formats(found.unet), formats(found.vae)) == (unet, vae)
    assert formats(found.text) == unet.replace("fp8", unet.split()[0])  # only the UNet has 8 bits


@pytest.mark.parametrize("quantization", ["int8", "fp8"])
def test_scales_are_the_unets(quantization: str) -> None:
    found = placed(quantization=quantization)
    assert found.unet.quantized is Dtype(quantization)
    assert (found.text.quantized, found.vae.quantized) == (None, None)
    assert placed().unet.quantized is None


def test_every_number_format_has_torchs() -> None:
    assert set(DTYPES) == set(Dtype)
    assert len(set(DTYPES.values())) == len(Dtype)


# ------------------------------------------------------------------------------- places


@pytest.mark.parametrize(
    ("offload", "fixed", "managed"),
    [
        ("none", "device", "device"),
        ("text_encoder", "device", None),
        ("model", "cpu", "cpu"),
        ("sequential", "cpu", "cpu"),
        ("auto", "device", None),
    ],
)
def test_a_part_rests_where_offload_says_else_where_the_host_does(
    offload: str, fixed: str | None, managed: str | None
) -> None:
    for memory, home in ((Memory.FIXED, fixed), (Memory.MANAGED, managed)):
        found = placed(memory=memory, offload=offload)
        wanted = None if home is None else Where(home)
        assert (found.unet.home, found.vae.home) == (wanted, wanted)
        alone = offload == "text_encoder"
        assert found.text.home is (Where.CPU if alone else wanted)
        assert found.text.device is (Where.CPU if alone else Where.DEVICE)
        # A CPU is slow in fp16.
        assert found.text.computed is (Dtype.FP32 if alone else Dtype.FP16)
        assert [part.by_layer for part in parts(found)] == [offload == "sequential", False, False]
        assert {part.released for part in parts(found)} == {offload == "model"}


def test_a_host_that_moves_weights_itself_is_left_to() -> None:
    small = Device("cuda", "a small card", 4 * GIB, (8, 9), bf16=True)
    assert placed(small, Memory.MANAGED).settings.offload is Offload.AUTO
    assert placed(small).settings.offload is Offload.SEQUENTIAL


# ----------------------------------------------------------------------- dynamic memory


@pytest.mark.parametrize(
    ("settings", "model", "vae"),
    [
        ({}, True, True),
        ({"attention": "sliced", "vae_tiling": "on", "vae_slicing": "on"}, True, True),
        ({"memory_format": "contiguous", "offload": "text_encoder"}, True, True),
        ({"precision": "fp16"}, False, True),
        ({"precision": "fp8"}, False, True),
        ({"quantization": "int8"}, False, True),
        ({"compile": "blocks"}, False, True),
        ({"vae_precision": "bf16"}, True, False),
        ({"offload": "none"}, False, False),
        ({"offload": "model"}, False, False),
        ({"offload": "sequential"}, False, False),
        ({"memory_format": "channels_last"}, False, False),
    ],
)
def test_what_gives_dynamic_memory_up(settings: dict[str, Any], model: bool, vae: bool) -> None:
    found = placed(memory=Memory.DYNAMIC, **settings)
    assert [part.in_dynamic_memory for part in parts(found)] == [model, model, vae]
    assert bool(found.without_dynamic_memory) is not (model and vae)


def test_one_line_names_every_setting_that_does() -> None:
    found = placed(memory=Memory.DYNAMIC, precision="fp16", offload="none")
    assert found.without_dynamic_memory == (
        "Loading the whole model without ComfyUI's dynamic memory, because of precision fp16 and "
        "offload none."
    )
    only = placed(memory=Memory.DYNAMIC, vae_precision="bf16").without_dynamic_memory
    assert only.startswith("Loading the VAE without")


@pytest.mark.parametrize("memory", [Memory.FIXED, Memory.MANAGED])
def test_a_host_without_it_has_nothing_to_give_up(memory: Memory) -> None:
    found = placed(memory=memory, precision="fp16")
    assert not any(part.in_dynamic_memory for part in parts(found))
    assert not found.without_dynamic_memory


def test_only_a_vae_by_itself_is_compiled() -> None:
    asked: dict[str, Any] = {"memory": Memory.DYNAMIC, "compile": "blocks"}
    assert placed(**asked).vae.in_dynamic_memory
    assert not placed(**asked, vae_alone=True).vae.in_dynamic_memory


def test_weights_in_dynamic_memory_are_as_their_file_has_them() -> None:
    found = placed(memory=Memory.DYNAMIC, vae_precision="bf16")
    assert found.unet.memory_format is MemoryFormat.AUTO
    assert found.unet.dtype is Dtype.FP16  # what is computed in
    assert found.vae.memory_format is MemoryFormat.CHANNELS_LAST  # which is not in it


# ---------------------------------------------------------------------------- replacement


def test_what_the_device_cannot_do_is_replaced_with_a_sentence_or_refused() -> None:
    (note,) = placed(CPU, tf32="on").notes
    assert note.startswith("tf32 on was replaced by off")
    with pytest.raises(UnsupportedSetting, match="tf32"):
        placed(CPU, tf32="on", strict=True)
