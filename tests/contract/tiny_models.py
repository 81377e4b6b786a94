"""Writes tiny random diffusers folders, and what diffusers itself computes with each.

A script, as the models are made in the project's environment and loaded in ComfyUI's:
    python tests/contract/tiny_models.py FOLDER

FOLDER/NAME is a diffusers folder, FOLDER/NAME.reference.safetensors holds the inputs and outputs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
)

TEXTS = ["a red potion", ""]
ALPHABET = "abcdefghijklmnopqrstuvwxyz,."
START, END = "<|startoftext|>", "<|endoftext|>"

ATTENDING = ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D")
ATTENDING_UP = ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D")


def main(out: Path) -> None:
    torch.set_num_threads(1)  # tiny layers
    torch.manual_seed(1)
    # As the starter model: heads of 64 channels, one text encoder with a vocabulary of its own.
    write(
        out / "tiny-sd1",
        {"block_out_channels": (64, 128), "attention_head_dim": (1, 2)},
        {"beta_schedule": "scaled_linear", "prediction_type": "epsilon"},
        [text_config(64, "quick_gelu")],
        half=True,
    )
    # Another width on each level that is no multiple of the first, another depth, v prediction.
    write(
        out / "tiny-sd2",
        {
            "block_out_channels": (64, 96),
            "attention_head_dim": (2, 3),
            "layers_per_block": 1,
            "transformer_layers_per_block": (1, 2),
            "use_linear_projection": True,
        },
        {"beta_schedule": "scaled_linear", "prediction_type": "v_prediction"},
        [text_config(64, "gelu")],
        half=False,
    )
    write(
        out / "tiny-sdxl",
        {
            "block_out_channels": (32, 64),
            "attention_head_dim": (1, 2),
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
            "transformer_layers_per_block": (1, 2),
            "use_linear_projection": True,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 32,
            "projection_class_embeddings_input_dim": 6 * 32 + 48,
        },
        {"beta_schedule": "scaled_linear", "prediction_type": "epsilon"},
        [text_config(32, "quick_gelu"), text_config(48, "gelu")],
        half=False,
    )


def write(
    folder: Path,
    unet_options: dict[str, Any],
    scheduler_options: dict[str, Any],
    texts: list[CLIPTextConfig],
    *,
    half: bool,
) -> None:
    width = sum(config.hidden_size for config in texts)
    layers = unet_options.pop("layers_per_block", 2)
    unet = UNet2DConditionModel(
        sample_size=8,
        cross_attention_dim=width,
        layers_per_block=layers,
        **{"down_block_types": ATTENDING, "up_block_types": ATTENDING_UP, **unet_options},
    )
    vae = AutoencoderKL(
        block_out_channels=(32, 64, 64, 64),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        sample_size=64,
        scaling_factor=0.7,
    )
    kinds = [CLIPTextModel, CLIPTextModelWithProjection]
    encoders = [kind(config) for kind, config in zip(kinds, texts, strict=False)]
    scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, **scheduler_options)
    dtype = torch.float16 if half else torch.float32
    unet.to(dtype).save_pretrained(folder / "unet")
    vae.to(dtype).save_pretrained(folder / "vae")
    scheduler.save_pretrained(folder / "scheduler")
    for number, encoder in enumerate(encoders):
        suffix = "" if number == 0 else "_2"
        encoder.to(dtype).save_pretrained(folder / f"text_encoder{suffix}")
        write_tokenizer(folder / f"tokenizer{suffix}", pad=END if number == 0 else "a")
    (folder / "model_index.json").write_text("{}", encoding="utf-8")
    reference = compute(folder, unet.float(), vae.float(), [e.float() for e in encoders])
    save_file(reference, folder.parent / f"{folder.name}.reference.safetensors")


def text_config(width: int, activation: str) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=2 * len(ALPHABET) + 2,
        hidden_size=width,
        intermediate_size=2 * width,
        projection_dim=width,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=77,
        hidden_act=activation,
        bos_token_id=2 * len(ALPHABET),
        eos_token_id=2 * len(ALPHABET) + 1,
        pad_token_id=2 * len(ALPHABET) + 1,
    )


def write_tokenizer(folder: Path, *, pad: str) -> None:
    folder.mkdir(parents=True)
    tokens = [*ALPHABET, *(f"{letter}</w>" for letter in ALPHABET), START, END]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": pad}
    config = {**special, "tokenizer_class": "CLIPTokenizer", "model_max_length": 77}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


@torch.no_grad()
def compute(
    folder: Path, unet: UNet2DConditionModel, vae: AutoencoderKL, encoders: list[Any]
) -> dict[str, torch.Tensor]:
    """Text encoding as diffusers' pipelines do it, one UNet pass, and the VAE both ways."""
    hidden, pooled = [], None
    for number, encoder in enumerate(encoders):
        suffix = "" if number == 0 else "_2"
        tokenizer = CLIPTokenizer.from_pretrained(folder / f"tokenizer{suffix}")
        ids = tokenizer(TEXTS, padding="max_length", max_length=77, return_tensors="pt").input_ids
        output = encoder(ids, output_hidden_states=True)
        hidden.append(output.last_hidden_state if len(encoders) == 1 else output.hidden_states[-2])
        if number == 1:
            pooled = output.text_embeds
    context = torch.cat(hidden, dim=-1)
    latent = torch.randn(2, 4, 8, 8)
    timestep = torch.tensor([801.0, 801.0])
    added = None
    result = {"context": context, "latent": latent, "timestep": timestep}
    if pooled is not None:
        sizes = torch.tensor([[64.0, 64.0, 0.0, 0.0, 64.0, 64.0]] * 2)
        added = {"text_embeds": pooled, "time_ids": sizes}
        result |= {"pooled": pooled}
    result["unet"] = unet(latent, timestep, context, added_cond_kwargs=added).sample
    picture = torch.rand(2, 3, 64, 64)
    result["picture"] = picture.movedim(1, -1).contiguous()
    result["encoded"] = vae.encode(picture * 2 - 1).latent_dist.mode().contiguous()
    decoded = (vae.decode(latent).sample / 2 + 0.5).clamp(0, 1)
    result["decoded"] = decoded.movedim(1, -1).contiguous()
    return result


if __name__ == "__main__":
    main(Path(sys.argv[1]))
