"""A diffusers AutoencoderKL as ComfyUI's VAE."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import comfy.sd
import torch

from ..errors import UnsupportedModel
from ..weights.files import Weights
from .loaded_weights import mismatch
from .ratio import multipliers

_BUILT_IN: Mapping[str, tuple[Any, ...]] = {
    "norm_num_groups": (32,),
    "act_fn": ("silu",),
    "in_channels": (3,),
    "out_channels": (3,),
    "latent_channels": (4,),
    "mid_block_add_attention": (True,),
    "use_quant_conv": (True,),
    "use_post_quant_conv": (True,),
    "shift_factor": (None,),
    "latents_mean": (None,),
    "latents_std": (None,),
}
_LEVELS = 4  # three halvings: one latent pixel is 8x8 picture pixels

# diffusers' names -> ComfyUI's; a level's number is counted from the other end in the decoder.
_RENAMES = (
    (r"mid_block\.resnets\.0\.", "mid.block_1."),
    (r"mid_block\.resnets\.1\.", "mid.block_2."),
    (r"mid_block\.attentions\.0\.group_norm\.", "mid.attn_1.norm."),
    (r"mid_block\.attentions\.0\.(?:to_q|query)\.", "mid.attn_1.q."),
    (r"mid_block\.attentions\.0\.(?:to_k|key)\.", "mid.attn_1.k."),
    (r"mid_block\.attentions\.0\.(?:to_v|value)\.", "mid.attn_1.v."),
    (r"mid_block\.attentions\.0\.(?:to_out\.0|proj_attn)\.", "mid.attn_1.proj_out."),
    (r"\.conv_shortcut\.", ".nin_shortcut."),
    (r"\.conv_norm_out\.", ".norm_out."),
    (r"^encoder\.down_blocks\.(\d+)\.resnets\.", r"encoder.down.\1.block."),
    (r"^encoder\.down_blocks\.(\d+)\.downsamplers\.0\.", r"encoder.down.\1.downsample."),
)
_UP = re.compile(r"^decoder\.up_blocks\.(\d+)\.(resnets|upsamplers\.0)\.")


def build_vae(config: Mapping[str, Any], weights: Weights, dtype: torch.dtype | None) -> Any:
    """ComfyUI's VAE with the weights of a diffusers AutoencoderKL; None: the host's dtype."""
    _check_built_in(config)
    channels = list(config["block_out_channels"])
    layout = {
        "double_z": True,
        "z_channels": 4,
        "resolution": config.get("sample_size", 256),
        "in_channels": 3,
        "out_ch": 3,
        "ch": channels[0],
        "ch_mult": multipliers(channels),
        "num_res_blocks": config.get("layers_per_block", 1),
        "attn_resolutions": [],
        "dropout": 0.0,
    }
    renamed = rename(weights)
    try:
        vae = comfy.sd.VAE(
            sd=renamed, config={"params": {"ddconfig": layout, "embed_dim": 4}}, dtype=dtype
        )
    except RuntimeError as error:
        raise mismatch("VAE", str(error)) from error
    wanted = set(vae.first_stage_model.state_dict())
    if wanted != set(renamed):  # the host only logs this
        raise mismatch("VAE", f"{sorted(wanted ^ set(renamed))[0]} is missing or has no place")
    return vae


def rename(weights: Weights) -> Weights:
    """The weights under ComfyUI's names, attention as the 1x1 convolutions it has there."""
    renamed = {}
    for key, tensor in weights.items():
        name = _renamed(key)
        if ".mid.attn_1." in name and ".norm." not in name and tensor.ndim == 2:
            tensor = tensor[:, :, None, None]
        renamed[name] = tensor
    return renamed


def _renamed(key: str) -> str:
    level = _UP.match(key)
    if level:
        part = "block" if level[2] == "resnets" else "upsample"
        key = f"decoder.up.{_LEVELS - 1 - int(level[1])}.{part}.{key[level.end() :]}"
    for pattern, replacement in _RENAMES:
        key = re.sub(pattern, replacement, key)
    return key


def _check_built_in(config: Mapping[str, Any]) -> None:
    for key, allowed in _BUILT_IN.items():
        if key in config and config[key] not in allowed:
            raise UnsupportedModel(
                f"The VAE has {key} {config[key]!r}; ComfyUI's VAE can only be {allowed[0]!r}."
            )
    if len(config["block_out_channels"]) != _LEVELS:
        raise UnsupportedModel(
            f"The VAE has {len(config['block_out_channels'])} levels; supported are {_LEVELS}, "
            "which make one latent pixel of 8x8 picture pixels."
        )
