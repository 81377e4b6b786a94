"""Which weights are read where a folder has them in fp16 and in full: one answer everywhere."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from comfy_nodes.errors import ModelUnreadable
from comfy_nodes.hardware import GIB, Device, resolve
from comfy_nodes.settings import LoaderSettings, Precision
from comfy_nodes.weights.files import read_part
from comfy_nodes.weights.variants import is_index, reads_half, shards_of, weights_file
from orchestrator.engine.models import loading

CPU = Device("cpu", "a CPU", 32 * GIB)
BF16_CPU = Device("cpu", "a CPU with AVX-512 BF16", 32 * GIB, bf16=True)
MPS = Device("mps", "Metal on arm", 16 * GIB, bf16=True)
TURING = Device("cuda", "a card of 2018", 8 * GIB, (7, 5))
ADA = Device("cuda", "a card of 2022", 24 * GIB, (8, 9), bf16=True)

FULL, HALF = "model.safetensors", "model.fp16.safetensors"
FULL_INDEX, HALF_INDEX = "model.safetensors.index.json", "model.safetensors.index.fp16.json"


def settings(precision: str, **others: object) -> LoaderSettings:
    return LoaderSettings.model_validate({"precision": precision, **others})


@pytest.mark.parametrize(
    ("device", "half"),
    [
        (CPU, {"fp16"}),
        (BF16_CPU, {"fp16"}),
        # Metal has no 8-bit floats, and fp16 takes their place.
        (MPS, {"auto", "fp16", "fp8"}),
        # A card without bf16 takes fp16 instead.
        (TURING, {"auto", "fp16", "bf16"}),
        (ADA, {"auto", "fp16"}),
    ],
    ids=lambda value: value.name if isinstance(value, Device) else None,
)
def test_fp16_weights_are_read_where_fp16_is_kept(device: Device, half: set[str]) -> None:
    found = {one.value for one in Precision if reads_half(settings(one.value), device)}
    assert found == half


@pytest.mark.parametrize("device", [CPU, BF16_CPU, MPS, TURING, ADA], ids=lambda one: one.name)
@pytest.mark.parametrize("precision", Precision)
@pytest.mark.parametrize("parameters", [0, 28_000_000, 2_567_463_684])
def test_what_is_read_is_what_the_resolved_settings_keep(
    device: Device, precision: Precision, parameters: int
) -> None:
    asked = settings(precision.value)
    kept = resolve(asked, device, parameters).settings.precision
    assert reads_half(asked, device) is (kept is Precision.FP16)


def test_strict_settings_are_refused_elsewhere() -> None:
    """Whoever resolves them for good says so, with the device's name and what to choose."""
    assert reads_half(settings("bf16", strict=True, attention="xformers"), TURING)


@pytest.mark.parametrize(
    ("there", "half", "full"),
    [
        ((FULL, HALF), HALF, FULL),
        ((FULL,), FULL, FULL),
        ((HALF,), HALF, HALF),
        ((FULL, HALF_INDEX), HALF_INDEX, FULL),
        ((FULL_INDEX, HALF), HALF, FULL_INDEX),
        ((FULL, FULL_INDEX, HALF, HALF_INDEX), HALF, FULL),
        (("model.bin", "other.safetensors", "model-00001-of-00002.safetensors"), None, None),
    ],
)
def test_without_the_wanted_weights_the_others_are_read(
    there: tuple[str, ...], half: str | None, full: str | None
) -> None:
    assert weights_file(there, "model", half=True) == half
    assert weights_file(there, "model", half=False) == full


def test_an_index_has_the_shards_that_their_own_names_count() -> None:
    there = [
        FULL_INDEX,
        HALF_INDEX,
        "model-00002-of-00003.safetensors",
        "model.fp16-00001-of-00002.safetensors",
        "other-00001-of-00009.safetensors",
    ]
    assert shards_of(FULL_INDEX, there) == tuple(
        f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)
    )
    assert shards_of(HALF_INDEX, there) == tuple(
        f"model.fp16-0000{number}-of-00002.safetensors" for number in (1, 2)
    )
    assert shards_of(FULL_INDEX, [FULL_INDEX]) == ()
    assert [is_index(name) for name in (FULL, HALF, FULL_INDEX, HALF_INDEX)] == [
        False,
        False,
        True,
        True,
    ]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A part as diffusers itself writes it, in full and in fp16, in shards."""
    from diffusers import AutoencoderKL

    folder = tmp_path_factory.mktemp("part")
    vae = AutoencoderKL(block_out_channels=(32,), layers_per_block=1, norm_num_groups=4)
    vae.save_pretrained(folder, max_shard_size="100KB")
    vae.half().save_pretrained(folder, max_shard_size="100KB", variant="fp16")
    return folder


@pytest.mark.parametrize(("half", "kind"), [(True, torch.float16), (False, torch.float32)])
def test_shards_are_found_and_named_as_diffusers_names_them(
    written: Path, half: bool, kind: torch.dtype
) -> None:
    stem = "diffusion_pytorch_model"
    weights = read_part(written, stem, half=half)
    assert {one.dtype for one in weights.values()} == {kind}
    assert {name.split(".")[0] for name in weights} >= {"encoder", "decoder", "quant_conv"}
    there = {path.name for path in written.iterdir()}
    first = weights_file(there, stem, half=half)
    assert first is not None
    shards = {name for name in there if name.endswith(".safetensors") and (".fp16" in name) is half}
    assert len(shards) > 1
    assert set(shards_of(first, there)) == shards


def test_a_part_of_which_the_wanted_weights_are_damaged_is_not_read_from_the_others(
    tmp_path: Path,
) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / FULL)
    (tmp_path / HALF).write_bytes(b"cut short")
    with pytest.raises(ModelUnreadable, match=r"model\.fp16\.safetensors"):
        read_part(tmp_path, "model", half=True)
    assert read_part(tmp_path, "model", half=False)["a"].tolist() == [0, 0]


# --------------------------------------------------------------------------- the engine

_PARTS = {
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
}


@pytest.fixture(scope="module")
def both(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every part in fp16 and in full."""
    folder = tmp_path_factory.mktemp("models") / "both"
    shutil.copytree(tiny_models / "tiny-sd1", folder)
    for part, stem in _PARTS.items():
        weights = read_part(folder / part, stem, half=True)
        for path in (folder / part).glob("*.safetensors"):
            path.unlink()
        save_file({n: w.float() for n, w in weights.items()}, folder / part / f"{stem}.safetensors")
        save_file(
            {n: w.half() for n, w in weights.items()}, folder / part / f"{stem}.fp16.safetensors"
        )
    return folder


@pytest.mark.parametrize("device", [CPU, TURING, ADA], ids=lambda one: one.name)
@pytest.mark.parametrize("precision", ["auto", "fp32", "fp16", "bf16"])
def test_the_engine_reads_the_same_weights_of_every_part(
    both: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str, device: Device
) -> None:
    """What it shall not read is no model at all, so that it fails where it does."""
    folder = tmp_path / "model"
    shutil.copytree(both, folder)
    asked = settings(precision)
    monkeypatch.setattr(loading, "this_device", lambda where: device)
    for part, stem in _PARTS.items():
        unread = ".safetensors" if reads_half(asked, device) else ".fp16.safetensors"
        (folder / part / f"{stem}{unread}").write_bytes(b"nothing")
    assert loading.load_diffusers(folder, asked).model.profile
