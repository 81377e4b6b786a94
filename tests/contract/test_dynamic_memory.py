"""ComfyUI's dynamic memory: what our loaders keep of it, and when they do not.

NVIDIA cards have it by default from 0.15 on. On a CPU it is imitated; which code is the host's own
is told in dynamic_memory.py. With `-m gpu`, and so in scripts/bench-gpu, it is the real one.
"""

from __future__ import annotations

import gc
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.comfyui, pytest.mark.timeout(1200)]

HERE = Path(__file__).resolve().parent
TEXT_LAYERS = 3  # of random_models.py's narrow models
# The formats of the files: the starter model's is fp16.
STORED = {
    "file sd15-fp16": "float16",
    "file sd15-fp32": "float32",
    "file sdxl-fp16": "float16",
    "folder spriteworks-starter": "float16",
    "version sd15": "float16",
}
NAMED = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
MODELS = list(STORED)


@pytest.fixture(scope="module", params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def report(
    request: pytest.FixtureRequest,
    measured_on_comfyui: Callable[..., dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    """All of dynamic_on_comfyui.py, or a skip where this ComfyUI has no dynamic memory."""
    models = tmp_path_factory.mktemp("dynamic")
    write_models(models)
    measured = measured_on_comfyui("dynamic_on_comfyui.py", models, TEXT_LAYERS, request.param)
    for path in models.rglob("*.safetensors"):
        path.unlink()  # gigabytes
    if not measured:
        pytest.skip("this ComfyUI has no dynamic memory: 0.12 is the first")
    return measured


def write_models(folder: Path) -> None:
    """Checkpoints NAME-fp16 and NAME-fp32, and one under its published name."""
    write = runpy.run_path(str(HERE / "random_models.py"))["main"]
    (folder / "diffusers").mkdir()
    checkpoints = folder / "checkpoints"
    for half, names in ((True, ["sd15", "sdxl"]), (False, ["sd15"])):
        write(folder, names, [], full=False, half=half)
        for name in names:
            new = checkpoints / f"{name}-{'fp16' if half else 'fp32'}.safetensors"
            (checkpoints / f"{name}.safetensors").rename(new)
    published = folder / "published" / "v1-5-pruned-emaonly.safetensors"
    published.parent.mkdir()
    published.hardlink_to(checkpoints / "sd15-fp16.safetensors")
    del write
    gc.collect()


def case(report: dict[str, Any], model: str, precision: str) -> dict[str, Any]:
    found: dict[str, Any] = report["loaded"][f"{model} {precision}"]
    return found


def test_the_host_is_seen_for_what_it_is(report: dict[str, Any]) -> None:
    assert report["dynamic"] is True


@pytest.mark.parametrize("model", MODELS)
def test_auto_keeps_the_files_format_and_the_hosts_memory(
    model: str, report: dict[str, Any]
) -> None:
    found = case(report, model, "auto")
    assert found["formats"] == {part: [STORED[model]] for part in ("unet", "text", "vae")}
    assert set(found["dynamic"].values()) == {True}
    assert found["said"] == []


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("precision", [*NAMED, "fp8"])
def test_a_named_precision_is_stored_so_and_says_what_it_gives_up(
    precision: str, model: str, report: dict[str, Any]
) -> None:
    found = case(report, model, precision)
    if precision == "fp8":
        narrow, *_ = sorted(found["formats"]["unet"], key=len, reverse=True)
        assert narrow == "float8_e4m3fn"
        assert len(found["formats"]["text"]) == 1
    else:
        assert found["formats"]["unet"] == found["formats"]["text"] == [NAMED[precision]]
    assert found["formats"]["vae"] == [STORED[model]]  # whose precision stayed on auto
    assert found["dynamic"] == {"model": False, "clip": False, "vae": True}
    (said,) = found["said"]
    assert "without ComfyUI's dynamic memory" in said
    assert f"precision {precision}" in said


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("precision", ["auto", *NAMED, "fp8"])
def test_every_model_draws_in_every_precision(
    precision: str, model: str, report: dict[str, Any]
) -> None:
    found = case(report, model, precision)
    exact = case(report, model, "fp32")["drawn"]["picture"]
    picture = found["drawn"]["picture"]
    assert found["drawn"]["finite"]
    assert found["drawn"]["spread"] > 0.05
    # Of 1. Formats of 8 bits and fewer move pixels of the starter model by 0.26, most where the
    # processor multiplies in bf16 itself.
    near = 0.2 if precision in ("fp16", "fp32") else 0.4
    assert max(abs(a - b) for a, b in zip(picture, exact, strict=True)) < near
    assert found["same after"]


@pytest.mark.parametrize(
    ("setting", "model", "vae"),
    [
        ("nothing", True, True),
        ("text_encoder", True, True),
        ("int8", False, True),
        ("none", False, False),
        ("model", False, False),
        ("sequential", False, False),
        ("channels_last", False, False),
        ("vae in fp32", True, False),
        ("vae in fp16", True, False),
        ("vae in bf16", True, False),
    ],
)
def test_only_settings_that_it_cannot_have_give_it_up(
    setting: str, model: bool, vae: bool, report: dict[str, Any]
) -> None:
    found = report["settings"][setting]
    assert found["dynamic"] == {"model": model, "vae": vae}
    assert len(found["said"]) == (0 if model and vae else 1)
    assert found["drawn"]["finite"]
    if setting.startswith("vae in"):
        assert found["formats"]["vae"] == [NAMED[setting.split()[-1]]]


@pytest.mark.parametrize("whose", ["stock", "ours"])
def test_optimise_nodes_leave_what_came_in_as_it_was(whose: str, report: dict[str, Any]) -> None:
    found = report["optimized"][whose]
    assert all(way["unchanged"] for way in found["ways"].values())
    assert found["again"]


@pytest.mark.parametrize("whose", ["stock", "ours"])
def test_optimise_nodes_keep_the_hosts_memory_by_default(
    whose: str, report: dict[str, Any]
) -> None:
    found = report["optimized"][whose]["ways"]["default"]
    assert found["dynamic"] == {"model": True, "vae": True}
    assert found["own"] == {"model": False, "vae": False}
    assert found["drawn"]["finite"]


@pytest.mark.parametrize("whose", ["stock", "ours"])
def test_optimise_nodes_store_a_named_precision_in_weights_of_their_own(
    whose: str, report: dict[str, Any]
) -> None:
    found = report["optimized"][whose]["ways"]["fp32"]
    assert found["dynamic"] == {"model": False, "vae": False}
    assert found["own"] == {"model": True, "vae": True}
    assert found["formats"]["unet"] == found["formats"]["vae"] == ["float32"]
    assert found["shares"] == []
    assert found["drawn"]["finite"]


def test_what_comfyui_loads_again_has_the_settings(report: dict[str, Any]) -> None:
    wanted = {"model": True, "vae": True, "tuned": True, "tuned vae": True}
    assert report["reloaded"] == wanted


def test_a_weight_of_a_wrong_shape_is_still_found(report: dict[str, Any]) -> None:
    assert set(report["broken"]) == {"unet", "text_encoder"}
    for said in report["broken"].values():
        assert said.startswith("ModelUnreadable: ")
        assert "do not match its config.json" in said


def test_memory_is_asked_for_one_tile(report: dict[str, Any]) -> None:
    assert report["tiles"] == {"memory_used_decode": [16, 16], "memory_used_encode": [128, 128]}
