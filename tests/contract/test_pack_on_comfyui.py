"""The node pack on real ComfyUI: its objects, its server, its canvas help."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image

from comfy_nodes.ops.cutout import CutoutOptions, Outline, cut_out
from orchestrator.client.client import Client
from orchestrator.local.process import ServerProcess
from orchestrator.protocol import files_of

pytestmark = [pytest.mark.comfyui, pytest.mark.timeout(600)]

NODES = {
    "SpriteworksCheckpointLoader",
    "SpriteworksDiffusersLoader",
    "SpriteworksStableDiffusionLoader",
    "SpriteworksModelDefaults",
    "SpriteworksOptimizeModel",
    "SpriteworksOptimizeVAE",
    "SpriteworksSeedBatch",
    "SpriteworksSnap",
    "SpriteworksPixelize",
    "SpriteworksPalette",
    "SpriteworksSwapRamp",
    "SpriteworksCutout",
    "SpriteworksCloseSeams",
    "SpriteworksSliceSheet",
    "SpriteworksAlignFrames",
    "SpriteworksQuality",
    "SpriteworksSaveSprite",
    "SpriteworksSpriteSheet",
    "SpriteworksSaveSheet",
    "SpriteworksInpaintCrop",
    "SpriteworksInpaintStitch",
    "SpriteworksMask",
    "SpriteworksMemoryReport",
}


@pytest.fixture(scope="module")
def report(
    measured_on_comfyui: Callable[..., dict[str, Any]],
    tiny_models: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    """What pack_on_comfyui.py measured."""
    models = tmp_path_factory.mktemp("pack") / "models"
    shutil.copytree(tiny_models, models)  # the script changes them
    return measured_on_comfyui("pack_on_comfyui.py", models)


@pytest.mark.parametrize("name", ["tiny-sd1", "tiny-sd2", "tiny-sdxl"])
def test_a_folder_computes_what_diffusers_computes(report: dict[str, Any], name: str) -> None:
    measured = report["agreement"][name]
    for key in {"text", "pooled", "unet", "stock_attention", "decoded", "encoded"} & set(measured):
        assert measured[key] < 2e-5, key
    assert measured["profile"] == [64, 64]
    assert measured["type"] == ("V_PREDICTION" if name == "tiny-sd2" else "EPS")


def test_precision_is_that_of_the_parts(report: dict[str, Any]) -> None:
    measured = report["precision"]
    parts = {name: [m["unet"], m["text"], m["vae"]] for name, m in measured.items()}
    assert parts == {
        "auto": ["torch.float32"] * 3,
        "fp32": ["torch.float32"] * 3,
        "fp16": ["torch.float16", "torch.float16", "torch.float32"],
        "bf16": ["torch.bfloat16", "torch.bfloat16", "torch.float32"],
    }
    assert measured["bf16"]["computes"] == "torch.bfloat16"
    assert measured["auto"]["difference"] == measured["fp32"]["difference"] == 0.0
    assert measured["bf16"]["decodes"] < 1e-5


def test_attention_is_computed_as_chosen(report: dict[str, Any]) -> None:
    measured = report["attention"]
    assert measured["auto"]["used"] == measured["sdpa"]["used"] == ["attention_pytorch"]
    assert measured["sliced"]["used"] == ["sliced"]
    assert all(one["difference"] < 2e-5 for one in measured.values())


def test_tiling_is_that_one_vaes(report: dict[str, Any]) -> None:
    measured = report["tiling"]
    assert [measured[name]["tiles"] for name in ("auto", "on", "off")] == [0, 3, 0]
    for name, one in measured.items():
        assert one["other"] == 0
        assert one["asked"] == 3
        # Random weights draw a seam at every tile; a trained model's are in test_settings_effect.
        assert (one["decoded"] < 1e-5) == (name != "on")
        assert (one["encoded"] < 1e-5) == (name != "on")
    assert measured["auto"]["short"] == ["no error", 3]
    said, tiles = measured["off"]["short"]
    assert said.startswith("OutOfMemory: ")
    assert tiles == 0


def test_offload_gives_memory_back_after_use(report: dict[str, Any]) -> None:
    measured = report["offload"]
    assert measured["model"]["held"] == []
    assert measured["auto"]["held"] == measured["none"]["held"] == ["text", "unet", "vae"]
    assert measured["none"]["stays"]
    assert measured["text_encoder"]["text_device"] == "cpu"
    assert len({one["sum"] for one in measured.values()}) == 1


def test_settings_leave_the_process_alone(report: dict[str, Any]) -> None:
    assert report["untouched"]


@pytest.mark.parametrize("sampler", ["euler", "euler_ancestral", "dpmpp_2m_sde"])
def test_picture_i_of_a_batch_is_the_single_run_with_its_seed(
    report: dict[str, Any], sampler: str
) -> None:
    assert report["seeds"][sampler] <= 1.0
    assert report["seeds"]["spread"] > 10.0


def test_after_the_last_seed_comes_the_first(report: dict[str, Any]) -> None:
    assert report["seeds"]["after the last"] < 1e-3


def test_seeds_hold_under_a_mask_and_in_a_second_pass(report: dict[str, Any]) -> None:
    assert report["seeds"]["inpaint"] < 1e-3
    assert report["seeds"]["without_noise"] < 1e-5


def test_the_hosts_lora_loader_finds_the_layers(report: dict[str, Any]) -> None:
    measured = report["lora"]
    assert measured["patched"] == [1, 1]
    assert measured["changes"] > 0.0
    assert measured["restored"] == 0.0


def test_a_checkpoint_takes_the_settings_too(report: dict[str, Any]) -> None:
    measured = report["checkpoint"]
    assert measured["profile"] == [512, None]
    assert measured["unet"] == "torch.bfloat16"
    assert measured["vae"] == ["TunedVAE", "torch.float32"]
    assert measured["override"]
    assert measured["remembered"]
    assert measured["default"] == ["torch.float32", "torch.float32"]


def test_bad_models_are_said_in_a_sentence(report: dict[str, Any]) -> None:
    said = report["errors"]
    assert said["cut"].startswith("ModelUnreadable: ")
    assert "cut short" in said["cut"]
    assert said["foreign"].startswith("UnsupportedModel: foreign.safetensors is not")
    assert "unet/config.json" in said["no folder"]
    assert "norm_num_groups 16" in said["groups"]
    assert said["width"].startswith("UnsupportedModel: ")
    assert said["depth"].startswith("ModelUnreadable: ")


def test_a_clone_among_the_custom_nodes_is_loaded(report: dict[str, Any]) -> None:
    assert report["clone"] == {"loaded": True, "nodes": sorted(NODES), "web": "comfy_nodes/web"}


@dataclass(frozen=True)
class Server:
    """A running ComfyUI with the pack."""

    process: ServerProcess
    client: Client

    def get(self, path: str) -> str:
        answer = requests.get(self.process.url + path, timeout=60)
        answer.raise_for_status()
        answer.encoding = "utf-8"
        return answer.text

    def json(self, path: str) -> Any:
        return json.loads(self.get(path))

    @property
    def output(self) -> Path:
        """The folder of its pictures."""
        arguments = self.json("/system_stats")["system"]["argv"]
        return Path(arguments[arguments.index("--output-directory") + 1])


@pytest.fixture(scope="module")
def server(comfyui: ServerProcess, supplies: Any, tiny_models: Path) -> Iterator[Server]:
    shutil.copytree(tiny_models / "tiny-sd1", supplies.models / "diffusers" / "tiny-sd1")
    with Client(comfyui.url) as client:
        yield Server(comfyui, client)


def test_the_pack_loads_without_a_complaint(server: Server) -> None:
    log = server.process.log()
    assert "IMPORT FAILED" not in log
    assert "Cannot import" not in log
    assert "comfy_entrypoint" not in log
    info = server.json("/object_info")
    ours = {
        name: node for name, node in info.items() if node["category"].startswith("Spriteworks/")
    }
    assert set(ours) == NODES
    titles = Counter(node["display_name"] or name for name, node in info.items())
    assert {
        node["display_name"] for node in ours.values() if titles[node["display_name"]] > 1
    } == set()
    assert "tiny-sd1" in options_of(info["SpriteworksDiffusersLoader"], "model_name")


def options_of(node: dict[str, Any], name: str) -> list[str]:
    options: list[str] = node["input"]["required"][name][1]["options"]
    return options


def test_every_input_says_what_it_is_and_has_a_range(server: Server) -> None:
    for name in NODES:
        node = server.json(f"/object_info/{name}")[name]
        inputs = {**node["input"]["required"], **node["input"].get("optional", {})}
        for key, (kind, options) in inputs.items():
            assert options["tooltip"], f"{name}.{key}"
            if kind in ("INT", "FLOAT"):
                assert options["min"] <= options["default"] <= options["max"], f"{name}.{key}"
        assert all(node["output_tooltips"]), name


def test_every_node_has_a_help_page_that_names_its_inputs_and_outputs(server: Server) -> None:
    for name in NODES:
        node = server.json(f"/object_info/{name}")[name]
        page = server.get(f"/extensions/spriteworks/docs/{name}.md")
        assert page.startswith(f"# {node['display_name']}\n")
        inputs = {**node["input"]["required"], **node["input"].get("optional", {})}
        for key in [*inputs, *node["output_name"]]:
            assert f"**{key}**" in page, f"{name}: {key}"


def test_a_batch_of_sprites_runs_from_prompt_to_file(server: Server) -> None:
    extra = {"extra_pnginfo": {"workflow": {"note": "canvas"}}}
    job = server.client.submit(batch_graph(), extra_data=extra)
    images = [file for _, file in files_of(server.client.wait(job.prompt_id, timeout=240).outputs)]
    assert [image.filename for image in images] == ["test_00001_.png", "test_00002_.png"]
    for image in images:
        assert (image.subfolder, image.type) == ("pack", "output")
        picture = Image.open(server.output / "pack" / image.filename)
        assert picture.mode == "RGBA"
        assert picture.size == (64, 64)
        assert set(picture.getchannel("A").tobytes()) <= {0, 255}
        assert len(picture.convert("RGB").getcolors() or []) <= 4
        # The client sends every node with a title, if only an empty one.
        sent = {name: {**node, "_meta": {}} for name, node in batch_graph().items()}
        assert json.loads(picture.info["prompt"]) == sent
        assert json.loads(picture.info["workflow"]) == {"note": "canvas"}
    assert not list(server.output.rglob("*.part"))


def test_a_picture_is_cut_out_as_the_command_does_it(server: Server, tmp_path: Path) -> None:
    picture = np.full((32, 40, 3), 254, dtype=np.uint8)
    picture[8:24, 10:30] = (20, 10, 30)
    picture[9:23, 11:29] = (200, 30, 30)
    picture[16, 9] = (190, 187, 193)  # mixed
    picture[2, 2] = 0  # a speck
    Image.fromarray(picture).save(tmp_path / "cutout.png")
    loaded = server.client.upload(tmp_path / "cutout.png").filename
    graph = {
        "load": {"class_type": "LoadImage", "inputs": {"image": loaded}},
        "cut": {
            "class_type": "SpriteworksCutout",
            "inputs": {
                "image": ["load", 0],
                "tolerance": 0.15,
                "smallest_hole": 0.01,
                "keep_light": True,
                "smallest_part": 0.02,
                "outline": "outside",
                "outline_colour": "#0000ff",
            },
        },
        # what is cut out already is left as it is
        "again": {
            "class_type": "SpriteworksCutout",
            "inputs": {
                "image": ["cut", 0],
                "mask": ["cut", 1],
                "tolerance": 0.15,
                "smallest_hole": 0.01,
            },
        },
    }
    for name in ("cut", "again"):
        saved = {"image": [name, 0], "mask": [name, 1], "filename_prefix": f"pack/{name}"}
        graph[f"save {name}"] = {"class_type": "SpriteworksSaveSprite", "inputs": saved}
    job = server.client.submit(graph)
    server.client.wait(job.prompt_id, timeout=120)
    options = CutoutOptions(0.15, 0.01, smallest_part=0.02, outline=Outline.OUTSIDE)
    expected = cut_out(picture, replace(options, outline_colour=(0, 0, 255)))
    assert (expected == (0, 0, 255, 255)).all(axis=2).sum() == 2 * (16 + 20)
    for name in ("cut", "again"):
        sprite = np.asarray(Image.open(server.output / "pack" / f"{name}_00001_.png"))
        there = expected[..., 3] > 0
        assert np.array_equal(sprite[..., 3], expected[..., 3])
        assert np.array_equal(sprite[there], expected[there])


def batch_graph() -> dict[str, Any]:
    def node(kind: str, **inputs: Any) -> dict[str, Any]:
        return {"class_type": kind, "inputs": inputs}

    settings = dict.fromkeys(("precision", "attention", "vae_tiling", "offload"), "auto")
    return {
        "load": node("SpriteworksDiffusersLoader", model_name="tiny-sd1", **settings),
        "own": node("SpriteworksModelDefaults", model=["load", 0], steps=2, cfg=8.0),
        "seeds": node(
            "SpriteworksSeedBatch",
            model=["load", 0],
            width=["load", 3],
            height=["load", 4],
            seed=5,
            batch_size=2,
        ),
        "yes": node("CLIPTextEncode", text="a red potion", clip=["load", 1]),
        "no": node("CLIPTextEncode", text="", clip=["load", 1]),
        "sample": node(
            "KSampler",
            model=["seeds", 0],
            seed=0,
            steps=["own", 0],
            cfg=["own", 1],
            sampler_name="euler_ancestral",
            scheduler="karras",
            positive=["yes", 0],
            negative=["no", 0],
            latent_image=["seeds", 1],
            denoise=1.0,
        ),
        "decode": node("VAEDecode", samples=["sample", 0], vae=["load", 2]),
        "pixels": node("SpriteworksPixelize", image=["decode", 0], pixel_size=4, method="mode"),
        "colors": node(
            "SpriteworksPalette", image=["pixels", 0], colors=4, palette="", dither=False
        ),
        "cut": node("SpriteworksCutout", image=["colors", 0], tolerance=0.0, smallest_hole=1.0),
        "save": node(
            "SpriteworksSaveSprite",
            image=["cut", 0],
            mask=["cut", 1],
            filename_prefix="pack/test",
        ),
    }
