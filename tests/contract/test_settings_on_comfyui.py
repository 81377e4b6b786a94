"""Every setting on real ComfyUI: that it took effect, and how far it moves the starter's picture.

Distances are in PSNR over a picture of values 0..1 (dB; higher is nearer), and as the largest
difference. Lossless settings may differ by ROUNDING: a thousandth of 1, a quarter of one of 255.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

pytestmark = [pytest.mark.comfyui, pytest.mark.timeout(900)]

ROUNDING = 1e-3

Measure = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="module")
def measure(measured_on_comfyui: Callable[..., dict[str, Any]]) -> Measure:
    """Runs a part of settings_on_comfyui.py."""
    return partial(measured_on_comfyui, "settings_on_comfyui.py")


@pytest.fixture(scope="module")
def report(measure: Measure) -> dict[str, Any]:
    """All parts that the default run has, of which each computes with one thread."""
    with ThreadPoolExecutor(2) as workers:
        eager, traced = workers.map(measure, ("eager", "traced"))
    return {**eager, **traced, "untouched": [eager["untouched"], traced["untouched"]]}


def distance(moved: dict[str, Any]) -> float:
    """In dB."""
    return math.inf if moved["dB"] is None else float(moved["dB"])


@pytest.mark.parametrize(
    ("name", "computes", "stored", "nearest"),
    [
        ("auto", "float32", "float32", math.inf),
        # A CPU has no fast fp16: it is stored so, and computed in fp32. The starter's weights
        # were saved in fp16, so nothing is lost.
        ("fp16", "float32", "float16", math.inf),
        ("bf16", "bfloat16", "bfloat16", 35.0),
        ("fp8", None, "float8_e4m3fn", 20.0),
    ],
)
def test_precision(
    report: dict[str, Any], name: str, computes: str | None, stored: str, nearest: float
) -> None:
    measured = report["precision"][name]
    weights = measured["weights"]
    assert max(weights, key=weights.get) == stored
    assert distance(measured["moved"]) >= nearest
    if computes is not None:
        assert measured["computes"] == [f"torch.{computes}"]
        assert list(weights) == list(measured["text"]) == [stored]


def test_fp8_keeps_what_is_small_wide_and_takes_a_quarter_of_the_memory(
    report: dict[str, Any],
) -> None:
    narrow, exact = report["precision"]["fp8"], report["precision"]["auto"]
    assert "float8_e4m3fn" not in narrow["text"]
    assert narrow["weights"]["float8_e4m3fn"] > 0.95 * sum(narrow["weights"].values())
    assert narrow["size"] < 0.27 * exact["size"]


@pytest.mark.parametrize(
    ("name", "stored", "nearest"), [("int8", "int8", 45.0), ("fp8", "float8_e4m3fn", 30.0)]
)
def test_quantization(report: dict[str, Any], name: str, stored: str, nearest: float) -> None:
    measured = report["quantization"][name]
    assert measured["kind"] == f"torch.{stored}"
    share = measured["weights"][stored] / sum(measured["weights"].values())
    assert share > 0.25  # the linear layers; most weights of the starter are convolutions
    assert measured["size"] < (1 - 0.7 * share) * report["precision"]["auto"]["size"]
    assert distance(measured["moved"]) > nearest
    # A LoRA changes such weights too, and leaves them as they were.
    assert distance(measured["lora moves"]) < 30.0 < distance(measured["lora"])
    assert measured["again"] == measured["moved"]


@pytest.mark.parametrize(
    ("name", "stored", "nearest"),
    [("auto", "float32", math.inf), ("fp16", "float16", 60.0), ("bf16", "bfloat16", 45.0)],
)
def test_vae_precision(report: dict[str, Any], name: str, stored: str, nearest: float) -> None:
    measured = report["vae_precision"][name]
    assert list(measured["weights"]) == [stored]
    assert distance(measured["moved"]) >= nearest


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("sdpa", [[True, True]]),  # PyTorch may take its flash kernel, and any other
        ("flash", [[True, False]]),
        ("xformers", ["xformers"]),
        ("sage", ["sage HND False"]),
        ("sliced", []),  # nothing of PyTorch's
    ],
)
def test_attention(report: dict[str, Any], name: str, kinds: list[Any]) -> None:
    measured = report["attention"][name]
    assert measured["kinds"] == kinds
    assert measured["calls"] == (0 if name == "sliced" else report["attention"]["sdpa"]["calls"])
    assert measured["moved"]["largest"] < ROUNDING


def test_memory_format(report: dict[str, Any]) -> None:
    measured = report["memory_format"]
    assert measured["contiguous"]["unet"] == measured["contiguous"]["vae"] == 0.0
    assert measured["channels_last"]["unet"] == measured["channels_last"]["vae"] == 1.0
    # Its autoencoder magnifies rounding: constants of 210 go into its norms. Five of 255 at most.
    assert measured["channels_last"]["moved"]["largest"] < 0.02
    assert distance(measured["channels_last"]["moved"]) > 50.0


def test_compile(report: dict[str, Any]) -> None:
    blocks, whole = report["compile"]["blocks"], report["compile"]["whole"]
    # Blocks of one shape share a graph, and a second run compiles nothing again.
    assert 1 < blocks["graphs"][0] < blocks["blocks"]
    assert whole["graphs"][0] == 1
    for one in (blocks, whole):
        assert one["graphs"][0] == one["graphs"][1]
        assert one["breaks"] == 0
        assert one["left"] == 0  # the network is shared, and not compiled for others
        assert one["moved"]["largest"] < ROUNDING


@pytest.mark.slow
def test_compile_by_torchs_own_compiler(measure: Measure) -> None:
    for one in measure("inductor")["compile"].values():
        assert one["graphs"][0] == one["graphs"][1] > 0
        assert one["left"] == 0
        assert one["moved"]["largest"] < ROUNDING


def test_tiles_are_of_the_size_asked_for_and_only_where_needed(report: dict[str, Any]) -> None:
    measured = report["tiles"]
    # ComfyUI takes the mean of three tilings: square, wide and high.
    assert sorted(measured["decode"]) == [[8, 32, 4], [16, 16, 4], [32, 8, 4]]
    assert sorted(measured["encode"]) == [[64, 256, 32], [128, 128, 32], [256, 64, 32]]
    assert measured["small tiles"] == 0
    assert distance(measured["small"]) == math.inf
    assert distance(measured["moved"]) > 20.0


def test_slicing_takes_one_picture_at_a_time(report: dict[str, Any]) -> None:
    assert report["slicing"]["batches"] == [1] * 6
    assert report["slicing"]["moved"]["largest"] < ROUNDING


def test_sequential_offload_keeps_all_weights_away_from_the_device(report: dict[str, Any]) -> None:
    measured = report["offload"]
    assert measured["auto"]["loaded"] == ["meta"]
    sequential = measured["sequential"]
    assert sequential["loaded"] == sequential["after"] == ["cpu"]
    assert sequential["answer"] == "meta"  # it computed on the device nevertheless
    assert distance(sequential["moved"]) == math.inf


def test_kernel_switches_are_set_while_sampling_and_restored_after_an_error_too(
    report: dict[str, Any],
) -> None:
    measured = report["kernels"]
    assert measured["inside"] == [True] * 4
    assert measured["same"]
    assert measured["error"] == "ValueError: on purpose"
    assert measured["restored"]
    assert measured["moved"]["largest"] < ROUNDING


def test_products_go_to_onednn_while_the_model_samples(report: dict[str, Any]) -> None:
    measured = report["cpu_kernels"]
    # Its linear layers, and its convolutions of few pixels.
    assert measured["a_pass"] > measured["linear"]
    assert measured["outside"] == 0
    assert measured["moved"]["largest"] < ROUNDING


@pytest.mark.parametrize(
    ("way", "nearest"),
    # The decoder's norms magnify rounding, to a few of 255. And at a cut of a tile a pixel may lie
    # half way between the sprite and white, where rounding decides.
    [("decode", 60.0), ("decode in tiles", 45.0), ("encode", 100.0)],
)
def test_convolutions_go_to_nnpack_while_the_vae_works(
    report: dict[str, Any], way: str, nearest: float
) -> None:
    if not report["cpu_kernels"]["nnpack"]:
        pytest.skip("ComfyUI's PyTorch has no NNPACK")
    measured = report["cpu_kernels"]["vae"][way]
    assert measured["calls"]["plain"] == 0
    assert measured["calls"]["fast"] > 0
    assert nearest < distance(measured["moved"]) < math.inf


def test_step_cache_skips_passes_and_starts_anew_with_each_run(report: dict[str, Any]) -> None:
    careful, fast = report["step_cache"]["0.1"], report["step_cache"]["0.3"]
    assert fast["passes"][0] < careful["passes"][0] < 8
    assert distance(careful["moved"]) > 40.0
    assert distance(fast["moved"]) > 15.0
    for one in (careful, fast):
        assert one["passes"][0] == one["passes"][1]
        assert distance(one["again"]) == math.inf


def test_two_loaders_in_one_graph_do_not_disturb_each_other(report: dict[str, Any]) -> None:
    measured = report["two"]
    assert distance(measured["mine again"]) == math.inf
    assert [distance(one) for one in measured["other"]] == [math.inf, math.inf]
    assert distance(measured["apart"]) < 60.0


def test_the_process_is_as_it_was(report: dict[str, Any]) -> None:
    assert report["untouched"] == [True, True]


def test_optimize_model_leaves_the_model_that_came_in_alone(report: dict[str, Any]) -> None:
    measured = report["optimize"]
    assert measured["shares"]  # nothing about the weights was to change
    assert measured["lossless"]["largest"] < ROUNDING
    assert measured["copied"]
    assert list(measured["weights"]) == ["bfloat16"]
    assert distance(measured["lora"]) < 30.0  # it does something
    assert distance(measured["moved"]) > 25.0  # the LoRA came along
    assert measured["same before"]
    assert list(measured["original"]) == ["float32"]
    assert measured["fp8"]
    assert list(measured["back"]) == ["float32"]
    assert measured["profile"]
    assert measured["foreign"].startswith("UnsupportedModel: ")


def test_optimize_vae_leaves_the_vae_that_came_in_alone(report: dict[str, Any]) -> None:
    measured = report["optimize_vae"]
    assert measured["shares"]
    assert measured["tiling"] == ["on", "auto"]
    assert [list(one) for one in measured["weights"]] == [["bfloat16"], ["float32"]]
    assert distance(measured["moved"]) > 45.0
    assert measured["graphs"] > 0
    assert measured["compiled"]["largest"] < ROUNDING
    assert distance(measured["same before"]) == math.inf


def test_strict_refuses_and_names_the_setting(report: dict[str, Any]) -> None:
    for name, said in report["strict"].items():
        assert said.startswith("UnsupportedSetting: ")
        assert name in said


def test_what_is_replaced_is_one_line_in_the_log(report: dict[str, Any]) -> None:
    first, second = report["notes"]
    assert first.startswith("attention xformers was replaced by sdpa")
    assert second.startswith("cudnn_benchmark on was replaced by off")


def test_this_comfyui_has_every_name_that_is_listed(report: dict[str, Any]) -> None:
    assert report["gone"] == []
