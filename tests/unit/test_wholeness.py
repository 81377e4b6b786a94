"""A checkpoint that lacks weights is refused by name; ComfyUI itself would only log it."""

from __future__ import annotations

from pathlib import Path

import pytest

from comfy_nodes.errors import ModelUnreadable
from comfy_nodes.weights.wholeness import check_parts

UNET_NAMES = ["input_blocks.0.0.weight", "out.2.bias"]
VAE_NAMES = ["encoder.conv_in.weight", "decoder.conv_out.weight"]
FILE = Path("model.safetensors")


def text(prefix: str, layers: int) -> list[str]:
    ends = ("mlp.fc1.weight", "mlp.fc1.bias")
    return [f"{prefix}{number}.{end}" for number in range(layers) for end in ends]


WHOLE = [
    *(f"model.diffusion_model.{name}" for name in UNET_NAMES),
    *(f"first_stage_model.{name}" for name in VAE_NAMES),
    *text("conditioner.embedders.0.transformer.text_model.encoder.layers.", 12),
    *text("conditioner.embedders.1.model.transformer.resblocks.", 32),
    "model_ema.decay",
]


def test_a_whole_one_passes_whatever_else_is_in_it() -> None:
    check_parts(FILE, WHOLE, UNET_NAMES, VAE_NAMES)


# Without the mark of a VAE in the published names it is the host's matter, as below.
@pytest.mark.parametrize(
    "name", [name for name in WHOLE[:-1] if name != "first_stage_model.encoder.conv_in.weight"]
)
def test_each_single_weight_is_missed(name: str) -> None:
    names = [one for one in WHOLE if one != name]
    with pytest.raises(ModelUnreadable) as caught:
        check_parts(FILE, names, UNET_NAMES, VAE_NAMES)
    assert str(caught.value).startswith(f"model.safetensors is incomplete: it has no {name}.")


def test_a_whole_layer_in_between_is_missed_and_the_number_is_said() -> None:
    names = [one for one in WHOLE if ".resblocks.7." not in one]
    with pytest.raises(ModelUnreadable, match=r"resblocks\.7\.mlp\.fc1\.bias and 1 more"):
        check_parts(FILE, names, UNET_NAMES, VAE_NAMES)


def test_a_vae_in_other_names_is_the_hosts_matter() -> None:
    names = [one for one in WHOLE if not one.startswith("first_stage_model.")]
    renamed = "first_stage_model.encoder.down_blocks.0.resnets.0.conv1.weight"
    check_parts(FILE, [*names, renamed], UNET_NAMES, VAE_NAMES)
