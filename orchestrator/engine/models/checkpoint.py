"""Single-file checkpoints: which model they hold is read from the weights' own shapes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch

from comfy_nodes.errors import UnsupportedModel
from comfy_nodes.models import Family, Prediction

from .building import ON_COMFYUI, Find, Weights
from .names import UnetNames, vae_original

UNET, VAE = "model.diffusion_model.", "first_stage_model."
# Where each family keeps its text encoders.
TEXT_PREFIXES = {
    Family.SD1: ("cond_stage_model.transformer.",),
    Family.SD2: ("cond_stage_model.model.",),
    Family.SDXL: ("conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."),
}
_CLIP_TOKENS = 49408
# The heads of Stable Diffusion 1 are 8 on every level; in all others they are 64 channels wide.
_SD1_WIDTH, _SD1_HEADS, _HEAD_WIDTH = 320, 8, 64
# Stable Diffusion 2's two kinds of prediction have the same layout; this weight's spread tells
# them apart (ComfyUI's way).
_V_MARK, _V_SPREAD = f"{UNET}output_blocks.11.1.transformer_blocks.0.norm1.bias", 0.09


def checkpoint_family(weights: Weights, name: str) -> Family:
    """The family of a checkpoint. Raises UnsupportedModel, naming the file, for another model."""
    if f"{UNET}input_blocks.0.0.weight" not in weights:
        if _starts(weights, "model_ema."):
            raise UnsupportedModel(
                f"{name} has the averaged weights of training only (model_ema), under names that "
                "no loader reads: take the model's file for drawing"
            )
        raise UnsupportedModel(
            f"{name} is no Stable Diffusion checkpoint: it has no UNet of that family"
        )
    for family in (Family.SDXL, Family.SD2, Family.SD1):
        if all(_starts(weights, prefix) for prefix in TEXT_PREFIXES[family]):
            return family
    raise UnsupportedModel(
        f"{name} has no text encoder of Stable Diffusion 1.x, 2.x or XL: the refiner and UNets on "
        "their own are not supported; use the whole checkpoint"
    )


def prediction_of(
    weights: Weights, family: Family, metadata: Mapping[str, str], name: str
) -> Prediction:
    """What the UNet predicts, by ComfyUI's marks in the weights.

    `metadata` are the texts in the header of the file `name`. Raises UnsupportedModel where they
    say otherwise: such a model makes noise on ComfyUI too, unless a node says what it predicts; and
    for the noise of EDM (Karras et al. 2022, arXiv 2206.00364), of which ComfyUI knows the marks.
    """
    edm = next((mark for mark in weights if mark.startswith("edm_")), None)
    if edm is not None:
        raise UnsupportedModel(
            f"{name} was trained with the noise of EDM ({edm}), which the embedded engine does not "
            f"have. {ON_COMFYUI}"
        )
    prediction = _marked_prediction(weights, family)
    for key, value in metadata.items():
        if key.rpartition(".")[2] == "prediction_type" and _stated(value) is not prediction:
            raise UnsupportedModel(
                f"the metadata of {name} says {key}={value}, and its weights have the marks of "
                f"{prediction.value}, by which ComfyUI goes: run it on ComfyUI (--comfyui DIR or "
                "--server URL), with the node ModelSamplingDiscrete before the sampler"
            )
    return prediction


def _stated(value: str) -> Prediction | None:
    """What a word of ModelSpec's, diffusers' or kohya's means, None where it is another kind."""
    word = value.strip().casefold()
    if word in ("epsilon", "eps"):
        return Prediction.EPSILON
    return Prediction.V if word in ("v", "v_prediction", "v-prediction", "vpred") else None


def _marked_prediction(weights: Weights, family: Family) -> Prediction:
    inpainting = weights[f"{UNET}input_blocks.0.0.weight"].shape[1] != 4
    if family is Family.SDXL:
        return Prediction.V if "v_pred" in weights else Prediction.EPSILON
    mark = weights.get(_V_MARK)
    if family is Family.SD2 and mark is not None and not inpainting:
        spread = float(torch.std(mark.float(), unbiased=False))
        return Prediction.V if spread > _V_SPREAD else Prediction.EPSILON
    return Prediction.EPSILON


def unet_config(weights: Weights, name: str) -> dict[str, Any]:
    """The diffusers config of a checkpoint's UNet. Raises UnsupportedModel."""
    first = weights[f"{UNET}input_blocks.0.0.weight"]
    widths, layers, depths = _levels(weights)
    middle = _depth(weights, f"{UNET}middle_block.1.")
    if middle == 0 or (depths[-1] not in (0, middle)):
        raise UnsupportedModel(f"the UNet in {name} has a middle block that is not supported")
    attends = [depth > 0 for depth in depths]
    inner = _first_key(weights, rf"{re.escape(UNET)}input_blocks\.\d+\.1\.")
    linear = weights[f"{inner}proj_in.weight"].ndim == 2
    config: dict[str, Any] = {
        "in_channels": first.shape[1],
        "out_channels": weights[f"{UNET}out.2.weight"].shape[0],
        "block_out_channels": widths,
        "layers_per_block": layers,
        "down_block_types": ["CrossAttnDownBlock2D" if a else "DownBlock2D" for a in attends],
        "up_block_types": ["CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attends)],
        # Of a level without attention the number is the middle block's, or has no meaning.
        "transformer_layers_per_block": [*(max(1, depth) for depth in depths[:-1]), middle],
        "cross_attention_dim": weights[f"{inner}transformer_blocks.0.attn2.to_k.weight"].shape[1],
        "use_linear_projection": linear,
        "attention_head_dim": _heads(widths, linear),
    }
    added = weights.get(f"{UNET}label_emb.0.0.weight")
    if added is not None:
        config |= {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": added.shape[1],
        }
    return config


def _levels(weights: Weights) -> tuple[list[int], list[int], list[int]]:
    """Width, residual blocks and transformer depth of each level of the UNet, from the top."""
    widths, layers, depths = [], [0], [0]
    row = 1
    while True:
        block = f"{UNET}input_blocks.{row}."
        convolution = weights.get(f"{block}0.in_layers.2.weight")
        if convolution is not None:
            layers[-1] += 1
            depths[-1] = _depth(weights, f"{block}1.")
            width = convolution.shape[0]
        elif f"{block}0.op.weight" in weights:
            widths.append(width)
            layers.append(0)
            depths.append(0)
        else:
            return [*widths, width], layers, depths
        row += 1


def _heads(widths: list[int], linear: bool) -> list[int]:
    if widths[0] == _SD1_WIDTH and not linear:
        return [_SD1_HEADS] * len(widths)
    return [max(1, width // _HEAD_WIDTH) for width in widths]


def vae_config(weights: Weights, name: str) -> dict[str, Any]:
    """The diffusers config of a checkpoint's VAE. Raises UnsupportedModel where there is none."""
    levels = _count(weights, f"{VAE}encoder.down.", ".block.0.conv2.weight")
    if levels == 0:
        raise UnsupportedModel(f"{name} has no VAE: use the whole checkpoint.")
    widths = [
        weights[f"{VAE}encoder.down.{i}.block.0.conv2.weight"].shape[0] for i in range(levels)
    ]
    return {
        "in_channels": 3,
        "out_channels": 3,
        "block_out_channels": widths,
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "layers_per_block": _count(weights, f"{VAE}encoder.down.0.block.", ".conv2.weight"),
        "latent_channels": weights[f"{VAE}decoder.conv_in.weight"].shape[1],
    }


def text_config(weights: Weights, prefix: str, name: str) -> dict[str, Any]:
    """The transformers config of the text encoder at `prefix`. Raises UnsupportedModel."""
    find = find_text(weights, prefix)
    tokens, positions = (
        find(f"text_model.embeddings.{kind}_embedding.weight") for kind in ("token", "position")
    )
    inner = find("text_model.encoder.layers.0.mlp.fc1.weight")
    if tokens is None or positions is None or inner is None:
        raise UnsupportedModel(f"the text encoder in {name} is none of Stable Diffusion's")
    if tokens.shape[0] != _CLIP_TOKENS:
        raise UnsupportedModel(
            f"the text encoder in {name} has {tokens.shape[0]} tokens of its own, and a checkpoint "
            "does not say which; use the model's diffusers folder"
        )
    openclip = prefix.endswith(".model.")
    projects = find("text_projection.weight") is not None
    return {
        "architectures": ["CLIPTextModelWithProjection" if projects else "CLIPTextModel"],
        "hidden_size": tokens.shape[1],
        "intermediate_size": inner.shape[0],
        "num_hidden_layers": _text_layers(weights, prefix),
        "num_attention_heads": max(1, tokens.shape[1] // _HEAD_WIDTH),
        "max_position_embeddings": positions.shape[0],
        "projection_dim": tokens.shape[1],
        "vocab_size": _CLIP_TOKENS,
        "hidden_act": "gelu" if openclip else "quick_gelu",
        "bos_token_id": _CLIP_TOKENS - 2,
        "eos_token_id": _CLIP_TOKENS - 1,
    }


def _text_layers(weights: Weights, prefix: str) -> int:
    if prefix.endswith(".model."):
        return _count(weights, f"{prefix}transformer.resblocks.", ".ln_1.weight")
    inner = "text_model." if _starts(weights, f"{prefix}text_model.") else ""
    return _count(weights, f"{prefix}{inner}encoder.layers.", ".layer_norm1.weight")


def find_unet(weights: Weights, config: Mapping[str, Any]) -> Find:
    """Finds a UNet's weights by diffusers' names."""
    names = UnetNames(config)
    return lambda name: weights.get(UNET + names.original(name))


def find_vae(weights: Weights, config: Mapping[str, Any]) -> Find:
    """Finds a VAE's weights by diffusers' names."""
    levels = len(config["block_out_channels"])
    return lambda name: weights.get(VAE + vae_original(name, levels))


def find_text(weights: Weights, prefix: str) -> Find:
    """Finds a text encoder's weights by transformers' names, whichever format holds them."""
    if prefix.endswith(".model."):
        return lambda name: _from_openclip(weights, prefix, name)

    def find(name: str) -> torch.Tensor | None:
        # Some files leave the `text_model.` out.
        return weights.get(prefix + name, weights.get(prefix + name.removeprefix("text_model.")))

    return find


# Modules of OpenCLIP's text encoder by transformers' names, without `text_model.`.
_OPENCLIP = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}
_OPENCLIP_LAYER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}


def _from_openclip(weights: Weights, prefix: str, name: str) -> torch.Tensor | None:
    name = name.removeprefix("text_model.")
    if name == "text_projection.weight":
        projection = weights.get(f"{prefix}text_projection")
        # OpenCLIP multiplies from the other side.
        return None if projection is None else projection.T.contiguous()
    if name in _OPENCLIP:
        return weights.get(prefix + _OPENCLIP[name])
    match = re.fullmatch(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)", name)
    if match is None:
        return None
    layer, module, kind = f"{prefix}transformer.resblocks.{match[1]}.", match[2], match[3]
    if module in _OPENCLIP_LAYER:
        return weights.get(f"{layer}{_OPENCLIP_LAYER[module]}.{kind}")
    # Query, key and value lie in one matrix.
    joined = weights.get(f"{layer}attn.in_proj_{kind}")
    place = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj").index(module)
    return None if joined is None else joined.chunk(3)[place]


def _starts(weights: Weights, prefix: str) -> bool:
    return any(key.startswith(prefix) for key in weights)


def _first_key(weights: Weights, pattern: str) -> str:
    return min(match[0] for key in weights if (match := re.match(pattern, key)))


def _count(weights: Weights, start: str, end: str) -> int:
    count = 0
    while f"{start}{count}{end}" in weights:
        count += 1
    return count


def _depth(weights: Weights, prefix: str) -> int:
    return _count(weights, f"{prefix}transformer_blocks.", ".norm1.weight")
