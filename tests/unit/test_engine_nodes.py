"""The core nodes: what they say of themselves, and what they do with tensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from comfy_nodes import folders as pack_folders
from comfy_nodes.settings import LoaderSettings
from orchestrator.engine import host
from orchestrator.engine.folders import Folders
from orchestrator.engine.handles.handles import Loaded
from orchestrator.engine.host.pack_folders import PackFolders
from orchestrator.engine.models.loading import load_diffusers
from orchestrator.engine.nodes import all_nodes
from orchestrator.engine.nodes.images import (
    EmptyImage,
    ImageScale,
    LoadImage,
    PreviewImage,
    SaveImage,
    SaveImageWebsocket,
)
from orchestrator.engine.nodes.latents import EmptyLatentImage, LatentUpscale, RepeatLatentBatch
from orchestrator.engine.nodes.masks import ImageToMask, MaskToImage
from orchestrator.engine.nodes.models import CLIPSetLastLayer, CLIPTextEncode
from orchestrator.engine.nodes.sampling import KSampler, KSamplerAdvanced
from orchestrator.engine.nodes.vae import InpaintModelConditioning, VAEDecode, VAEEncodeForInpaint

REFERENCE = Path(__file__).parent.parent / "data" / "comfyui" / "object_info.json"
RECORDED: dict[str, Any] = json.loads(REFERENCE.read_text(encoding="utf-8"))
# Ours are the beginning of what ComfyUI has.
SHORTER = {"sampler_name", "scheduler", "image"}


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folders:
    made = Folders(input=tmp_path / "in", output=tmp_path / "out", temp=tmp_path / "temp")
    made.create()
    host.use_folders(made)
    monkeypatch.setattr(pack_folders, "_installed", PackFolders())
    return made


@pytest.fixture(scope="module")
def loaded(tiny_models: Path) -> Loaded:
    return load_diffusers(tiny_models / "tiny-sd1", LoaderSettings())


def as_recorded(value: Any) -> Any:
    """Texts are the engine's own words; only that there is one counts."""
    if isinstance(value, dict):
        return {
            key: "text" if key in ("tooltip", "description") and item else as_recorded(item)
            for key, item in value.items()
        }
    return [as_recorded(item) for item in value] if isinstance(value, (list, tuple)) else value


def test_every_recorded_node_is_served() -> None:
    served = {node.GET_SCHEMA().node_id for node in all_nodes()}
    assert set(RECORDED) <= served
    assert {name for name in served - set(RECORDED) if not name.startswith("Spriteworks")} == set()


@pytest.mark.parametrize("name", RECORDED)
def test_nodes_say_of_themselves_what_comfyuis_do(name: str) -> None:
    node = next(node for node in all_nodes() if node.GET_SCHEMA().node_id == name)
    found, expected = as_recorded(node.GET_NODE_INFO_V1()), dict(RECORDED[name])
    tooltips = found.pop("output_tooltips", [])
    assert bool(tooltips) == bool(expected.pop("output_tooltips", []))
    # Words for people who look a node up on a canvas, which the engine has not.
    assert not found.pop("search_aliases")
    expected.pop("search_aliases")
    for key in SHORTER & set(expected["input"]["required"]):
        ours, theirs = (info["input"]["required"].pop(key) for info in (found, expected))
        if isinstance(theirs[0], list):
            assert key == "image" or set(ours[0]) < set(theirs[0])
            ours, theirs = ours[1:], theirs[1:]
        assert ours == theirs
    assert found == expected


@pytest.mark.parametrize(("node", "place"), [(SaveImage, "out"), (PreviewImage, "temp")])
def test_saved_pictures_are_given_on(node: Any, place: str, tmp_path: Path) -> None:
    images = EmptyImage.execute(8, 6, 2, 0x0000FF)[0]
    output = node.PREPARE_CLASS_CLONE(host.HiddenHolder()).execute(images)
    assert output.result == (images,)
    assert len(output.ui.as_dict()["images"]) == len(list((tmp_path / place).iterdir())) == 2


class Watcher(host.Context):
    """A host that notes what it is told, and stops the run when it has heard enough."""

    def __init__(self, enough: int | None = None) -> None:
        self.heard: list[tuple[float, float]] = []
        self.previews: list[Any] = []
        self._enough = enough

    def progress(self, value: float, max: float, preview: Any = None, format: Any = "jpeg") -> None:
        self.heard.append((value, max))
        self.previews.append(preview() if callable(preview) else preview)
        if len(self.heard) == self._enough:
            raise host.InterruptedByUser

    def check_interrupted(self) -> None: ...


def sampled(loaded: Loaded, latent: Any, **changes: Any) -> Any:
    text = CLIPTextEncode.execute("a gem", loaded.clip)[0]
    inputs = {
        "model": loaded.model,
        "seed": 3,
        "steps": 4,
        "cfg": 2.0,
        "sampler_name": "euler",
        "scheduler": "karras",
        "positive": text,
        "negative": text,
        "latent_image": latent,
    }
    return KSampler.execute(**{**inputs, **changes})[0]


def empty(batch: int = 1) -> Any:
    return EmptyLatentImage.execute(64, 64, batch)[0]


def test_sampling_reports_every_step_with_a_preview(loaded: Loaded) -> None:
    watcher = Watcher()
    with host.activate(watcher):
        result = sampled(loaded, empty())
    assert watcher.heard == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert {preview.size for preview in watcher.previews} == {(8, 8)}
    assert VAEDecode.execute(result, loaded.vae)[0].shape == (1, 64, 64, 3)


def test_sampling_stops_within_a_step(loaded: Loaded) -> None:
    watcher = Watcher(enough=2)
    with host.activate(watcher), pytest.raises(host.InterruptedByUser):
        sampled(loaded, empty())
    assert len(watcher.heard) == 2


def test_no_denoise_gives_the_latent_back(loaded: Loaded) -> None:
    latent = {"samples": torch.ones(1, 4, 8, 8), "batch_index": [0]}
    assert torch.equal(sampled(loaded, latent, denoise=0.0)["samples"], latent["samples"])


def test_an_image_of_a_batch_repeats_with_its_index(loaded: Loaded) -> None:
    batch = {"samples": torch.zeros(2, 4, 8, 8), "batch_index": [0, 1]}
    both = sampled(loaded, batch)["samples"]
    second = sampled(loaded, {"samples": torch.zeros(1, 4, 8, 8), "batch_index": [1]})["samples"]
    torch.testing.assert_close(both[1:], second, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("sampler", ["euler_ancestral", "dpmpp_2m_sde", "ddim"])
def test_a_seed_batch_is_the_single_runs(loaded: Loaded, sampler: str) -> None:
    from orchestrator.engine.nodes.pack import SeedBatch

    model, latent = SeedBatch.execute(loaded.model, 64, 64, 2**64 - 1, 2).args
    batch = sampled(loaded, latent, model=model, sampler_name=sampler)["samples"]
    for i, seed in enumerate((2**64 - 1, 0)):
        single = sampled(loaded, empty(), seed=seed, sampler_name=sampler)["samples"]
        torch.testing.assert_close(batch[i : i + 1], single, rtol=1e-4, atol=1e-3)


def test_two_halves_of_a_run_are_the_whole(loaded: Loaded) -> None:
    text = CLIPTextEncode.execute("a gem", loaded.clip)[0]
    shared = {
        "model": loaded.model,
        "noise_seed": 3,
        "steps": 4,
        "cfg": 2.0,
        "sampler_name": "euler",
        "scheduler": "karras",
        "positive": text,
        "negative": text,
    }
    first = KSamplerAdvanced.execute(
        add_noise="enable",
        latent_image=empty(),
        start_at_step=0,
        end_at_step=2,
        return_with_leftover_noise="enable",
        **shared,
    )[0]
    second = KSamplerAdvanced.execute(
        add_noise="disable",
        latent_image=first,
        start_at_step=2,
        end_at_step=10000,
        return_with_leftover_noise="disable",
        **shared,
    )[0]
    whole = sampled(loaded, empty())["samples"]
    torch.testing.assert_close(second["samples"], whole, rtol=1e-4, atol=1e-3)


def test_outside_the_mask_the_latent_is_kept(loaded: Loaded) -> None:
    mask = torch.zeros(1, 64, 64)
    mask[:, :32] = 1.0
    before = torch.randn(1, 4, 8, 8)
    latent = {"samples": before, "noise_mask": mask[:, None]}
    after = sampled(loaded, latent)["samples"]
    torch.testing.assert_close(after[:, :, 4:], before[:, :, 4:], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(after[:, :, :4], before[:, :, :4], atol=0.1)


def test_clip_skip_leaves_the_original_alone(loaded: Loaded) -> None:
    skipped = CLIPSetLastLayer.execute(loaded.clip, -2)[0]
    assert (skipped.layer, loaded.clip.layer) == (-2, None)


def test_repeating_a_batch_numbers_its_images_on() -> None:
    latent = {
        "samples": torch.arange(2.0).reshape(2, 1, 1, 1),
        "noise_mask": torch.arange(2.0).reshape(2, 1, 1, 1),
        "batch_index": [3, 4],
    }
    result = RepeatLatentBatch.execute(latent, 2)[0]
    assert result["samples"].flatten().tolist() == [0, 1, 0, 1]
    assert result["noise_mask"].flatten().tolist() == [0, 1, 0, 1]
    assert result["batch_index"] == [3, 4, 5, 6]


@pytest.mark.parametrize(
    ("width", "height", "shape"),
    [(0, 0, (8, 12)), (128, 64, (8, 16)), (0, 128, (16, 24)), (32, 0, (8, 8)), (16, 16, (8, 8))],
)
def test_latents_are_resized_in_pixels(width: int, height: int, shape: tuple[int, int]) -> None:
    latent = {"samples": torch.rand(1, 4, 8, 12)}
    result = LatentUpscale.execute(latent, "bilinear", width, height, "disabled")[0]
    assert tuple(result["samples"].shape[-2:]) == shape


def test_a_side_of_zero_follows_the_other() -> None:
    image = torch.rand(1, 10, 20, 3)
    assert ImageScale.execute(image, "area", 0, 5, "disabled")[0].shape == (1, 5, 10, 3)
    assert ImageScale.execute(image, "area", 40, 0, "disabled")[0].shape == (1, 20, 40, 3)
    assert ImageScale.execute(image, "area", 0, 0, "disabled")[0] is image


def test_masks_and_pictures_turn_into_each_other() -> None:
    image = torch.rand(2, 3, 4, 3)
    mask = ImageToMask.execute(image, "green")[0]
    assert torch.equal(MaskToImage.execute(mask)[0][..., 2], image[..., 1])
    with pytest.raises(ValueError, match="alpha"):
        ImageToMask.execute(image, "alpha")


def test_an_empty_image_has_its_colour() -> None:
    image = EmptyImage.execute(3, 2, 2, 0xFF8000)[0]
    assert image.shape == (2, 2, 3, 3)
    assert torch.allclose(image[0, 0, 0], torch.tensor([1.0, 128 / 255, 0.0]))


def test_a_picture_may_change_under_its_name(folders: Folders) -> None:
    path = folders.input / "a.png"
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(path)
    before = LoadImage.fingerprint_inputs("a.png")
    Image.fromarray(np.ones((2, 2, 3), np.uint8)).save(path)
    assert LoadImage.fingerprint_inputs("a.png") != before
    assert LoadImage.validate_inputs("a.png") is True
    assert "gone.png" in str(LoadImage.validate_inputs("gone.png"))


def test_inpainting_greys_out_and_grows_the_mask(loaded: Loaded) -> None:
    pixels, mask = torch.rand(1, 67, 70, 3), torch.zeros(1, 67, 70)
    mask[:, 30:40, 30:40] = 1.0
    latent = VAEEncodeForInpaint.execute(pixels, loaded.vae, mask, 6)[0]
    assert latent["samples"].shape == (1, 4, 8, 8)
    assert latent["noise_mask"].shape == (1, 1, 64, 64)
    assert 100 < latent["noise_mask"].sum() < 400
    text = CLIPTextEncode.execute("a gem", loaded.clip)[0]
    positive, negative, plain = InpaintModelConditioning.execute(
        text, text, loaded.vae, pixels, mask, False
    ).args
    assert torch.equal(positive[0][1]["concat_latent_image"], latent["samples"])
    assert "concat_mask" in negative[0][1]
    assert "concat_mask" not in text[0][1]
    assert "noise_mask" not in plain


def test_pictures_for_the_socket_are_sent_whole() -> None:
    watcher = Watcher()
    with host.activate(watcher):
        SaveImageWebsocket.execute(torch.zeros(2, 5, 6, 3))
    assert [preview.size for preview in watcher.previews] == [(6, 5), (6, 5)]
