"""Checkpoints in the published layouts: our loaders, ComfyUI's own and the engine draw the same.

Weights are random (random_models.py). Narrow models of all seven versions in the default run; the
full width of the two that are asked for most, cut in depth for XL, with `-m slow`.

Random weights find mistakes: in these pictures, of 255, leaving out XL's pooled text changed 39,
wrong sizes 10, another layer of the text encoder 13 to 161, the wrong kind of prediction 228, and
twice as many heads 2 (XL), 5 (1.x) and 30 (2.x).
"""

from __future__ import annotations

import gc
import json
import runpy
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from orchestrator.client.client import Client
from orchestrator.local import launch
from orchestrator.protocol import Graph, files_of

HERE = Path(__file__).resolve().parent
pytestmark = [pytest.mark.comfyui, pytest.mark.timeout(3000)]

NARROW = (
    "sd15",
    "sd15-inpainting",
    "sd21",
    "sd2-inpainting",
    "sdxl",
    "sdxl-turbo",
    "sdxl-inpainting",
)
# As published: 1.5 in fp32, XL in fp16.
FULL = (("sd15", False), ("sdxl", True))
TEXT_LAYERS = 3  # of a narrow model
# The measure, and the loaders that must meet it.
STOCK, FILE, FOLDER = "stock", "file", "folder"
CASES = (STOCK, FILE, FOLDER)
# Narrow models that are drawn in every way; the others share all code but what FILE shows.
THOROUGH = ("sd15-inpainting", "sd21", "sdxl")
OTHER = "other text"  # by ComfyUI's loader
SETTINGS = {
    "precision": "fp32",
    "vae_precision": "fp32",
    "attention": "auto",
    "vae_tiling": "off",
    "offload": "auto",
}


class Draft:
    """A graph that grows; `add` gives the new node's id."""

    def __init__(self) -> None:
        self.graph: Graph = {}

    def add(self, class_type: str, **inputs: Any) -> str:
        number = str(len(self.graph) + 1)
        self.graph[number] = {"class_type": class_type, "inputs": inputs}
        return number


def graph_of(name: str, case: str, side: int, steps: int, *, other: bool) -> Graph:
    """A version's picture by one of the loaders, and another text's where asked for."""
    draft = Draft()
    load = add_loader(draft, name, case)
    words = {case: "a (red:1.3) potion"} | ({OTHER: "a green cactus"} if other else {})
    for saved, text in words.items():
        positive = [draft.add("CLIPTextEncode", text=text, clip=[load, 1]), 0]
        negative = [draft.add("CLIPTextEncode", text="dull", clip=[load, 1]), 0]
        if name.endswith("inpainting"):
            shown = add_inpainting(draft, load, positive, negative)
            positive, negative, latent = [shown, 0], [shown, 1], [shown, 2]
        else:
            latent = [draft.add("EmptyLatentImage", width=side, height=side, batch_size=1), 0]
        turbo = name.endswith("turbo")
        sampled = draft.add(
            "KSampler",
            model=[load, 0],
            seed=7,
            steps=1 if turbo else steps,
            cfg=1.0 if turbo else 7.0,
            sampler_name="euler_ancestral",
            scheduler="karras",
            positive=positive,
            negative=negative,
            latent_image=latent,
            denoise=1.0,
        )
        decoded = draft.add("VAEDecode", samples=[sampled, 0], vae=[load, 2])
        draft.add("SaveImage", images=[decoded, 0], filename_prefix=saved)
    return draft.graph


def add_loader(draft: Draft, name: str, case: str) -> str:
    if case == STOCK:
        return draft.add("CheckpointLoaderSimple", ckpt_name=f"{name}.safetensors")
    if case == FOLDER:
        return draft.add("SpriteworksDiffusersLoader", model_name=name, **SETTINGS)
    file = f"{name}.safetensors"
    return draft.add("SpriteworksCheckpointLoader", ckpt_name=file, **SETTINGS)


def add_inpainting(draft: Draft, load: str, positive: Any, negative: Any) -> str:
    """What a 9-channel model is shown: a picture, and the half of it to paint anew."""
    return draft.add(
        "InpaintModelConditioning",
        positive=positive,
        negative=negative,
        vae=[load, 2],
        pixels=[draft.add("LoadImage", image="picture.png"), 0],
        mask=[draft.add("LoadImageMask", image="mask.png", channel="red"), 0],
        noise_mask=True,
    )


Pictures = dict[tuple[str, str], np.ndarray]  # by version and case


@dataclass(frozen=True)
class Drawn:
    """Both hosts' pictures, and what ComfyUI warned of while it drew."""

    engine: Pictures
    comfyui: Pictures
    warnings: list[str]


@dataclass(frozen=True)
class Studio:
    """Where models lie, and the ComfyUI to draw with."""

    comfyui: Path
    environment: dict[str, str]
    repository: Path
    models: Path
    narrow: bool

    def cases(self, name: str) -> tuple[str, ...]:
        return (FILE,) if self.narrow and name not in THOROUGH else CASES

    def draw(self, names: tuple[str, ...]) -> Drawn:
        out = self.models / "out"
        out.mkdir()
        write_drawings(out, self._size[0])
        # Narrow models leave room for both hosts at once.
        with ThreadPoolExecutor(2 if self.narrow else 1) as workers:
            theirs = workers.submit(self._on_comfyui, names, out)
            ours = workers.submit(self._on_engine, names, out)
        return Drawn(ours.result(), *theirs.result())

    @property
    def _size(self) -> tuple[int, int]:
        """Side in pixels, and steps."""
        return (32, 1) if self.narrow else (128, 2)

    def _on_comfyui(self, names: tuple[str, ...], out: Path) -> tuple[Pictures, list[str]]:
        graphs = {
            (name, case): graph_of(name, case, *self._size, other=case == STOCK)
            for name in names
            for case in sorted({STOCK, *self.cases(name)})
        }
        file = self.models / "graphs.json"
        file.write_text(json.dumps(list(graphs.values())), encoding="utf-8")
        script = HERE / "graphs_on_comfyui.py"
        command = [launch.python_of(self.comfyui), script, self.comfyui, self.repository]
        command += [self.models, file, out, *([TEXT_LAYERS] if self.narrow else [])]
        done = subprocess.run(
            list(map(str, command)),
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        report = json.loads(done.stdout.splitlines()[-1])
        pictures = {}
        for (name, case), saved in zip(graphs, report["pictures"], strict=True):
            for shown, file_name in zip([case, OTHER], saved, strict=False):
                pictures[name, shown] = pixels(out / file_name)
        return pictures, report["warnings"]

    def _on_engine(self, names: tuple[str, ...], out: Path) -> Pictures:
        pictures = {}
        with launch.engine(models=self.models) as process, Client(process.url) as client:
            for drawing in ("picture.png", "mask.png"):
                client.upload(out / drawing)
            for name, case in ((n, case) for n in names for case in self.cases(n)):
                accepted = client.submit(graph_of(name, case, *self._size, other=False))
                assert not accepted.problems, accepted.problems
                record = client.wait(accepted.prompt_id, timeout=1200)
                (found,) = files_of(record.outputs)
                (out / "engine.png").write_bytes(client.content(found[1]))
                pictures[name, case] = pixels(out / "engine.png")
        return pictures


def write_drawings(folder: Path, side: int) -> None:
    """A picture, and a mask of its right half."""
    ramp = np.mgrid[0:side, 0:side] * 255 // side
    channels = np.stack([ramp[0], ramp[1], ramp[0] ^ ramp[1]], -1).astype(np.uint8)
    Image.fromarray(channels, "RGB").save(folder / "picture.png")
    Image.fromarray(((ramp[1] > 127) * 255).astype(np.uint8)).save(folder / "mask.png")


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), int)


def distance(a: np.ndarray, b: np.ndarray) -> int:
    """The largest difference of any channel of any pixel, of 255."""
    assert a.shape == b.shape
    return int(np.abs(a - b).max())


Draw = Callable[..., Drawn]


@pytest.fixture(scope="module")
def draw(comfyui_dir: Path, comfyui_environment: dict[str, str], repository: Path) -> Draw:
    """Draws with random models; they are gigabytes, so pytest shall not keep them."""

    def run(*names: str, full: bool, half: bool) -> Drawn:
        with tempfile.TemporaryDirectory(prefix="spriteworks-models-") as folder:
            models = Path(folder)
            place = Studio(comfyui_dir, comfyui_environment, repository, models, narrow=not full)
            folders = [name for name in names if FOLDER in place.cases(name)]
            # In this process, as another would load torch and diffusers once more.
            write = runpy.run_path(str(HERE / "random_models.py"))["main"]
            write(models, list(names), folders, full=full, half=half)
            del write
            gc.collect()  # what it keeps of them
            return place.draw(names)

    return run


@pytest.fixture(scope="module")
def narrow(draw: Draw) -> Drawn:
    return draw(*NARROW, full=False, half=True)


@pytest.mark.parametrize("name", NARROW)
def test_every_loader_draws_what_comfyuis_own_draws(name: str, narrow: Drawn) -> None:
    check_pictures(name, narrow)


def test_comfyui_misses_no_weight(narrow: Drawn) -> None:
    assert narrow.warnings == []


@pytest.mark.slow
@pytest.mark.parametrize(("name", "half"), FULL)
def test_full_width(name: str, half: bool, draw: Draw) -> None:
    drawn = draw(name, full=True, half=half)
    check_pictures(name, drawn)
    assert drawn.warnings == []


def check_pictures(name: str, drawn: Drawn) -> None:
    measure = drawn.comfyui[name, STOCK]
    apart = {
        f"{case} on {host}": distance(pictures[name, case], measure)
        for host, pictures in (("comfyui", drawn.comfyui), ("engine", drawn.engine))
        for case in CASES
        if (name, case) in pictures
    }
    print(f"{name}: {apart}, spread {measure.std():.0f}")
    assert max(apart.values()) <= 1, apart
    # A grey or a white picture, or one that no text changes, would prove nothing.
    assert measure.std() > 25
    assert np.isin(measure, (0, 255)).mean() < 0.1
    assert distance(drawn.comfyui[name, OTHER], measure) > 2
