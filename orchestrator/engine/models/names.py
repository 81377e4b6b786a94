"""What the weights of a UNet and a VAE are called: diffusers' names and the original ones.

Checkpoint files of one piece, and most LoRAs for SDXL, use the names of the code that Stable
Diffusion was published with (`input_blocks.4.1...`), which number the blocks in one row.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# Module names inside a residual block, diffusers' to original.
_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}

_VAE_PARTS = {
    ".resnets.": ".block.",
    ".downsamplers.0.": ".downsample.",
    ".upsamplers.0.": ".upsample.",
    ".conv_shortcut.": ".nin_shortcut.",
    ".conv_norm_out.": ".norm_out.",
    ".group_norm.": ".norm.",
    ".to_q.": ".q.",
    ".to_k.": ".k.",
    ".to_v.": ".v.",
    ".to_out.0.": ".proj_out.",
}


def unet_blocks(config: Mapping[str, Any]) -> dict[str, str]:
    """Prefixes of a UNet's blocks, diffusers' to original: `down_blocks.0.resnets.0` and so on."""
    down, up = config["down_block_types"], config["up_block_types"]
    layers = layers_by_level(config)
    found = {
        "mid_block.resnets.0": "middle_block.0",
        "mid_block.attentions.0": "middle_block.1",
        "mid_block.resnets.1": "middle_block.2",
    }
    row = 1
    for level, kind in enumerate(down):
        for layer in range(layers[level]):
            found |= _layer(f"down_blocks.{level}", layer, f"input_blocks.{row}", kind)
            row += 1
        if level < len(down) - 1:
            found[f"down_blocks.{level}.downsamplers.0.conv"] = f"input_blocks.{row}.0.op"
            row += 1
    row = 0
    for level, kind in enumerate(up):
        count = layers[len(up) - 1 - level] + 1
        for layer in range(count):
            found |= _layer(f"up_blocks.{level}", layer, f"output_blocks.{row}", kind)
            if layer == count - 1 and level < len(up) - 1:
                place = 2 if kind.startswith("CrossAttn") else 1
                found[f"up_blocks.{level}.upsamplers.0.conv"] = f"output_blocks.{row}.{place}.conv"
            row += 1
    return found


def _layer(block: str, layer: int, original: str, kind: str) -> dict[str, str]:
    found = {f"{block}.resnets.{layer}": f"{original}.0"}
    if kind.startswith("CrossAttn"):
        found[f"{block}.attentions.{layer}"] = f"{original}.1"
    return found


def layers_by_level(config: Mapping[str, Any]) -> list[int]:
    """Residual blocks of each level on the way down."""
    given = config.get("layers_per_block", 2)
    return [given] * len(config["down_block_types"]) if isinstance(given, int) else list(given)


class UnetNames:
    """Finds the original name of any weight of one UNet."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._blocks = unet_blocks(config)

    def original(self, name: str) -> str:
        """`down_blocks.0.resnets.0.conv1.weight` -> `input_blocks.1.0.in_layers.2.weight`."""
        module, _, kind = name.rpartition(".")
        if module in _ENDS:
            return f"{_ENDS[module]}.{kind}"
        if module in self._blocks:
            return f"{self._blocks[module]}.{kind}"
        block, rest = self._split(module)
        inner = _RESNET[rest] if ".resnets." in block else rest
        return f"{self._blocks[block]}.{inner}.{kind}"

    def _split(self, module: str) -> tuple[str, str]:
        """The block that a module is in, and its name in there."""
        match = re.match(r"(.*?\.(?:resnets|attentions)\.\d+)\.(.*)", module)
        if match is None:
            raise KeyError(module)
        return match[1], match[2]


def vae_original(name: str, levels: int) -> str:
    """Original name of a VAE weight.

    `decoder.up_blocks.0...` is `decoder.up.3...`: the original counts levels from the picture.
    """
    name = re.sub(
        r"decoder\.up_blocks\.(\d+)\.", lambda m: f"decoder.up.{levels - 1 - int(m[1])}.", name
    )
    name = re.sub(r"encoder\.down_blocks\.(\d+)\.", r"encoder.down.\1.", name)
    name = re.sub(r"mid_block\.resnets\.(\d)\.", lambda m: f"mid.block_{int(m[1]) + 1}.", name)
    name = re.sub(r"mid_block\.attentions\.0\.", "mid.attn_1.", name)
    for ours, theirs in _VAE_PARTS.items():
        name = name.replace(ours, theirs)
    return name
