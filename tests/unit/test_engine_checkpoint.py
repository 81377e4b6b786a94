"""Single-file checkpoints of tiny models, whose names diffusers' own converters understand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders import single_file_utils
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from comfy_nodes.errors import ModelUnreadable, UnsupportedModel
from comfy_nodes.models import Family, Prediction
from comfy_nodes.settings import LoaderSettings
from orchestrator.engine.models.checkpoint import UNET, VAE
from orchestrator.engine.models.loading import load_checkpoint, load_checkpoint_as_comfyui
from orchestrator.engine.models.names import UnetNames, vae_original
from orchestrator.engine.models.tokenizer import clip_tokenizer
from orchestrator.engine.models.vae import decode
from orchestrator.engine.sampling.conditioning import encode_text

Weights = dict[str, torch.Tensor]
DEFAULTS = LoaderSettings()
UNETS: dict[Family, dict[str, Any]] = {
    Family.SD1: {"block_out_channels": (64, 128), "attention_head_dim": (1, 2), "in_channels": 9},
    Family.SD2: {
        "block_out_channels": (64, 64, 128),
        "attention_head_dim": (1, 1, 2),
        "use_linear_projection": True,
        "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        "layers_per_block": 1,
    },
    Family.SDXL: {
        "block_out_channels": (64, 128),
        "attention_head_dim": (1, 2),
        "use_linear_projection": True,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 2),
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 6 * 256 + 128,
    },
}
ATTENDING = ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D")
ATTENDING_UP = ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D")
TEXT_WIDTHS = {Family.SD1: (64,), Family.SD2: (64,), Family.SDXL: (64, 128)}


def make_unet(family: Family) -> UNet2DConditionModel:
    types = {"down_block_types": ATTENDING, "up_block_types": ATTENDING_UP}
    torch.manual_seed(0)
    width = sum(TEXT_WIDTHS[family])
    return UNet2DConditionModel(cross_attention_dim=width, **{**types, **UNETS[family]})


def make_vae() -> AutoencoderKL:
    torch.manual_seed(1)
    return AutoencoderKL(
        block_out_channels=(32, 32, 64, 64),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
    )


def make_text(width: int, *, openclip: bool, projects: bool) -> Any:
    torch.manual_seed(2)
    config = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=width,
        intermediate_size=2 * width,
        projection_dim=width,
        num_hidden_layers=3,
        num_attention_heads=width // 64,
        hidden_act="gelu" if openclip else "quick_gelu",
        bos_token_id=49406,
        eos_token_id=49407,
    )
    return (CLIPTextModelWithProjection if projects else CLIPTextModel)(config).eval()


def as_openclip(model: Any, prefix: str) -> Weights:
    """The names and joined matrices of OpenCLIP's text encoder."""
    weights = {k.removeprefix("text_model."): v for k, v in model.state_dict().items()}
    found = {
        "token_embedding.weight": weights["embeddings.token_embedding.weight"],
        "positional_embedding": weights["embeddings.position_embedding.weight"],
        "ln_final.weight": weights["final_layer_norm.weight"],
        "ln_final.bias": weights["final_layer_norm.bias"],
    }
    if "text_projection.weight" in weights:
        found["text_projection"] = weights["text_projection.weight"].T.contiguous()
    for layer in range(model.config.num_hidden_layers):
        ours, theirs = f"encoder.layers.{layer}.", f"transformer.resblocks.{layer}."
        for kind in ("weight", "bias"):
            joined = [weights[f"{ours}self_attn.{p}_proj.{kind}"] for p in "qkv"]
            found[f"{theirs}attn.in_proj_{kind}"] = torch.cat(joined)
            for a, b in {
                "layer_norm1": "ln_1",
                "layer_norm2": "ln_2",
                "mlp.fc1": "mlp.c_fc",
                "mlp.fc2": "mlp.c_proj",
                "self_attn.out_proj": "attn.out_proj",
            }.items():
                found[f"{theirs}{b}.{kind}"] = weights[f"{ours}{a}.{kind}"]
    return {prefix + key: value for key, value in found.items()}


def as_clip(model: Any, prefix: str) -> Weights:
    weights = {k.removeprefix("text_model."): v for k, v in model.state_dict().items()}
    return {f"{prefix}text_model.{key}": value for key, value in weights.items()}


def text_weights(family: Family) -> Weights:
    width = TEXT_WIDTHS[family]
    if family is Family.SD2:
        model = make_text(width[0], openclip=True, projects=False)
        return as_openclip(model, "cond_stage_model.model.")
    model = make_text(width[0], openclip=False, projects=False)
    if family is Family.SD1:
        return as_clip(model, "cond_stage_model.transformer.")
    second = make_text(width[1], openclip=True, projects=True)
    return as_clip(model, "conditioner.embedders.0.transformer.") | as_openclip(
        second, "conditioner.embedders.1.model."
    )


def checkpoint_weights(family: Family) -> Weights:
    unet, vae = make_unet(family), make_vae()
    names = UnetNames(unet.config)
    weights = {UNET + names.original(k): v for k, v in unet.state_dict().items()}
    weights |= {VAE + vae_original(k, 4): v for k, v in vae.state_dict().items()}
    return weights | text_weights(family)


@pytest.fixture(scope="module", params=Family, ids=lambda f: f.value)
def family(request: pytest.FixtureRequest) -> Family:
    return Family(request.param)


@pytest.fixture(scope="module")
def file(family: Family, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoints") / f"{family.value}.safetensors"
    save_file(checkpoint_weights(family), path)
    return path


def test_diffusers_understands_our_names(family: Family) -> None:
    unet = make_unet(family)
    weights = {k: v for k, v in checkpoint_weights(family).items() if k.startswith(UNET)}
    config = {**unet.config, "layers_per_block": UNETS[family].get("layers_per_block", 2)}
    converted = single_file_utils.convert_ldm_unet_checkpoint(weights, config)
    assert {k: v.shape for k, v in converted.items()} == {
        k: v.shape for k, v in unet.state_dict().items()
    }
    for key, value in unet.state_dict().items():
        assert torch.equal(converted[key], value), key


def test_diffusers_understands_our_vae_names() -> None:
    vae = make_vae()
    weights = {VAE + vae_original(k, 4): v for k, v in vae.state_dict().items()}
    converted = single_file_utils.convert_ldm_vae_checkpoint(weights, dict(vae.config))
    for key, value in vae.state_dict().items():
        assert torch.equal(converted[key].reshape(value.shape), value), key


def test_a_checkpoint_gives_the_model_it_was_made_of(family: Family, file: Path) -> None:
    loaded = load_checkpoint(file, DEFAULTS)
    assert loaded.model.family is family
    for part, made in ((loaded.model.unet, make_unet(family)), (loaded.vae.part, make_vae())):
        for key, value in made.state_dict().items():
            assert torch.equal(part.module.state_dict()[key], value), key
    latents = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = (make_vae().eval().decode(latents).sample / 2 + 0.5).clamp(0, 1)
    torch.testing.assert_close(decode(loaded.vae, latents), expected.movedim(1, -1))


def test_the_text_is_encoded_as_transformers_does(family: Family, file: Path) -> None:
    states, options = encode_text(load_checkpoint(file, DEFAULTS).clip, "a blue sword")[0]
    expected, pooled = [], None
    for index, width in enumerate(TEXT_WIDTHS[family]):
        openclip = family is Family.SD2 or index == 1
        model = make_text(width, openclip=openclip, projects=index == 1)
        tokenizer = clip_tokenizer("!" if openclip else "<|endoftext|>")
        ids = tokenizer(
            "a blue sword", padding="max_length", max_length=77, return_tensors="pt"
        ).input_ids
        with torch.inference_mode():
            output = model(ids, output_hidden_states=True)
            hidden = output.last_hidden_state
            if family is not Family.SD1:
                hidden = output.hidden_states[-2]
            if family is Family.SD2:
                hidden = getattr(model, "text_model", model).final_layer_norm(hidden)
        expected.append(hidden)
        pooled = output.text_embeds if index == 1 else pooled
    torch.testing.assert_close(states, torch.cat(expected, dim=-1), rtol=1e-4, atol=1e-5)
    if pooled is not None:
        torch.testing.assert_close(options["pooled_output"], pooled, rtol=1e-4, atol=1e-5)


def test_comfyuis_loader_rounds_text_weights_to_half(file: Path) -> None:
    plain = load_checkpoint(file, DEFAULTS).clip.encoders[0].part.module
    rounded = load_checkpoint_as_comfyui(file).clip.encoders[0].part.module
    for key, value in plain.state_dict().items():
        assert torch.equal(rounded.state_dict()[key], value.half().float()), key


@pytest.fixture
def sdxl() -> Weights:
    return checkpoint_weights(Family.SDXL)


def test_marks_in_the_file_say_what_it_predicts(sdxl: Weights, tmp_path: Path) -> None:
    path = tmp_path / "v-turbo.safetensors"
    save_file(sdxl | {"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}, path)
    loaded = load_checkpoint(path, DEFAULTS)
    assert loaded.model.table.prediction is Prediction.V
    assert loaded.model.table.sigma_max > 4000
    assert loaded.profile.cfg == 1.0  # a Turbo, by its name


@pytest.mark.parametrize(
    ("metadata", "marks", "agree"),
    [
        ({"modelspec.prediction_type": "epsilon"}, (), True),
        ({"modelspec.prediction_type": "v"}, (), False),
        ({"prediction_type": "V_Prediction"}, ("v_pred",), True),
        ({"prediction_type": "epsilon"}, ("v_pred",), False),
        ({"modelspec.prediction_type": "sample"}, (), False),
        ({"modelspec.title": "prediction_type v"}, (), True),
    ],
)
def test_metadata_that_says_otherwise_is_refused(
    sdxl: Weights, tmp_path: Path, metadata: dict[str, str], marks: tuple[str, ...], agree: bool
) -> None:
    path = tmp_path / "noob.safetensors"
    save_file(sdxl | {mark: torch.zeros(0) for mark in marks}, path, metadata)
    if agree:
        expected = Prediction.V if marks else Prediction.EPSILON
        assert load_checkpoint(path, DEFAULTS).model.table.prediction is expected
        return
    with pytest.raises(UnsupportedModel, match=r"noob\.safetensors says .*ModelSamplingDiscrete"):
        load_checkpoint(path, DEFAULTS)


@pytest.mark.parametrize("mark", ["edm_mean", "edm_vpred.sigma_max"])
def test_the_noise_of_edm_is_refused(sdxl: Weights, tmp_path: Path, mark: str) -> None:
    path = tmp_path / "cos.safetensors"
    save_file(sdxl | {mark: torch.tensor(120.0)}, path)
    with pytest.raises(UnsupportedModel, match=rf"cos\.safetensors .*{mark}.*--comfyui"):
        load_checkpoint(path, DEFAULTS)


QUERY = f"{UNET}input_blocks.4.1.transformer_blocks.0.attn1.to_q"


@pytest.mark.parametrize(
    "scale",
    [
        f"{QUERY}.scale_weight",
        f"{QUERY}.weight_scale",
        f"{QUERY}.comfy_quant",
        f"{QUERY}.weight.absmax",
    ],
)
def test_scaled_weights_are_refused(sdxl: Weights, tmp_path: Path, scale: str) -> None:
    path = tmp_path / "scaled.safetensors"
    narrow = sdxl[f"{QUERY}.weight"].to(torch.float8_e4m3fn)
    save_file(sdxl | {f"{QUERY}.weight": narrow}, path)
    load_checkpoint(path, DEFAULTS)  # in fp8 alone
    save_file(sdxl | {f"{QUERY}.weight": narrow, scale: torch.tensor(0.5)}, path)
    with pytest.raises(UnsupportedModel, match=rf"scaled\.safetensors holds {scale}.*--comfyui"):
        load_checkpoint(path, DEFAULTS)


def without(prefix: str) -> Callable[[Weights], Weights]:
    return lambda weights: {k: v for k, v in weights.items() if not k.startswith(prefix)}


def only_averaged(weights: Weights) -> Weights:
    """As training writes it beside the weights themselves: in one word, without dots."""
    return {
        f"model_ema.{k[len('model.') :].replace('.', '')}" if k.startswith(UNET) else k: v
        for k, v in weights.items()
    }


def short_vocabulary(weights: Weights) -> Weights:
    key = "conditioner.embedders.0.transformer.text_model.embeddings.token_embedding.weight"
    return weights | {key: weights[key][:100].clone()}


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        (without(UNET), UnsupportedModel, "UNet"),
        (only_averaged, UnsupportedModel, "model_ema"),
        (without(VAE), UnsupportedModel, "VAE"),
        (without("conditioner.embedders.0"), UnsupportedModel, "text encoder"),
        (without(f"{UNET}out.2.bias"), ModelUnreadable, "conv_out.bias"),
        (short_vocabulary, UnsupportedModel, "diffusers folder"),
    ],
)
def test_what_cannot_be_loaded_is_said(
    sdxl: Weights,
    tmp_path: Path,
    change: Callable[[Weights], Weights],
    kind: type[Exception],
    said: str,
) -> None:
    path = tmp_path / "broken.safetensors"
    save_file({k: v.contiguous() for k, v in change(sdxl).items()}, path)
    with pytest.raises(kind, match=said) as caught:
        load_checkpoint(path, DEFAULTS)
    assert "broken.safetensors" in str(caught.value)


def test_a_truncated_file_is_named(file: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(ModelUnreadable, match=r"cut\.safetensors"):
        load_checkpoint(path, DEFAULTS)


def test_a_pickle_is_refused_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "old.ckpt"
    path.write_bytes(b"")
    with pytest.raises(UnsupportedModel, match=r"old\.ckpt"):
        load_checkpoint(path, DEFAULTS)


def test_a_pickle_that_is_allowed_gives_the_same_model(file: Path, tmp_path: Path) -> None:
    path = tmp_path / "old.ckpt"
    torch.save({"state_dict": load_file(file), "epoch": 3}, path)
    with pytest.raises(UnsupportedModel, match="allow_pickle"):
        load_checkpoint(path, DEFAULTS)
    pickled = load_checkpoint(path, DEFAULTS, allow_pickle=True)
    safe = load_checkpoint(file, DEFAULTS)
    for ours, theirs in zip(
        pickled.model.unet.module.parameters(), safe.model.unet.module.parameters(), strict=True
    ):
        assert torch.equal(ours, theirs)
