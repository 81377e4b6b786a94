"""A run can be stopped within a step, a text, a tile and a stack of pictures."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from comfy_nodes.settings import Attention, LoaderSettings, VaeTiling
from orchestrator.engine.handles import blocks
from orchestrator.engine.handles.blocks import blocks_of
from orchestrator.engine.handles.handles import Loaded
from orchestrator.engine.models.loading import load_diffusers
from orchestrator.engine.models.vae import decode, decode_tiled, encode
from orchestrator.engine.pictures.resizing import resize
from orchestrator.engine.sampling.conditioning import encode_text
from orchestrator.engine.sampling.sampling import SamplingRequest, sample
from orchestrator.engine.stopping import InterruptedByUser, asking, read_stoppably


class Patience:
    """Somebody who stops the run when asked for the n-th time."""

    def __init__(self, times: int) -> None:
        self.left = times

    def __call__(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise InterruptedByUser("enough")


@pytest.fixture(scope="module")
def loaded(tiny_models: Path) -> Loaded:
    return load_diffusers(tiny_models / "tiny-sd1", LoaderSettings())


@pytest.fixture(autouse=True)
def no_hook_stays(loaded: Loaded) -> Iterator[None]:
    yield
    for part in (loaded.model.unet, loaded.vae.part, loaded.clip.encoders[0].part):
        for module in part.module.modules():
            assert not module._forward_pre_hooks
            assert not isinstance(getattr(module, "processor", None), blocks._Parted)


def sampled(loaded: Loaded, steps: int) -> None:
    text = encode_text(loaded.clip, "a")
    latent = {"samples": torch.zeros(1, 4, 8, 8)}
    request = SamplingRequest(seed=1, steps=steps, cfg=7.0, sampler="euler", scheduler="normal")
    sample(loaded.model, text, text, latent, request, lambda step, clean: None)


def asked(work: Callable[[], Any]) -> int:
    """How often a run asks that nobody stops."""
    patience = Patience(10**9)
    with asking(patience):
        work()
    return 10**9 - patience.left


def stops_at_each(work: Callable[[], Any], times: int) -> None:
    for after in (0, times // 2, times - 1):
        with asking(Patience(after)), pytest.raises(InterruptedByUser):
            work()


def test_a_step_is_stopped_at_each_block(loaded: Loaded) -> None:
    times = asked(lambda: sampled(loaded, 2)) - asked(lambda: sampled(loaded, 1))
    assert times >= len(blocks_of(loaded.model.unet.module)) > 5
    stops_at_each(lambda: sampled(loaded, 1), times)


@pytest.mark.parametrize("attention", [Attention.SDPA, Attention.SLICED])
def test_attention_over_many_tokens_is_stopped_amid_it_and_is_the_same(
    tiny_models: Path, monkeypatch: pytest.MonkeyPatch, attention: Attention
) -> None:
    loaded = load_diffusers(tiny_models / "tiny-sd1", LoaderSettings(attention=attention))
    unet = loaded.model.unet
    tokens = torch.randn(1, 4, 48, 48, generator=torch.Generator().manual_seed(0))
    text = torch.zeros(1, 4, unet.module.config.cross_attention_dim)

    def work() -> torch.Tensor:
        with unet.ready() as module:
            return module(tokens, 1, text).sample

    monkeypatch.setattr(blocks, "_FEW", 10**9)
    whole, seldom = work(), asked(work)
    monkeypatch.setattr(blocks, "_FEW", 2048)
    monkeypatch.setattr(blocks, "_PRODUCTS", 2**18)
    assert asked(work) > seldom + 20
    assert torch.allclose(work(), whole, atol=1e-5)
    stops_at_each(work, asked(work))


def test_a_text_is_stopped_between_its_parts_and_at_each_layer(loaded: Loaded) -> None:
    long = "a red dragon with many words, " * 500
    times = asked(lambda: encode_text(loaded.clip, long))
    assert times > 3 * asked(lambda: encode_text(loaded.clip, "a"))
    stops_at_each(lambda: encode_text(loaded.clip, long), times)


def test_pictures_are_stopped_at_each_block_and_tile(loaded: Loaded) -> None:
    latents = torch.zeros(1, 4, 32, 32)
    pictures = torch.zeros(1, 256, 256, 3)
    for work in (
        lambda: decode(loaded.vae, latents),
        lambda: decode_tiled(loaded.vae, latents, 16, 4),
        lambda: encode(loaded.vae, pictures),
    ):
        times = asked(work)
        assert times > 3
        stops_at_each(work, times)
    assert loaded.vae.settings.vae_tiling is not VaeTiling.ON


@pytest.mark.parametrize("method", ["nearest-exact", "bicubic", "lanczos", "bislerp"])
def test_a_stack_of_pictures_is_stopped_between_them_and_is_the_same(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = torch.rand(5, 4 if method == "bislerp" else 3, 12, 10)
    whole = resize(pictures, 20, 16, method)
    monkeypatch.setattr("orchestrator.engine.pictures.resizing._PIXELS_AT_ONCE", 2 * 20 * 16)
    assert asked(lambda: resize(pictures, 20, 16, method)) == 3
    assert torch.equal(whole, resize(pictures, 20, 16, method))
    stops_at_each(lambda: resize(pictures, 20, 16, method), 3)


def test_a_long_text_is_the_same_in_pieces(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a (red:1.3) dragon, " * 60
    ((whole, options),) = encode_text(loaded.clip, text)
    monkeypatch.setattr("orchestrator.engine.sampling.conditioning._CHUNKS_AT_ONCE", 2)
    monkeypatch.setattr("orchestrator.engine.sampling.conditioning._PIECE_LETTERS", 3)
    ((pieces, others),) = encode_text(loaded.clip, text)
    assert torch.allclose(whole, pieces, atol=1e-5)
    assert torch.allclose(options["pooled_output"], others["pooled_output"], atol=1e-5)


def test_a_file_that_never_comes_is_not_waited_for() -> None:
    gone = threading.Event()
    try:
        with asking(Patience(1)), pytest.raises(InterruptedByUser):
            read_stoppably(gone.wait)
        with pytest.raises(TimeoutError, match=r"within 0\.2 s"):
            read_stoppably(gone.wait, 0.2)
    finally:
        gone.set()
    assert read_stoppably(lambda: 5) == 5
    with pytest.raises(FileNotFoundError):
        read_stoppably(Path("no such file").read_bytes)
