import json
from pathlib import Path
from typing import Any

import pytest

from comfy_nodes.errors import ModelUnreadable, UnsupportedModel
from comfy_nodes.profiles import ModelProfile, profile_of_folder


def write(folder: Path, unet: dict[str, Any], scheduler: dict[str, Any] | None = None) -> Path:
    (folder / "unet").mkdir(parents=True)
    (folder / "unet" / "config.json").write_text(json.dumps(unet), encoding="utf-8")
    if scheduler is not None:
        (folder / "scheduler").mkdir()
        path = folder / "scheduler" / "scheduler_config.json"
        path.write_text(json.dumps(scheduler), encoding="utf-8")
    return folder


def test_the_folders_own_profile_comes_first(tmp_path: Path) -> None:
    folder = write(tmp_path, {"sample_size": 64})
    own = {"width": 128, "height": 64, "steps": 12, "cfg": 3.5, "sampler": "euler", "more": 1}
    (folder / "spriteworks.json").write_text(json.dumps(own), encoding="utf-8")
    profile = profile_of_folder(folder)
    assert profile == ModelProfile(width=128, height=64, steps=12, cfg=3.5, sampler="euler")


@pytest.mark.parametrize("content", ["{", "[]", '{"width": 64}', '{"width": 64, "height": 0}'])
def test_a_broken_profile_is_an_error_that_names_the_file(tmp_path: Path, content: str) -> None:
    folder = write(tmp_path, {})
    (folder / "spriteworks.json").write_text(content, encoding="utf-8")
    with pytest.raises(ModelUnreadable, match=r"spriteworks\.json"):
        profile_of_folder(folder)


def test_without_one_the_configs_tell(tmp_path: Path) -> None:
    assert profile_of_folder(write(tmp_path / "a", {"sample_size": 64})).width == 512
    v = write(tmp_path / "b", {"use_linear_projection": True}, {"prediction_type": "v_prediction"})
    assert profile_of_folder(v).width == 768
    assert profile_of_folder(v).steps is None


def test_turbo_wants_few_steps_and_no_guidance(tmp_path: Path) -> None:
    xl = {"addition_embed_type": "text_time", "sample_size": 64}
    scheduler = {
        "_class_name": "EulerAncestralDiscreteScheduler",
        "timestep_spacing": "trailing",
    }
    profile = profile_of_folder(write(tmp_path, xl, scheduler))
    assert (profile.width, profile.steps, profile.cfg) == (512, 4, 1.0)


def test_what_is_missing_or_foreign_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelUnreadable, match=r"unet/config\.json"):
        profile_of_folder(tmp_path)
    with pytest.raises(UnsupportedModel, match="flow"):
        profile_of_folder(write(tmp_path / "x", {}, {"prediction_type": "flow"}))
