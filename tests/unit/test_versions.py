"""The table of published versions, and the names that people type for them."""

from __future__ import annotations

import pytest

from comfy_nodes.errors import ModelNotFound
from comfy_nodes.models import (
    SD2_768,
    SD2_INPAINT,
    SD15,
    SD15_INPAINT,
    SDXL,
    SDXL_INPAINT,
    SDXL_TURBO,
    VERSIONS,
    Family,
    Prediction,
    Version,
    version_named,
    version_of,
)
from comfy_nodes.profiles import profile_of_version

NAMES = {
    SD15: ["sd15", "1.5", "v1-5", "V1.5", "sd-v1-5", "sd 1.5", "stable-diffusion-v1-5"],
    SD2_768: ["sd21", "2.1", "v2-1", "sd2", "2", "stable diffusion 2.1", "SD_2_1"],
    SDXL: ["xl", "sdxl", "SDXL", "sdxl-1.0", "sdxl-base-1.0", "stable-diffusion-xl-base-1.0"],
    SDXL_TURBO: ["sdxl-turbo", "turbo", "xl-turbo", "SDXL Turbo", "sd_xl_turbo_1.0"],
    SD15_INPAINT: ["sd15-inpaint", "v1-5-inpaint", "sd-v1-5-inpainting", "1.5 inpainting"],
    SD2_INPAINT: ["sd2-inpaint", "2-inpaint", "v2-inpainting", "stable-diffusion-2-inpainting"],
    SDXL_INPAINT: ["xl-inpaint", "sdxl-inpaint", "stable-diffusion-xl-1.0-inpainting-0.1"],
}


@pytest.mark.parametrize(
    ("name", "version"), [(name, version) for version, names in NAMES.items() for name in names]
)
def test_names_that_people_type(name: str, version: Version) -> None:
    assert version_named(name) is version


@pytest.mark.parametrize("version", VERSIONS)
def test_hub_ids_old_and_new_are_names_too(version: Version) -> None:
    for name in (version.key, version.hub_id, *version.former_ids):
        assert version_named(name) is version


@pytest.mark.parametrize(
    "name",
    [
        "",
        "sd",
        "sd3",
        "inpaint",
        "2.1-base",
        "xl-turbo-inpaint",
        "1.0",
        "sd15x",
        "v1-5-2-1",
        "flux",
    ],
)
def test_what_is_none_of_them_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(ModelNotFound) as caught:
        version_named(name)
    assert all(version.key in str(caught.value) for version in VERSIONS)


def test_the_seven() -> None:
    assert [version.key for version in VERSIONS] == [
        "sd15",
        "sd21",
        "sdxl",
        "sdxl-turbo",
        "sd15-inpaint",
        "sd2-inpaint",
        "sdxl-inpaint",
    ]
    assert len({version.hub_id for version in VERSIONS}) == 7
    assert [v.key for v in VERSIONS if v.prediction is Prediction.V] == ["sd21"]
    assert [v.size for v in VERSIONS] == [512, 768, 1024, 512, 512, 512, 1024]


def test_a_folder_is_smaller_than_the_whole_file_of_the_same_version() -> None:
    for version in VERSIONS:
        assert len(version.weights) == 2 + len(version.text_encoders)
        assert 2e9 < version.folder_size < 7e9
        if version.checkpoint is not None:
            assert version.folder_size < version.checkpoint.size * 1.01
            assert version.checkpoint.name.endswith(".safetensors")


def test_only_turbo_overrules_the_workflow() -> None:
    for version in VERSIONS:
        profile = profile_of_version(version)
        assert (profile.width, profile.height) == (version.size, version.size)
        wanted = (4, 1.0) if version is SDXL_TURBO else (None, None)
        assert (profile.steps, profile.cfg) == wanted


def test_nine_channels_are_the_inpainting_version() -> None:
    for version in (SD15_INPAINT, SD2_INPAINT, SDXL_INPAINT):
        assert version_of(version.family, Prediction.EPSILON, inpainting=True) is version
    assert version_of(Family.SD1, Prediction.EPSILON) is SD15
