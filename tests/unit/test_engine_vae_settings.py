"""Every setting of a VAE: that it took effect in the engine, and how far it moves a picture."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from comfy_nodes.errors import OutOfMemory
from comfy_nodes.settings import LoaderSettings, MemoryFormat, Toggle, VaePrecision, VaeTiling
from engine_pictures import decibels
from orchestrator.engine import room
from orchestrator.engine.handles.handles import Vae
from orchestrator.engine.models.loading import load_diffusers
from orchestrator.engine.models.vae import decode, encode
from orchestrator.engine.tuning.optimizing import optimize_vae

Work = Callable[[Vae], torch.Tensor]


def load(tiny_models: Path, **settings: Any) -> Vae:
    return load_diffusers(tiny_models / "tiny-sd1", LoaderSettings(**settings)).vae


@pytest.fixture(scope="module")
def plain(tiny_models: Path) -> Vae:
    return load(tiny_models, vae_tiling=VaeTiling.OFF)


def changed(vae: Vae, **settings: Any) -> Vae:
    return replace(vae, settings=vae.settings.model_copy(update=settings))


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def decoding(vae: Vae, side: int = 32) -> torch.Tensor:
    return decode(vae, noise(1, 4, side, side))


def encoding(vae: Vae) -> torch.Tensor:
    return encode(vae, noise(1, 256, 256, 3).sigmoid())


@contextmanager
def shapes(vae: Vae) -> Iterator[list[tuple[int, ...]]]:
    """What goes through the VAE's two networks meanwhile: (batch, height, width)."""
    seen: list[tuple[int, ...]] = []

    def note(_module: Any, inputs: Any) -> None:
        batch, _, *size = inputs[0].shape
        seen.append((batch, *size))

    networks = (vae.part.module.encoder, vae.part.module.decoder)
    hooks = [network.register_forward_pre_hook(note) for network in networks]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


@pytest.mark.parametrize(
    ("precision", "dtype", "bound"),
    [
        (VaePrecision.FP32, torch.float32, math.inf),
        (VaePrecision.FP16, torch.float16, 65.0),
        (VaePrecision.BF16, torch.bfloat16, 45.0),
    ],
)
def test_the_vae_has_a_precision_of_its_own(
    tiny_models: Path, plain: Vae, precision: VaePrecision, dtype: torch.dtype, bound: float
) -> None:
    loaded = load_diffusers(tiny_models / "tiny-sd1", LoaderSettings(vae_precision=precision))
    weight = loaded.vae.part.module.decoder.mid_block.resnets[0].conv1.weight
    assert weight.dtype is dtype
    # A CPU is slow in fp16: it only stores it.
    assert loaded.vae.part.dtype is (torch.float32 if dtype is torch.float16 else dtype)
    assert loaded.model.unet.dtype is torch.float32
    # Small, as a CPU without bf16 of its own takes minutes for 256 pixels.
    pictures = [
        decoding(vae, 8)
        for vae in (loaded.vae, optimize_vae(plain, LoaderSettings(vae_precision=precision)), plain)
    ]
    assert decibels(pictures[0], pictures[2]) >= bound
    assert torch.equal(pictures[0], pictures[1])


@pytest.mark.parametrize(("work", "unit"), [(decoding, 8), (encoding, 1)], ids=["decode", "encode"])
def test_tiles_have_the_size_and_overlap_that_were_asked_for(
    tiny_models: Path, plain: Vae, work: Work, unit: int
) -> None:
    vae = load(tiny_models, vae_tiling=VaeTiling.ON, vae_tile=128, vae_overlap=32)
    with shapes(vae) as seen:
        tiled = work(vae)
    # Three tilings: square, wide and high. Of 256 pixels with steps of 96 the last tile is smaller.
    sizes = {(height * unit, width * unit) for _, height, width in seen}
    assert {(128, 128), (64, 256), (256, 64)} <= sizes
    assert max(height * width for height, width in sizes) == 128 * 128
    assert decibels(tiled, work(plain)) >= 20.0  # random weights see far; trained ones do not
    with shapes(vae) as seen:
        work(changed(vae, vae_tile=256))
    assert all(max(height, width) * unit <= 512 for _, height, width in seen)


def test_a_picture_of_one_tile_is_not_changed_by_tiling(tiny_models: Path, plain: Vae) -> None:
    vae = load(tiny_models, vae_tiling=VaeTiling.ON)
    for work in (decoding, encoding):
        torch.testing.assert_close(work(vae), work(plain), rtol=1e-4, atol=2e-5)


def test_slicing_takes_the_pictures_one_by_one(tiny_models: Path, plain: Vae) -> None:
    latents, pictures = noise(3, 4, 8, 8), noise(3, 64, 64, 3).sigmoid()
    results = []
    for toggle, batches in ((Toggle.OFF, [3]), (Toggle.ON, [1, 1, 1])):
        vae = load(tiny_models, vae_slicing=toggle)
        with shapes(vae) as seen:
            results.append((decode(vae, latents), encode(vae, pictures)))
        assert [batch for batch, *_ in seen] == batches * 2
    torch.testing.assert_close(results[0], results[1], rtol=1e-4, atol=2e-5)


def test_memory_format_and_all_else_can_be_given_to_a_vae(plain: Vae) -> None:
    settings = LoaderSettings(
        memory_format=MemoryFormat.CHANNELS_LAST,
        vae_tiling=VaeTiling.ON,
        vae_tile=256,
        vae_overlap=64,
        vae_slicing=Toggle.ON,
    )
    tuned = optimize_vae(plain, settings)
    asked = settings.model_dump(exclude_defaults=True)
    assert asked.items() <= tuned.settings.model_dump().items()
    weights = [weight for weight in tuned.part.module.parameters() if weight.ndim == 4]
    assert all(w.is_contiguous(memory_format=torch.channels_last) for w in weights)
    assert all(w.is_contiguous() for w in plain.part.module.parameters())
    whole = changed(tuned, vae_tiling=VaeTiling.OFF)
    assert decibels(decoding(whole), decoding(plain)) >= 100.0


def test_a_vae_rests_where_it_did_before_it_was_optimized(plain: Vae) -> None:
    meta = torch.device("meta")
    lent = replace(plain, part=replace(plain.part, device=meta))
    assert optimize_vae(lent, LoaderSettings()).part.device == meta
    assert optimize_vae(lent, LoaderSettings()).part.home == plain.part.home


# Tiles when memory is short


@pytest.mark.parametrize("work", [decoding, encoding])
def test_tiles_are_taken_where_memory_is_known_to_be_too_small(
    plain: Vae, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, work: Work
) -> None:
    # The tiny VAE is 32 channels wide: about 65 MiB to decode 256 x 256 pixels.
    monkeypatch.setattr(room, "room", lambda: 10 * 2**20)
    vae = changed(plain, vae_tiling=VaeTiling.AUTO, vae_tile=128, vae_overlap=32)
    with shapes(vae) as seen, caplog.at_level(logging.WARNING):
        work(vae)
    assert len(seen) > 1
    assert "in tiles" in caplog.text


@pytest.mark.parametrize("work", [decoding, encoding])
def test_without_tiles_the_memory_that_is_missing_is_told(
    plain: Vae, monkeypatch: pytest.MonkeyPatch, work: Work
) -> None:
    monkeypatch.setattr(room, "room", lambda: 10 * 2**20)
    monkeypatch.setattr(room, "_SMALL", 0)
    vae = changed(plain, vae_tiling=VaeTiling.OFF)
    with (
        shapes(vae) as seen,
        pytest.raises(OutOfMemory, match=r"need 0\.\d GiB.*0\.0 GiB are free"),
    ):
        work(vae)
    assert not seen


def test_tiles_are_taken_when_memory_ran_out(plain: Vae, caplog: pytest.LogCaptureFixture) -> None:
    def refuse_large(_module: Any, inputs: Any) -> None:
        if inputs[0].shape[-1] * inputs[0].shape[-2] > 16 * 16:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    hook = plain.part.module.decoder.register_forward_pre_hook(refuse_large)
    try:
        picture = decoding(changed(plain, vae_tiling=VaeTiling.AUTO, vae_tile=128, vae_overlap=32))
        assert picture.shape == (1, 256, 256, 3)
        assert "again in tiles" in caplog.text
        with pytest.raises(OutOfMemory, match="vae_tiling is off"):
            decoding(plain)
    finally:
        hook.remove()
