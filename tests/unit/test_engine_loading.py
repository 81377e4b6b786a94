"""Loading: tiny real models, against what diffusers itself computes with them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from comfy_nodes.errors import ModelUnreadable, UnsupportedModel
from comfy_nodes.models import Family, Prediction
from comfy_nodes.ops.attention import sliced
from comfy_nodes.settings import Attention, LoaderSettings, Offload, Precision, VaeTiling
from orchestrator.engine.handles.handles import Loaded
from orchestrator.engine.models.loading import load_diffusers
from orchestrator.engine.models.vae import decode, decode_tiled, encode, in_tiles
from orchestrator.engine.sampling.conditioning import encode_text
from orchestrator.engine.sampling.guidance import Guide

DEFAULTS = LoaderSettings()
FAMILIES = {"tiny-sd1": Family.SD1, "tiny-sd2": Family.SD2, "tiny-sdxl": Family.SDXL}
CLOSE = {"rtol": 1e-4, "atol": 2e-5}


@pytest.fixture(scope="module", params=FAMILIES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def reference(tiny_models: Path, name: str) -> dict[str, torch.Tensor]:
    return load_file(tiny_models / f"{name}.reference.safetensors")


@pytest.fixture(scope="module")
def loaded(tiny_models: Path, name: str) -> Loaded:
    return load_diffusers(tiny_models / name, DEFAULTS)


def test_the_text_states_are_diffusers_own(
    loaded: Loaded, reference: dict[str, torch.Tensor]
) -> None:
    texts = [encode_text(loaded.clip, text)[0] for text in ("a red potion", "")]
    torch.testing.assert_close(torch.cat([t[0] for t in texts]), reference["context"], **CLOSE)
    if "pooled" in reference:
        pooled = torch.cat([t[1]["pooled_output"] for t in texts])
        torch.testing.assert_close(pooled, reference["pooled"], **CLOSE)


def test_one_denoiser_pass_is_diffusers_own(
    loaded: Loaded, name: str, reference: dict[str, torch.Tensor]
) -> None:
    model = loaded.model
    assert model.family is FAMILIES[name]
    texts = [(reference["context"][:1], {"pooled_output": reference.get("pooled", [None])[:1]})]
    time = int(reference["timestep"][0])
    sigma, latent = model.table.sigmas[time], reference["latent"][:1]
    x = latent * (sigma**2 + 1) ** 0.5
    with model.unet.ready() as unet:
        clean = Guide(model, unet, texts, texts, 1.0, latent, None)(x, sigma)
    output = reference["unet"][:1]
    if model.table.prediction is Prediction.V:
        expected = latent / (sigma**2 + 1) ** 0.5 - output * sigma / (sigma**2 + 1) ** 0.5
    else:
        expected = x - output * sigma
    torch.testing.assert_close(clean, expected, rtol=1e-4, atol=1e-4)


def test_the_vae_is_diffusers_own(loaded: Loaded, reference: dict[str, torch.Tensor]) -> None:
    torch.testing.assert_close(
        encode(loaded.vae, reference["picture"]), reference["encoded"], **CLOSE
    )
    torch.testing.assert_close(
        decode(loaded.vae, reference["latent"]), reference["decoded"], **CLOSE
    )


def test_weights_are_widened_to_fp32_on_a_cpu(loaded: Loaded) -> None:
    if torch.cuda.is_available():
        pytest.skip("the automatic precision of an accelerator is another")
    assert loaded.model.unet.dtype is torch.float32
    assert {e.part.dtype for e in loaded.clip.encoders} == {torch.float32}


def test_latents_are_scaled_as_the_vae_says(loaded: Loaded) -> None:
    assert loaded.model.latent_scale == pytest.approx(0.7)


def settings(**changes: object) -> LoaderSettings:
    return LoaderSettings.model_validate(changes)


def test_precision_and_attention_are_applied_to_this_model(tiny_models: Path) -> None:
    fast = load_diffusers(
        tiny_models / "tiny-sd1", settings(precision=Precision.BF16, attention=Attention.SLICED)
    )
    assert fast.model.unet.dtype is torch.bfloat16
    processors = fast.model.unet.module.attn_processors.values()
    assert {p.attend for p in processors} == {sliced}
    plain = load_diffusers(tiny_models / "tiny-sd1", settings(precision=Precision.FP16))
    narrow = {weight.dtype for weight in plain.model.unet.module.parameters()}
    assert torch.float16 in narrow
    # SDXL's VAE overflows in fp16.
    assert plain.vae.part.dtype in (torch.float32, torch.bfloat16)
    assert {type(p).__name__ for p in plain.model.unet.module.attn_processors.values()} == {
        "AttnProcessor2_0"
    }


def test_sliced_attention_gives_the_same(tiny_models: Path) -> None:
    x, sigma = torch.ones(1, 4, 8, 8), torch.tensor(3.0)
    results = []
    for attention in (Attention.SDPA, Attention.SLICED):
        loaded = load_diffusers(tiny_models / "tiny-sd1", settings(attention=attention))
        text = encode_text(loaded.clip, "a gem")
        with loaded.model.unet.ready() as unet:
            results.append(Guide(loaded.model, unet, text, text, 1.0, x, None)(x, sigma))
    torch.testing.assert_close(results[0], results[1], rtol=1e-4, atol=1e-5)


def test_offload_decides_where_parts_rest(tiny_models: Path) -> None:
    cpu = torch.device("cpu")
    away = load_diffusers(tiny_models / "tiny-sd1", settings(offload=Offload.MODEL))
    assert {away.model.unet.home, away.vae.part.home} == {cpu}
    text = load_diffusers(tiny_models / "tiny-sd1", settings(offload=Offload.TEXT_ENCODER))
    assert text.clip.encoders[0].part.device == cpu
    assert text.model.unet.home == text.model.unet.device


def test_vae_tiles_cover_the_whole_picture(tiny_models: Path) -> None:
    vae = load_diffusers(tiny_models / "tiny-sd1", settings(vae_tiling=VaeTiling.ON)).vae
    latents = torch.zeros(1, 4, 12, 20)
    assert decode_tiled(vae, latents, tile=8, overlap=2).shape == (1, 96, 160, 3)
    # All three tilings take a picture of half a tile whole.
    whole = decode(replace(vae, settings=LoaderSettings(vae_tiling=VaeTiling.OFF)), latents)
    torch.testing.assert_close(decode_tiled(vae, latents, tile=40, overlap=2), whole, **CLOSE)


@pytest.mark.parametrize("size", [(9, 40), (16, 16), (33, 17)])
@pytest.mark.parametrize("overlap", [0, 3])
def test_blended_tiles_are_the_whole_where_tiles_agree(size: tuple[int, int], overlap: int) -> None:
    samples = torch.rand(2, 3, *size)

    def double(tile: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.interpolate(tile, scale_factor=2.0)

    tiled = in_tiles(samples, double, (16, 10), overlap, 2, 3)
    torch.testing.assert_close(tiled, double(samples))


def test_the_profile_comes_from_the_folder(tiny_models: Path, tmp_path: Path) -> None:
    assert load_diffusers(tiny_models / "tiny-sd1", DEFAULTS).profile.width == 64
    shutil.copytree(tiny_models / "tiny-sd1", tmp_path / "m")
    (tmp_path / "m" / "spriteworks.json").write_text(
        json.dumps({"width": 48, "height": 32, "cfg": 3.0}), encoding="utf-8"
    )
    profile = load_diffusers(tmp_path / "m", DEFAULTS).profile
    assert (profile.width, profile.height, profile.cfg) == (48, 32, 3.0)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def drop_weight(path: Path) -> None:
    weights = load_file(path)
    weights.pop(sorted(weights)[0])
    save_file(weights, path)


def halve_weight(path: Path) -> None:
    weights = load_file(path)
    key = sorted(weights)[0]
    weights[key] = weights[key][: len(weights[key]) // 2].clone()
    save_file(weights, path)


UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.mark.parametrize(
    ("part", "damage", "named"),
    [
        ("model_index.json", Path.unlink, "model_index.json"),
        ("unet", shutil.rmtree, "unet"),
        ("tokenizer", shutil.rmtree, "tokenizer"),
        (UNET, Path.unlink, "unet"),
        (UNET, truncate, "diffusion_pytorch_model.safetensors"),
        (UNET, drop_weight, "unet"),
        (UNET, halve_weight, "unet"),
        ("vae/config.json", lambda p: p.write_text("{"), "vae/config.json"),
        ("text_encoder/model.safetensors", truncate, "model.safetensors"),
    ],
)
def test_a_damaged_folder_is_an_error_that_names_the_part(
    tiny_models: Path, tmp_path: Path, part: str, damage: Callable[[Path], object], named: str
) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(tiny_models / "tiny-sd1", folder)
    damage(folder / part)
    with pytest.raises(ModelUnreadable) as caught:
        load_diffusers(folder, DEFAULTS)
    assert named in str(caught.value)


def test_a_pickle_is_never_opened(tiny_models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pickled"
    shutil.copytree(tiny_models / "tiny-sd1", folder)
    (folder / UNET).rename((folder / UNET).with_suffix(".bin"))
    with pytest.raises(ModelUnreadable, match="safetensors"):
        load_diffusers(folder, DEFAULTS)


def test_another_kind_of_model_is_refused(tiny_models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    shutil.copytree(tiny_models / "tiny-sd1", folder)
    config = json.loads((folder / "unet" / "config.json").read_text(encoding="utf-8"))
    del config["cross_attention_dim"]
    (folder / "unet" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(UnsupportedModel, match="other"):
        load_diffusers(folder, DEFAULTS)
