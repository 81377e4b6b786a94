"""What cannot fit into memory is told in a sentence before it is made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from comfy_nodes.errors import OutOfMemory
from comfy_nodes.settings import LoaderSettings
from orchestrator.engine import room
from orchestrator.engine.models.loading import load_diffusers
from orchestrator.engine.nodes.images import EmptyImage, ImageScale, ImageScaleBy
from orchestrator.engine.nodes.latents import EmptyLatentImage, LatentUpscale, RepeatLatentBatch
from orchestrator.engine.nodes.sampling import KSampler
from orchestrator.engine.nodes.vae import VAEDecode, VAEDecodeTiled, VAEEncode
from orchestrator.engine.sampling.conditioning import encode_text

LATENT = {"samples": torch.zeros(1, 4, 2, 2)}
PICTURE = torch.zeros(1, 2, 2, 3)
SIDE = 16384
# sparse: a value for all, no memory for each
MANY_LATENTS = {"samples": torch.zeros(1, 1, 1, 1).expand(100_000, 4, 64, 64)}
MANY_PICTURES = torch.zeros(1, 1, 1, 1).expand(200_000, 512, 512, 3)


@pytest.fixture(autouse=True)
def machine_of_16_gib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "room", lambda: 16 * 2**30)


@pytest.mark.parametrize(
    "work",
    [
        lambda: EmptyLatentImage.execute(SIDE, SIDE, 4096),
        lambda: RepeatLatentBatch.execute({"samples": MANY_LATENTS["samples"][:5000]}, 64),
        lambda: LatentUpscale.execute(MANY_LATENTS, "bislerp", SIDE, SIDE, "disabled"),
        lambda: EmptyImage.execute(SIDE, SIDE, 100),
        lambda: ImageScale.execute(MANY_PICTURES, "lanczos", SIDE, SIDE, "center"),
        lambda: ImageScaleBy.execute(MANY_PICTURES, "bicubic", 8.0),
    ],
)
def test_what_does_not_fit_is_not_begun(work: Callable[[], Any]) -> None:
    with pytest.raises(OutOfMemory, match=r"need [\d,]+\.\d GiB, and 16\.0 GiB are free"):
        work()


def test_nor_by_a_model(tiny_models: Path) -> None:
    loaded = load_diffusers(tiny_models / "tiny-sd1", LoaderSettings())
    text = encode_text(loaded.clip, "a")
    large = {"samples": torch.zeros(1, 1, 1, 1).expand(1, 4, SIDE // 4, SIDE // 4)}
    rest = ("euler", "normal", text, text)
    for work in (
        lambda: KSampler.execute(loaded.model, 1, 1, 7.0, *rest, MANY_LATENTS),
        lambda: KSampler.execute(loaded.model, 1, 1, 7.0, *rest, large),
        lambda: VAEDecode.execute(MANY_LATENTS, loaded.vae),
        lambda: VAEDecodeTiled.execute(MANY_LATENTS, loaded.vae, 512),
        lambda: VAEEncode.execute(MANY_PICTURES, loaded.vae),
    ):
        with pytest.raises(OutOfMemory, match=r"GiB, and 16\.0 GiB are free"):
            work()


def test_what_fits_is_made() -> None:
    assert EmptyLatentImage.execute(64, 64, 2).result[0]["samples"].shape == (2, 4, 8, 8)
    assert ImageScale.execute(PICTURE, "bicubic", 4, 4, "disabled").result[0].shape == (1, 4, 4, 3)
    assert RepeatLatentBatch.execute(LATENT, 3).result[0]["samples"].shape == (3, 4, 2, 2)
