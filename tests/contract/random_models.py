"""Writes random Stable Diffusion models in the published layouts, as single file and as folder.

    python tests/contract/random_models.py FOLDER [--full] [--half] [NAME...]

gives FOLDER/checkpoints/NAME.safetensors and FOLDER/diffusers/NAME with the same weights, for
each of the seven versions or for those named. Names and extra entries of a file are those of the
published ones, and so are shapes with `--full` (4 GB for sd15); otherwise every level of the UNet
has the first one's width, 1.x and 2.x have two levels, and text encoders have three layers. XL is
cut in depth either way: 1 and 2 transformers a level in place of 2 and 10, a cut that ComfyUI
knows by itself. The VAE is always of full size. Weights are what PyTorch starts a network with, in
fp32 or (`--half`) fp16; such networks neither saturate nor ignore their inputs.
"""

from __future__ import annotations

import argparse
import copy
import gzip
import json
import os
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from comfy_nodes.models import Family, Prediction
from orchestrator.engine.models.names import UnetNames, vae_original
from orchestrator.engine.models.tokenizer import END, MERGES, START, clip_tokenizer

Weights = dict[str, torch.Tensor]

UNET, VAE = "model.diffusion_model.", "first_stage_model."
CLIP_L = "text_model."
TEXT_LAYERS = 3  # of a narrow model's text encoders
WIDTH, TOKENS = 320, 49408
# ComfyUI takes a 2.x UNet for one that predicts v by the spread of these numbers, which lie in its
# output block 11: the last one of the published UNets, and of one with two levels of five layers.
V_MARK = "up_blocks.3.attentions.2.transformer_blocks.0.norm1.bias"
NARROW_V_MARK = "up_blocks.1.attentions.5.transformer_blocks.0.norm1.bias"
V_LAYERS = 5


@dataclass(frozen=True)
class Shape:
    """What tells a version's layout from the others'."""

    family: Family
    prediction: Prediction = Prediction.EPSILON
    channels: int = 4  # 9 for the inpainting versions
    turbo: bool = False


@dataclass(frozen=True)
class Text:
    """One text encoder of full size."""

    width: int
    heads: int
    layers: int
    openclip: bool
    projects: bool = False


SHAPES = {
    "sd15": Shape(Family.SD1),
    "sd15-inpainting": Shape(Family.SD1, channels=9),
    "sd21": Shape(Family.SD2, Prediction.V),
    "sd2-inpainting": Shape(Family.SD2, channels=9),
    "sdxl": Shape(Family.SDXL),
    "sdxl-turbo": Shape(Family.SDXL, turbo=True),
    "sdxl-inpainting": Shape(Family.SDXL, channels=9),
}
CLIP_TEXT = Text(768, 12, 12, openclip=False)
TEXTS = {
    Family.SD1: [CLIP_TEXT],
    Family.SD2: [Text(1024, 16, 24, openclip=True)],
    Family.SDXL: [CLIP_TEXT, Text(1280, 20, 32, openclip=True, projects=True)],
}
PREFIXES = {
    Family.SD1: ["cond_stage_model.transformer."],
    Family.SD2: ["cond_stage_model.model."],
    Family.SDXL: ["conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."],
}


def main(out: Path, names: list[str], folders: list[str], *, full: bool, half: bool) -> None:
    """`folders` are those of the names that get a folder beside their single file."""
    dtype = torch.float16 if half else torch.float32
    for name in names:
        shape = SHAPES[name]
        unet = make_unet(shape, dtype, full=full)
        vae = make_vae(dtype)
        texts = [make_text(text, dtype, full=full) for text in TEXTS[shape.family]]
        write_file(out / "checkpoints" / f"{name}.safetensors", shape, unet, vae, texts)
        if name in folders:
            write_folder(out / "diffusers" / name, shape, unet, vae, texts)


def make_unet(shape: Shape, dtype: torch.dtype, *, full: bool) -> Any:
    """Versions of one family share all weights but the marked ones, as drawing them takes long."""
    config = unet_config(shape, full=full)
    with torch.device("meta"):
        unet = UNet2DConditionModel(**config)
    weights = dict(base_weights(shape.family, config["layers_per_block"], dtype, full=full))
    torch.manual_seed(shape.channels)
    if shape.channels != 4:
        first = torch.nn.Conv2d(shape.channels, WIDTH, 3)
        weights |= {f"conv_in.{key}": value.to(dtype) for key, value in first.state_dict().items()}
    if shape.prediction is Prediction.V:
        mark = V_MARK if full else NARROW_V_MARK
        weights[mark] = (torch.randn(WIDTH) * 0.3).to(dtype)
    unet.load_state_dict(weights, assign=True)
    return unet


@cache
def base_weights(family: Family, layers: int, dtype: torch.dtype, *, full: bool) -> Weights:
    torch.manual_seed(1)
    prediction = Prediction.V if layers == V_LAYERS else Prediction.EPSILON
    unet = UNet2DConditionModel(**unet_config(Shape(family, prediction), full=full))
    return dict(unet.to(dtype).state_dict())


def unet_config(shape: Shape, *, full: bool) -> dict[str, Any]:
    large = shape.family is Family.SDXL
    widths = [WIDTH, 2 * WIDTH, 4 * WIDTH] if large else [WIDTH, 2 * WIDTH, 4 * WIDTH, 4 * WIDTH]
    attends = [False, True, True] if large else [True, True, True, False]
    layers = 2
    if not full and not large:
        widths, attends = widths[:2], [True, False]
        layers = V_LAYERS if shape.prediction is Prediction.V else 1
    widths = widths if full else [WIDTH] * len(widths)
    config = {
        "sample_size": 8,
        "in_channels": shape.channels,
        "block_out_channels": widths,
        "layers_per_block": layers,
        "down_block_types": ["CrossAttnDownBlock2D" if a else "DownBlock2D" for a in attends],
        "up_block_types": ["CrossAttnUpBlock2D" if a else "UpBlock2D" for a in attends[::-1]],
        "cross_attention_dim": sum(text.width for text in TEXTS[shape.family]),
        "use_linear_projection": shape.family is not Family.SD1,
        # The number of heads, by a mistake that diffusers keeps.
        "attention_head_dim": 8 if shape.family is Family.SD1 else [w // 64 for w in widths],
    }
    if large:
        config |= {
            "transformer_layers_per_block": (1, 1, 2),
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 1280 + 6 * 256,
        }
    return config


@cache
def make_vae(dtype: torch.dtype) -> Any:
    torch.manual_seed(2)
    return AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        sample_size=64,
    ).to(dtype)


@cache
def make_text(text: Text, dtype: torch.dtype, *, full: bool) -> Any:
    torch.manual_seed(text.width)
    kind = CLIPTextModelWithProjection if text.projects else CLIPTextModel
    return kind(
        CLIPTextConfig(
            vocab_size=TOKENS,
            hidden_size=text.width,
            intermediate_size=4 * text.width,
            projection_dim=text.width,
            num_hidden_layers=text.layers if full else TEXT_LAYERS,
            num_attention_heads=text.heads,
            hidden_act="gelu" if text.openclip else "quick_gelu",
            bos_token_id=TOKENS - 2,
            eos_token_id=TOKENS - 1,
        )
    ).to(dtype)


def write_file(path: Path, shape: Shape, unet: Any, vae: Any, texts: list[Any]) -> None:
    names = UnetNames(unet.config)
    weights = {UNET + names.original(key): value for key, value in unet.state_dict().items()}
    for key, value in vae.state_dict().items():
        # The attention's layers are convolutions of one pixel there.
        flat = value.ndim == 2
        weights[VAE + vae_original(key, 4)] = value[:, :, None, None] if flat else value
    weights |= {"betas": DDPMScheduler(**schedule(shape)).betas}
    for prefix, model, text in zip(PREFIXES[shape.family], texts, TEXTS[shape.family], strict=True):
        weights |= (as_openclip if text.openclip else as_clip)(model, prefix)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in weights.items()}, path)


def as_clip(model: Any, prefix: str) -> Weights:
    weights = {f"{prefix}{CLIP_L}{key}": value for key, value in inner(model).items()}
    positions = torch.arange(77).expand(1, -1)
    return weights | {f"{prefix}{CLIP_L}embeddings.position_ids": positions}


def as_openclip(model: Any, prefix: str) -> Weights:
    """OpenCLIP's names; its query, key and value lie in one matrix."""
    weights = inner(model)
    width = model.config.hidden_size
    projection = weights.get("text_projection.weight", torch.eye(width)).T
    found = {
        "token_embedding.weight": weights["embeddings.token_embedding.weight"],
        "positional_embedding": weights["embeddings.position_embedding.weight"],
        "ln_final.weight": weights["final_layer_norm.weight"],
        "ln_final.bias": weights["final_layer_norm.bias"],
        "text_projection": projection.to(model.dtype),
        "logit_scale": torch.tensor(4.6052),
    }
    modules = {
        "layer_norm1": "ln_1",
        "layer_norm2": "ln_2",
        "mlp.fc1": "mlp.c_fc",
        "mlp.fc2": "mlp.c_proj",
        "self_attn.out_proj": "attn.out_proj",
    }
    for layer in range(model.config.num_hidden_layers):
        ours, theirs = f"encoder.layers.{layer}.", f"transformer.resblocks.{layer}."
        for kind in ("weight", "bias"):
            joined = [weights[f"{ours}self_attn.{part}_proj.{kind}"] for part in "qkv"]
            found[f"{theirs}attn.in_proj_{kind}"] = torch.cat(joined)
            for a, b in modules.items():
                found[f"{theirs}{b}.{kind}"] = weights[f"{ours}{a}.{kind}"]
    return {prefix + key: value for key, value in found.items()}


def inner(model: Any) -> Weights:
    # transformers 4 and 5 disagree about this prefix.
    return {key.removeprefix("text_model."): value for key, value in model.state_dict().items()}


def write_folder(folder: Path, shape: Shape, unet: Any, vae: Any, texts: list[Any]) -> None:
    unet.save_pretrained(folder / "unet")
    for number, (model, text) in enumerate(zip(texts, TEXTS[shape.family], strict=True)):
        suffix = "" if number == 0 else "_2"
        write_tokenizer(folder / f"tokenizer{suffix}", "!" if text.openclip else END)
        if shape.family is Family.SD2:  # whose folders leave out the layer that nobody uses
            model = copy.deepcopy(model)
            del getattr(model, "text_model", model).encoder.layers[-1]
            model.config.num_hidden_layers -= 1
        share(model, folder / f"text_encoder{suffix}")
    share(vae, folder / "vae")
    DDPMScheduler(**schedule(shape)).save_pretrained(folder / "scheduler")
    if shape.turbo:
        config = {
            **schedule(shape),
            "_class_name": "EulerAncestralDiscreteScheduler",
            "timestep_spacing": "trailing",
        }
        write_json(folder / "scheduler" / "scheduler_config.json", config)
    if shape.family is Family.SDXL:
        path = folder / "vae" / "config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        write_json(path, {**config, "scaling_factor": 0.13025})
    write_json(folder / "model_index.json", {})


def share(model: Any, folder: Path) -> None:
    """Saves a part once for all folders that have the same one."""
    parts = folder.parent.parent.parent / "parts"
    layers = getattr(model.config, "num_hidden_layers", 0)
    kept = parts / f"{folder.name}-{layers}-{getattr(model.config, 'hidden_size', 0)}"
    if not kept.is_dir():
        model.save_pretrained(kept)
    folder.mkdir(parents=True)
    for path in kept.iterdir():
        if path.suffix == ".json":
            shutil.copy(path, folder / path.name)
        else:
            os.link(path, folder / path.name)


def schedule(shape: Shape) -> dict[str, Any]:
    return {
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "prediction_type": shape.prediction.value,
    }


def write_tokenizer(folder: Path, pad: str) -> None:
    folder.mkdir(parents=True)
    write_json(folder / "vocab.json", clip_tokenizer(pad).get_vocab())
    (folder / "merges.txt").write_bytes(gzip.decompress(MERGES.read_bytes()))
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": pad}
    config = {**special, "tokenizer_class": "CLIPTokenizer", "model_max_length": 77}
    write_json(folder / "tokenizer_config.json", config)


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--half", action="store_true")
    given = parser.parse_intermixed_args()
    wanted = given.names or list(SHAPES)
    main(given.folder, wanted, wanted, full=given.full, half=given.half)
