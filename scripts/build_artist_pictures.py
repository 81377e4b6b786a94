"""Make the pictures of the nodes' help pages and of docs/artists.md, from runs on real ComfyUI.

    python scripts/build_artist_pictures.py COMFYUI

starts that ComfyUI with the pack, or takes the server at that address, opens its editor in a
Chromium (pip install playwright), runs each scene, and writes comfy_nodes/web/docs/NODE/node.png,
the node as it then looks, and docs/images/artists-*.png, made of what was saved.
"""

from __future__ import annotations

import argparse
import itertools
import runpy
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import requests
from PIL import Image, ImageSequence

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

import orchestrator as spriteworks  # noqa: E402
from orchestrator.client.client import Client  # noqa: E402
from orchestrator.protocol.http import JobState  # noqa: E402

IMAGES = REPOSITORY / "docs" / "images"
PAGES = REPOSITORY / "comfy_nodes" / "web" / "docs"
INPUTS = REPOSITORY / "workflows" / "inputs"
PROMPT = "a red potion, pixel art, game sprite, centered, plain white background"
OTHER = "a blue potion, pixel art, game sprite, centered, plain white background"
WALL = "red brick wall, seamless, pixel art, game texture"
# s; a starter picture takes a few of them on a busy machine
PATIENCE = 900
SIDE, GAP = 192, 12  # px of a picture in docs/artists.md, and between two
LIGHT, DARK = 222, 190
SHOWN_PALETTES = ("pico-8", "sweetie-16", "game-boy")

LOAD = """async graph => {
  await app.loadApiJson(graph, 'scene.json');
  for (const widget of app.graph.nodes.flatMap(node => node.widgets ?? []))
    if (widget.name === 'control_after_generate') widget.value = 'fixed';
}"""
ALL_SHOWN = """() => !document.querySelector('.spriteworks .sw-empty')
  && [...document.querySelectorAll('.spriteworks img')].every(one => one.naturalWidth)"""
# The nodes of a shot side by side, all others out of sight; the place of the shot in the page.
ARRANGE = """([ids, left, top]) => {
  const shown = ids.map(id => app.graph.getNodeById(id));
  for (const node of app.graph.nodes) if (!shown.includes(node)) node.pos = [left, top - 4000];
  let x = left;
  for (const node of shown) {
    const [wide, high] = node.computeSize();
    node.setSize([Math.max(wide, node.type.endsWith('SaveSprite') ? 440 : 300), high]);
    node.pos = [x, top];
    x += node.size[0] + 60;
  }
  app.canvas.deselectAll?.();
  app.canvas.ds.scale = 1;
  app.canvas.ds.offset = [0, 0];
  app.canvas.draw(true, true);
  const page = app.canvas.canvas.getBoundingClientRect();
  const high = Math.max(...shown.map(node => node.size[1]));
  const [across, down] = [x - 60 - left, high];
  return {x: page.x + left - 12, y: page.y + top - 60, width: across + 24, height: down + 72};
}"""
ADD = """([kind, values]) => {
  const node = LiteGraph.createNode(kind);
  app.graph.add(node);
  for (const widget of node.widgets.filter(one => one.name in values)) {
    widget.options.values = [values[widget.name]];  // an example of what may be there
    widget.value = values[widget.name];
  }
  return node.id;
}"""


@dataclass(frozen=True)
class Shot:
    """A node's picture: its class, and the ids of the nodes that are seen, side by side."""

    node: str
    ids: tuple[int, ...]


class Scene:
    """A graph in API format that grows node by node; inputs not given have their defaults.

    No two scenes share ids: the editor keeps by them what nodes showed.
    """

    _first = itertools.count(100, 100)

    def __init__(self) -> None:
        self.graph: dict[str, Any] = {}
        self._ids = itertools.count(next(self._first))

    def add(self, kind: str, **inputs: Any) -> int:
        """Add a node; its id."""
        number = next(self._ids)
        self.graph[str(number)] = {"class_type": kind, "inputs": inputs}
        return number

    def view(
        self, image: int, mask: int | None = None, *, outputs: tuple[int, int] = (0, 1)
    ) -> int:
        """Save what a node gives; the node that does, which shows it enlarged."""
        inputs: dict[str, Any] = {"image": [str(image), outputs[0]], "filename_prefix": "scene"}
        if mask is not None:
            inputs["mask"] = [str(mask), outputs[1]]
        return self.add("SpriteworksSaveSprite", **inputs)


def out(node: int, output: int = 0) -> list[Any]:
    """A link."""
    return [str(node), output]


# ------------------------------------------------------------------------------- the scenes


def making() -> tuple[Scene, list[Shot], dict[str, int]]:
    """From a text to sprites: shots, and which nodes save what."""
    scene = Scene()
    loader = scene.add("SpriteworksDiffusersLoader", model_name="spriteworks-starter")
    texts = [
        scene.add("CLIPTextEncode", text=text, clip=out(loader, 1)) for text in (PROMPT, "blurry")
    ]
    fast = scene.add("SpriteworksOptimizeModel", model=out(loader))
    decoder = scene.add("SpriteworksOptimizeVAE", vae=out(loader, 2))
    defaults = scene.add("SpriteworksModelDefaults", model=out(loader))
    size = {"width": out(loader, 3), "height": out(loader, 4)}
    seeds = scene.add("SpriteworksSeedBatch", model=out(fast), seed=11, batch_size=4, **size)
    sampler = scene.add(
        "KSampler",
        model=out(seeds),
        positive=out(texts[0]),
        negative=out(texts[1]),
        latent_image=out(seeds, 1),
        steps=out(defaults),
        cfg=out(defaults, 1),
        sampler_name="euler_ancestral",
        scheduler="karras",
    )
    memory = scene.add("SpriteworksMemoryReport", value=out(sampler), label="after sampling")
    told = scene.add("PreviewAny", source=out(memory, 1))
    decoded = scene.add("VAEDecode", samples=out(memory), vae=out(decoder))
    snap = scene.add("SpriteworksSnap", image=out(decoded))
    cutout = scene.add("SpriteworksCutout", image=out(snap), mask=out(snap, 1))
    palette = scene.add(
        "SpriteworksPalette", image=out(cutout), mask=out(cutout, 1), colors=16, shared=True
    )
    quality = scene.add("SpriteworksQuality", image=out(palette), mask=out(cutout, 1), colours=16)
    saved = scene.add(
        "SpriteworksSaveSprite",
        image=out(quality),
        mask=out(cutout, 1),
        filename_prefix="scene",
    )
    swap = scene.add(
        "SpriteworksSwapRamp",
        image=out(palette),
        mask=out(cutout, 1),
        old="red",
        new="#0f2a5c #1b4a8f #2f6fc4 #6fb7ff #c8e8ff",
    )
    swapped = scene.view(swap, cutout)
    pixelize = scene.add("SpriteworksPixelize", image=out(decoded))
    pixelized = scene.view(pixelize)
    shots = [
        Shot("SpriteworksDiffusersLoader", (loader,)),
        Shot("SpriteworksOptimizeModel", (fast,)),
        Shot("SpriteworksOptimizeVAE", (decoder,)),
        Shot("SpriteworksModelDefaults", (defaults, sampler)),
        Shot("SpriteworksSeedBatch", (seeds, saved)),
        Shot("SpriteworksMemoryReport", (memory, told)),
        Shot("SpriteworksCutout", (cutout,)),
        Shot("SpriteworksQuality", (quality,)),
        Shot("SpriteworksSaveSprite", (saved,)),
        Shot("SpriteworksSwapRamp", (swap, swapped)),
        Shot("SpriteworksPixelize", (pixelize, pixelized)),
    ]
    return scene, shots, {"saved": saved, "swapped": swapped}


def finding(picture: str) -> tuple[Scene, list[Shot], dict[str, int]]:
    """From a found picture to a sprite, in several palettes."""
    scene = Scene()
    found = scene.add("LoadImage", image=picture)
    snap = scene.add("SpriteworksSnap", image=out(found))
    snapped = scene.view(snap)
    cutout = scene.add("SpriteworksCutout", image=out(snap))
    cut = scene.view(cutout, cutout)
    nodes = {"snapped": snapped, "cut": cut}
    mask = out(cutout, 1)
    for name in ("", *SHOWN_PALETTES):
        palette = scene.add(
            "SpriteworksPalette", image=out(cutout), mask=mask, palette=name, colors=16
        )
        nodes[name or "own"] = scene.view(palette, cutout)
        shown = palette
    shots = [Shot("SpriteworksSnap", (snap,)), Shot("SpriteworksPalette", (shown,))]
    return scene, shots, nodes


def tiling(frames: str) -> tuple[Scene, list[Shot], dict[str, int]]:
    """A picture made to repeat, and a strip of frames taken apart."""
    scene = Scene()
    strip = scene.add("LoadImage", image=frames)
    slices = scene.add("SpriteworksSliceSheet", image=out(strip), columns=4, rows=1)
    taken = scene.view(slices)
    loader = scene.add("SpriteworksDiffusersLoader", model_name="spriteworks-starter")
    texts = [
        scene.add("CLIPTextEncode", text=text, clip=out(loader, 1)) for text in (WALL, "border")
    ]
    size = {"width": out(loader, 3), "height": out(loader, 4)}
    defaults = scene.add("SpriteworksModelDefaults", model=out(loader))
    sampler = scene.add(
        "KSampler",
        model=out(loader),
        positive=out(texts[0]),
        negative=out(texts[1]),
        latent_image=out(scene.add("EmptyLatentImage", **size)),
        steps=out(defaults),
        cfg=out(defaults, 1),
        sampler_name="euler_ancestral",
        scheduler="karras",
        seed=11,
    )
    decoded = scene.add("VAEDecode", samples=out(sampler), vae=out(loader, 2))
    snap = scene.add("SpriteworksSnap", image=out(decoded))
    seams = scene.add("SpriteworksCloseSeams", image=out(snap), margin=8)
    tiles = scene.view(seams)
    shots = [
        Shot("SpriteworksSliceSheet", (slices, taken)),
        Shot("SpriteworksCloseSeams", (seams,)),
    ]
    return scene, shots, {"tiles": tiles}


def walking(picture: str) -> tuple[Scene, list[Shot], dict[str, int]]:
    """From the frames of an animation to a sheet."""
    scene = Scene()
    frames = scene.add("LoadImage", image=picture)
    snap = scene.add("SpriteworksSnap", image=out(frames), sequence=True)
    cutout = scene.add("SpriteworksCutout", image=out(snap), mask=out(snap, 1))
    palette = scene.add(
        "SpriteworksPalette", image=out(cutout), mask=out(cutout, 1), colors=16, shared=True
    )
    align = scene.add("SpriteworksAlignFrames", image=out(palette), mask=out(cutout, 1), margin=1)
    sheet = scene.add(
        "SpriteworksSpriteSheet",
        image=out(align),
        mask=out(align, 1),
        pivot_x=out(align, 2),
        pivot_y=out(align, 3),
        animation="walk",
        fps=10.0,
    )
    pages = scene.view(sheet, sheet, outputs=(1, 2))
    saved = scene.add(
        "SpriteworksSaveSheet", sheet=out(sheet), formats="godot", filename_prefix="hero"
    )
    shots = [
        Shot("SpriteworksAlignFrames", (align,)),
        Shot("SpriteworksSpriteSheet", (sheet, pages)),
        Shot("SpriteworksSaveSheet", (saved,)),
    ]
    return scene, shots, {"sheet": pages}


def painting(picture: str, mask: str) -> tuple[Scene, list[Shot], dict[str, int]]:
    """A masked part painted anew."""
    scene = Scene()
    loader = scene.add("SpriteworksDiffusersLoader", model_name="spriteworks-starter")
    texts = [
        scene.add("CLIPTextEncode", text=text, clip=out(loader, 1)) for text in (OTHER, "blurry")
    ]
    defaults = scene.add("SpriteworksModelDefaults", model=out(loader))
    loaded = scene.add("LoadImage", image=picture)
    painted = scene.add("LoadImageMask", image=mask, channel="red")
    rule = scene.add(
        "SpriteworksMask", image=out(loaded), rule="mask", mask=out(painted), alpha=out(loaded, 1)
    )
    seen = scene.view(scene.add("MaskToImage", mask=out(rule)))
    size = {"width": out(loader, 3), "height": out(loader, 4)}
    crop = scene.add(
        "SpriteworksInpaintCrop",
        image=out(loaded),
        mask=out(rule),
        alpha=out(loaded, 1),
        context=1.1,
        **size,
    )
    cropped = scene.view(crop)
    latent = scene.add("VAEEncode", pixels=out(crop), vae=out(loader, 2))
    held = scene.add("SetLatentNoiseMask", samples=out(latent), mask=out(crop, 1))
    sampler = scene.add(
        "KSampler",
        model=out(loader),
        positive=out(texts[0]),
        negative=out(texts[1]),
        latent_image=out(held),
        steps=out(defaults),
        cfg=out(defaults, 1),
        sampler_name="euler_ancestral",
        scheduler="karras",
        seed=11,
        denoise=0.6,
    )
    decoded = scene.add("VAEDecode", samples=out(sampler), vae=out(loader, 2))
    stitch = scene.add(
        "SpriteworksInpaintStitch", stitch=out(crop, 2), image=out(decoded), new_colours=4
    )
    whole = scene.view(stitch, stitch)
    shots = [
        Shot("SpriteworksMask", (rule, seen)),
        Shot("SpriteworksInpaintCrop", (crop, cropped)),
        Shot("SpriteworksInpaintStitch", (stitch, whole)),
    ]
    return scene, shots, {"mask": seen, "whole": whole}


# ------------------------------------------------------------------------- what is made of them


class Stage:
    """The editor of a server, where scenes are played."""

    def __init__(self, editor: Any, url: str) -> None:
        self.editor, self.page, self.url = editor, editor.page, url
        editor.draw_with(False)

    def upload(self, name: str, picture: bytes) -> str:
        """Put a picture into the server's input folder; its name there."""
        files = {"image": (name, picture)}
        answer = requests.post(f"{self.url}/upload/image", files=files, timeout=60)
        answer.raise_for_status()
        return str(answer.json()["name"])

    def play(self, scene: Scene, shots: Sequence[Shot], nodes: dict[str, int]) -> dict[str, Any]:
        """Run a scene, keep its shots; the saved pictures by name."""
        self.page.evaluate(LOAD, scene.graph)
        outputs = self._outputs(self.editor.run())
        self.page.wait_for_function(ALL_SHOWN)
        for shot in shots:
            self.keep(shot)
        return {
            name: [self._picture(image) for image in outputs[str(node)]["images"]]
            for name, node in nodes.items()
        }

    def idle(self, node: str, **values: Any) -> None:
        """Keep the picture of a node that has not run."""
        self.keep(Shot(node, (self.page.evaluate(ADD, [node, values]),)))

    def keep(self, shot: Shot) -> None:
        """Write the picture of a help page."""
        clip = self.page.evaluate(ARRANGE, [list(shot.ids), 140, 180])
        self.page.wait_for_timeout(1500)
        taken = Image.open(BytesIO(self.page.screenshot(clip=clip))).convert("RGB")
        place = PAGES / shot.node / "node.png"
        place.parent.mkdir(exist_ok=True)
        few = taken.quantize(128, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        few.save(place, optimize=True)

    def _outputs(self, prompt_id: str) -> dict[str, Any]:
        with Client(self.url) as client:
            record = client.wait(prompt_id, timeout=PATIENCE)
        if record.state is not JobState.SUCCEEDED:
            raise SystemExit(f"a scene failed: {record.messages[-1:]}")
        return dict(record.outputs)

    def _picture(self, image: dict[str, str]) -> Image.Image:
        answer = requests.get(f"{self.url}/view", params=image, timeout=60)
        answer.raise_for_status()
        return Image.open(BytesIO(answer.content)).convert("RGBA")


def strip(animation: Path, count: int = 4) -> bytes:
    """The first frames of an animation beside each other, as a PNG."""
    frames = [
        one.convert("RGB")
        for one in itertools.islice(ImageSequence.Iterator(Image.open(animation)), count)
    ]
    width, height = frames[0].size
    whole = Image.new("RGB", (count * width, height))
    for index, one in enumerate(frames):
        whole.paste(one, (index * width, 0))
    kept = BytesIO()
    whole.save(kept, "PNG")
    return kept.getvalue()


def spoilt(sprite: Image.Image) -> bytes:
    """A sprite as it is found: enlarged by no whole number, uneven, blurred, noisy, a JPEG."""
    enlarge = runpy.run_path(str(REPOSITORY / "tests" / "unit" / "fake_grids.py"))["enlarge"]
    paper = Image.new("RGBA", sprite.size, "white")
    paper.alpha_composite(sprite)
    pixels, _ = enlarge(np.asarray(paper.convert("RGB")), "hard", np.random.default_rng(6))
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def shown(picture: Image.Image, side: int = SIDE, smooth: bool = False) -> Image.Image:
    """A picture on a checkerboard, enlarged by the whole number that fits into a square."""
    factor = max(1, side // max(picture.size))
    size = (picture.width * factor, picture.height * factor)
    how = Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST
    large = picture.resize(size, how)
    rows, columns = np.indices(size[::-1]) // 8
    paper = np.where((rows + columns) % 2, DARK, LIGHT).astype(np.uint8)
    board = Image.fromarray(paper).convert("RGBA")
    board.alpha_composite(large)
    return board.convert("RGB")


def write_row(name: str, pictures: Sequence[Image.Image]) -> None:
    """Write pictures side by side, on white."""
    width = sum(one.width for one in pictures) + GAP * (len(pictures) - 1)
    row = Image.new("RGB", (width, max(one.height for one in pictures)), "white")
    left = 0
    for one in pictures:
        row.paste(one, (left, (row.height - one.height) // 2))
        left += one.width + GAP
    row.quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        IMAGES / f"artists-{name}.png", optimize=True
    )


def perform(stage: Stage) -> None:
    """Play all scenes and write all pictures."""
    made = stage.play(*making())
    sprite = made["saved"][0]
    stage.idle("SpriteworksCheckpointLoader", ckpt_name="dreamshaper_8.safetensors")
    stage.idle("SpriteworksStableDiffusionLoader", version="sdxl")
    fake = spoilt(sprite)
    found = stage.play(*finding(stage.upload("found.png", fake)))
    came = Image.open(BytesIO(fake)).convert("RGBA").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    write_row(
        "found", [came.convert("RGB"), *(shown(found[key][0]) for key in ("snapped", "cut", "own"))]
    )
    palettes = [found[key][0] for key in ("own", *SHOWN_PALETTES)]
    write_row("palettes", [shown(one) for one in (*palettes, made["swapped"][0])])
    own = found["own"][0]
    write_row("size", [shown(own, 1), shown(own), shown(own, smooth=True)])
    walk = (INPUTS / "spriteworks_walk.png").read_bytes()
    sheet = stage.play(*walking(stage.upload("walk.png", walk)))["sheet"][0]
    write_row("sheet", [shown(sheet, 3 * max(sheet.size))])
    stage.play(*tiling(stage.upload("strip.png", strip(INPUTS / "spriteworks_walk.png"))))
    potion, mask = (
        (INPUTS / f"spriteworks_potion{part}.png").read_bytes() for part in ("", "_mask")
    )
    names = stage.upload("potion.png", potion), stage.upload("mask.png", mask)
    painted = stage.play(*painting(*names))
    before = Image.open(BytesIO(potion)).convert("RGBA")
    write_row("mask", [shown(one) for one in (before, painted["mask"][0], painted["whole"][0])])


def in_english(url: str) -> None:
    """Have the editor of a server open in English, whatever it was read in before."""
    requests.post(f"{url}/settings/Comfy.Locale", json="en", timeout=60).raise_for_status()


def main(comfyui: str) -> None:
    """Open the editor of a ComfyUI, and make the pictures."""
    editor = runpy.run_path(str(REPOSITORY / "tests" / "data" / "canvas_editor.py"))["editor"]
    runs = comfyui.startswith("http")
    there = spriteworks.connect(comfyui) if runs else spriteworks.start_comfyui(Path(comfyui))
    with there as server:
        in_english(server.url)
        with editor(server.url) as opened:
            perform(Stage(opened, server.url))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("comfyui", metavar="COMFYUI")
    main(parser.parse_args().comfyui)
