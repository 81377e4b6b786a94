import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from comfy_nodes.models import (
    SD2_768,
    SD2_BASE,
    SD15,
    SDXL,
    SDXL_TURBO,
    VERSIONS,
    Family,
    Prediction,
    family_of,
    version_of,
)
from comfy_nodes.settings import LoaderSettings, Offload, Precision


def test_settings_default_to_auto_and_come_from_the_words_of_a_node() -> None:
    settings = LoaderSettings.model_validate({"precision": "bf16", "offload": "model"})
    assert settings.precision is Precision.BF16
    assert settings.offload is Offload.MODEL
    assert LoaderSettings() == LoaderSettings(
        precision="auto", attention="auto", vae_tiling="auto", offload="auto"
    )


def test_settings_are_frozen_and_can_be_a_key() -> None:
    settings = LoaderSettings()
    with pytest.raises(ValidationError):
        settings.precision = Precision.FP16  # type: ignore[misc]
    assert len({settings, LoaderSettings()}) == 1


@pytest.mark.parametrize("wrong", [{"precision": "fp4"}, {"tiling": "on"}, {"vae_tile": 100}])
def test_unknown_settings_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        LoaderSettings.model_validate(wrong)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"precision": "fp8", "quantization": "int8"}, ["precision", "quantization"]),
        ({"vae_tile": 256, "vae_overlap": 128}, ["vae_overlap", "vae_tile"]),
        ({"compile": "blocks", "offload": "sequential"}, ["compile", "offload"]),
    ],
)
def test_contradictions_are_refused_by_name(wrong: dict[str, object], named: list[str]) -> None:
    with pytest.raises(ValidationError) as caught:
        LoaderSettings.model_validate(wrong)
    assert all(name in str(caught.value) for name in named)


def test_every_version_is_found_by_what_it_is() -> None:
    assert version_of(Family.SD1, Prediction.EPSILON) is SD15
    assert version_of(Family.SD2, Prediction.EPSILON) is SD2_BASE
    assert version_of(Family.SD2, Prediction.V) is SD2_768
    assert version_of(Family.SDXL, Prediction.EPSILON) is SDXL
    assert version_of(Family.SDXL, Prediction.EPSILON, turbo=True) is SDXL_TURBO
    assert len({version.hub_id for version in VERSIONS}) == len(VERSIONS)
    for version in VERSIONS:
        assert version.size % 64 == 0
        assert dataclasses.is_dataclass(version)


def test_the_family_shows_in_the_layout_not_in_the_width() -> None:
    assert family_of({"cross_attention_dim": 128}) is Family.SD1
    assert family_of({"use_linear_projection": True, "cross_attention_dim": 64}) is Family.SD2
    xl = {"use_linear_projection": True, "addition_embed_type": "text_time"}
    assert family_of(xl) is Family.SDXL


def test_the_light_modules_need_neither_torch_nor_comfyui(repository: Path) -> None:
    code = (
        "import sys, comfy_nodes, comfy_nodes.settings, comfy_nodes.models, comfy_nodes.profiles,"
        " comfy_nodes.folders\n"
        "assert not {'torch', 'comfy', 'comfy_api', 'diffusers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=repository, check=True)
