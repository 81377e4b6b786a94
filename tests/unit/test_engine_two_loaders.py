"""Loaders with different settings in one graph do not disturb each other, nor the process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from comfy_nodes import folders as pack_folders
from comfy_nodes.settings import LoaderSettings, Scope, settings_of_scope
from orchestrator.engine import host
from orchestrator.engine.execution.executor import Executor
from orchestrator.engine.execution.jobs import GraphJob
from orchestrator.engine.execution.validation import check
from orchestrator.engine.folders import Folders
from orchestrator.engine.host.pack_folders import PackFolders
from orchestrator.engine.nodes import all_nodes
from orchestrator.engine.serving.registry import by_name
from orchestrator.protocol import Event, Graph

FIRST = ("precision", "attention", "vae_tiling", "offload")
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "fast": {
        "precision": "bf16",
        "attention": "sliced",
        "memory_format": "channels_last",
        "vae_precision": "bf16",
        "quantization": "int8",
        "step_cache": 0.2,
    },
    "small": {"precision": "fp8", "attention": "flash", "vae_tiling": "on", "vae_slicing": "on"},
}


class Nobody:
    """Listens to nothing."""

    def send(self, event: Event, client_id: str | None) -> None:
        pass

    def listens(self, client_id: str | None) -> bool:
        return False


@pytest.fixture(scope="module")
def models(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Folders:
    root = tmp_path_factory.mktemp("server")
    folders = Folders(
        input=root / "in",
        output=root / "out",
        temp=root / "temp",
        extra_models={"diffusers": [tiny_models]},
    )
    folders.create()
    return folders


@pytest.fixture(autouse=True)
def _host(models: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    host.use_folders(models)
    monkeypatch.setattr(pack_folders, "_installed", PackFolders())


def globals_of_the_process() -> list[Any]:
    cuda, cudnn = torch.backends.cuda, torch.backends.cudnn
    sdp = [cuda.flash_sdp_enabled(), cuda.math_sdp_enabled(), cuda.mem_efficient_sdp_enabled()]
    tf32 = [cuda.matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark]
    dtype = torch.get_default_dtype()
    return [*sdp, *tf32, dtype, torch.is_grad_enabled(), torch.is_inference_mode_enabled()]


@pytest.fixture(autouse=True)
def _nothing_leaks() -> Iterator[None]:
    before = globals_of_the_process()
    yield
    assert globals_of_the_process() == before


def add_pictures(graph: Graph, names: list[str], *, optimize: bool) -> None:
    """A picture for each of the settings, by a loader or by nodes after one plain loader."""

    def add(class_type: str, **inputs: Any) -> str:
        number = str(len(graph) + 1)
        graph[number] = {"class_type": class_type, "inputs": inputs}
        return number

    for name in names:
        auto = dict.fromkeys(FIRST, "auto")
        own = {} if optimize else SETTINGS[name]
        loader = add("SpriteworksDiffusersLoader", model_name="tiny-sd1", **{**auto, **own})
        model, vae = [loader, 0], [loader, 2]
        if optimize and SETTINGS[name]:
            every = {**LoaderSettings().model_dump(mode="json"), **SETTINGS[name]}
            of_model = {key: every[key] for key in settings_of_scope(Scope.MODEL)}
            of_vae = {key: every[key] for key in settings_of_scope(Scope.VAE)}
            model = [add("SpriteworksOptimizeModel", model=model, **of_model), 0]
            vae = [add("SpriteworksOptimizeVAE", vae=vae, **of_vae), 0]
        positive = [add("CLIPTextEncode", text="a red potion", clip=[loader, 1]), 0]
        negative = [add("CLIPTextEncode", text="", clip=[loader, 1]), 0]
        empty = [add("EmptyLatentImage", width=64, height=64, batch_size=2), 0]
        sampled = add(
            "KSampler",
            model=model,
            seed=5,
            steps=5,
            cfg=4.0,
            sampler_name="euler",
            scheduler="karras",
            positive=positive,
            negative=negative,
            latent_image=empty,
            denoise=1.0,
        )
        picture = add("VAEDecode", samples=[sampled, 0], vae=vae)
        add("SaveImage", images=[picture, 0], filename_prefix=name)


def run(models: Folders, names: list[str], *, optimize: bool = False) -> dict[str, np.ndarray]:
    """The pictures of one graph on a fresh executor, two for each name."""
    graph: Graph = {}
    add_pictures(graph, names, optimize=optimize)
    nodes = by_name(all_nodes())
    verdict = check(graph, nodes)
    assert not verdict.node_errors, verdict
    job = GraphJob(
        number=0, prompt_id="p", graph=verdict.graph, extra_data={}, outputs=verdict.outputs
    )
    report = Executor(lambda: nodes, Nobody()).run(job)
    assert report.success, report.messages
    found: dict[str, np.ndarray] = {}
    for shown in report.outputs.values():
        for image in shown.get("images", ()):
            with Image.open(models.output / image["filename"]) as opened:
                pixels = np.asarray(opened)
            name = image["filename"].split("_")[0]
            found[name] = np.concatenate([found[name], pixels]) if name in found else pixels
    return found


@pytest.fixture(scope="module")
def alone(models: Folders) -> dict[str, np.ndarray]:
    """Each picture of a graph of its own."""
    host.use_folders(models)
    patch = pytest.MonkeyPatch()
    patch.setattr(pack_folders, "_installed", PackFolders())
    try:
        return {name: run(models, [name])[name] for name in SETTINGS}
    finally:
        patch.undo()


@pytest.mark.parametrize("order", [list(SETTINGS), list(reversed(SETTINGS))], ids=str)
def test_loaders_in_one_graph_draw_what_each_draws_alone(
    models: Folders, alone: dict[str, np.ndarray], order: list[str]
) -> None:
    together = run(models, order)
    for name in SETTINGS:
        np.testing.assert_array_equal(together[name], alone[name], name)
    assert not np.array_equal(alone["plain"], alone["fast"])
    assert not np.array_equal(alone["plain"], alone["small"])


def test_optimised_copies_of_one_model_leave_it_as_it_is(
    models: Folders, alone: dict[str, np.ndarray]
) -> None:
    # All three share one loader's result, and the plain one comes last.
    together = run(models, ["fast", "small", "plain"], optimize=True)
    np.testing.assert_array_equal(together["plain"], alone["plain"])
    assert not np.array_equal(together["fast"], together["plain"])
