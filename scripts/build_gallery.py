"""Make the pictures of the README and of docs/sprites.md, from what the shipped workflows make.

    python scripts/build_gallery.py WORK

starts an engine, keeps what it makes in the folder WORK, and writes into docs/images:

- starter-model.png: 60 finished sprites;
- before-after.png: what the model gives, and what the workflow `sprite` makes of it;
- fakes.png: details of sprites as other tools and formats spoil them, and after `spriteworks snap`;
- icons.png and walk.png: the sets of workflows/batches/icons.yaml and frames.yaml.

Pictures that are in WORK are not made again.
"""

from __future__ import annotations

import argparse
import json
import runpy
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

import orchestrator as spriteworks  # noqa: E402
from comfy_nodes.ops.true_pixels import snap  # noqa: E402

IMAGES = REPOSITORY / "docs" / "images"
GRAPH = REPOSITORY / "workflows" / "api" / "sprite.json"
TAIL = ", pixel art, game sprite, centered, plain white background"
COLOURS = ("red", "blue", "green", "golden", "purple", "silver")
SUBJECTS = (
    "potion mushroom shield sword key ring gem helmet axe bow "
    "apple fish flower cactus pine tree chest barrel book scroll crown coin "
    "skull ghost slime bat spider dragon boots heart star bomb"
)
WORLD = (
    "a goblin",
    "orc warrior",
    "a skeleton",
    "a zombie",
    "a lich",
    "a hydra",
    "a wolf",
    "a polar bear",
    "a frog",
    "a turtle",
    "an elephant",
    "a mermaid",
    "a centaur",
    "an angel",
    "iron golem",
    "elf archer in a green cloak with a longbow",
    "dwarf in chainmail and a horned helmet with an axe",
    "human wizard in a blue robe and a wizard hat with a staff",
    "knight in plate armor with a sword and a shield",
    "plate armor",
    "a katana",
    "a purple wizard hat",
    "a banana",
    "a strawberry",
    "a fountain",
    "an altar",
    "a butterfly",
    "a pig",
    "a mace",
)
# px of what the starter model draws, and of a sprite of it
DRAWN, TRUE = 128, 32
# kinds of fakes, how much of each sprite is shown of them, in true pixels, and how large, in px
FAKES = ("frac", "fracaa", "degraded", "aniso", "drift", "diffusion")
MIDDLE, SIDE = 16, 192
PAPER, LIGHT, DARK = (255, 255, 255), 222, 190
GAP = 6

Pixels = NDArray[np.uint8]


def prompts() -> list[str]:
    """Things to draw: some in a colour that is named, and what a game's world has."""
    names = SUBJECTS.replace("pine tree", "pine_tree").split()
    coloured = [
        f"a {COLOURS[index % len(COLOURS)]} {name.replace('_', ' ')}"
        for index, name in enumerate(names)
    ]
    return [*coloured, *WORLD]


def made(work: Path, texts: Sequence[str]) -> list[tuple[Pixels, Pixels]]:
    """What the model gives for each text, and the sprite of it: uint8 [H, W, 3], [h, w, 4]."""
    graph = json.loads(GRAPH.read_text(encoding="utf-8"))
    decoded = next(key for key, node in graph.items() if node["class_type"] == "VAEDecode")
    graph["raw"] = {
        "class_type": "SaveImage",
        "inputs": {"images": [decoded, 0], "filename_prefix": "raw"},
    }
    work.mkdir(parents=True, exist_ok=True)
    both = work / "sprite_and_raw.json"
    both.write_text(json.dumps(graph), encoding="utf-8")
    with spriteworks.start_engine() as server:
        for number, text in enumerate(texts):
            out = work / f"{number:03}"
            if not out.is_dir():
                server.run(both, prompt=text + TAIL, seed=7000 + number, out=out)
    return [
        (read(next(folder.glob("raw*.png")))[..., :3], read(next(folder.glob("sprite*.png"))))
        for folder in (work / f"{number:03}" for number in range(len(texts)))
    ]


def read(file: Path) -> Pixels:
    """uint8 [H, W, 4]."""
    return np.asarray(Image.open(file).convert("RGBA"))


def enlarged(picture: Pixels, times: int) -> Image.Image:
    """A picture before a chequered paper where it is transparent."""
    shown = picture.repeat(times, axis=0).repeat(times, axis=1)
    if shown.shape[2] == 3:
        return Image.fromarray(shown)
    rows, columns = np.indices(shown.shape[:2]) // 8
    paper = np.where((rows + columns) % 2, DARK, LIGHT).astype(np.uint8)[..., None]
    return Image.fromarray(np.where(shown[..., 3:] > 127, shown[..., :3], paper))


def grid(pictures: Sequence[Image.Image], columns: int) -> Image.Image:
    """The pictures in rows, each in the middle of its place."""
    width = max(one.width for one in pictures) + GAP
    height = max(one.height for one in pictures) + GAP
    sheet = Image.new("RGB", (width * columns, height * -(-len(pictures) // columns)), PAPER)
    for number, one in enumerate(pictures):
        row, column = divmod(number, columns)
        left, top = column * width + (width - one.width) // 2, row * height
        sheet.paste(one, (left, top + (height - one.height) // 2))
    return sheet


def finished(sprites: Sequence[Pixels]) -> Image.Image:
    """Finished sprites on transparent ground, three times their size."""
    width = TRUE * 3 + GAP
    columns = 12
    sheet = Image.new("RGBA", (width * columns, width * -(-len(sprites) // columns)))
    for number, one in enumerate(sprites):
        row, column = divmod(number, columns)
        shown = Image.fromarray(one.repeat(3, axis=0).repeat(3, axis=1))
        sheet.paste(shown, (column * width, row * width))
    return sheet


def spoilt(sprites: Sequence[Pixels]) -> list[Image.Image]:
    """The middles of sprites as fakes of several kinds, and what snap makes of them."""
    random = np.random.default_rng(6)
    enlarge = runpy.run_path(str(REPOSITORY / "tests" / "unit" / "fake_grids.py"))["enlarge"]
    first, cells = (TRUE - MIDDLE) // 2, MIDDLE
    shown = []
    for sprite, kind in zip(sprites, FAKES, strict=True):
        paper = np.where(sprite[..., 3:] > 0, sprite[..., :3], np.uint8(255))
        fake, (across, down) = enlarge(paper, kind, random)
        box = (first * across, first * down, (first + cells) * across, (first + cells) * down)
        side = (SIDE, SIDE)
        shown.append(Image.fromarray(fake).resize(side, Image.Resampling.NEAREST, box))
        found = snap(fake).picture
        middle = found[first : first + cells, first : first + cells]
        shown.append(enlarged(middle, SIDE // cells))
    return shown


def of_set(work: Path, name: str, pictures: str) -> list[Pixels]:
    """What a shipped manifest exports, by the names of the pictures."""
    manifest = REPOSITORY / "workflows" / "batches" / f"{name}.yaml"
    command = [sys.executable, "-m", "orchestrator", "batch", "run", str(manifest)]
    subprocess.run([*command, "--out", str(work / name)], check=True, cwd=REPOSITORY)
    record = json.loads((work / name / "export" / "export.json").read_text("utf-8"))
    wanted = [one["saved"] for one in record["pictures"].values()]
    return [read(work / name / "export" / one) for one in wanted if one.startswith(pictures)]


def save(picture: Image.Image, name: str) -> None:
    """As a PNG of few colours, which pixel art has; read again to look at it."""
    picture.save(IMAGES / name, optimize=True)


def save_sets(work: Path) -> None:
    """Write those of the sets."""
    save(grid([enlarged(one, 4) for one in of_set(work, "icons", "")], 4), "icons.png")
    aligned = of_set(work, "frames", "walk/")
    came = [read(file) for file in sorted((work / "frames" / "walk").glob("*.png"))]
    rows = [*(enlarged(one, 1) for one in came), *(enlarged(one, 4) for one in aligned)]
    save(grid(rows, len(came)), "walk.png")


def main(work: Path) -> None:
    """Write them all."""
    pairs = made(work, prompts())
    sprites = [sprite for _, sprite in pairs]
    save(finished(sprites), "starter-model.png")
    shown = [pairs[number] for number in (1, 2, 4, 0, 12, 25, 13, 20)]
    save(
        grid(
            [image for raw, sprite in shown for image in (enlarged(raw, 3), enlarged(sprite, 6))],
            8,
        ),
        "before-after.png",
    )
    save(grid(spoilt([sprites[number] for number in (0, 1, 7, 22, 26, 20)]), 6), "fakes.png")
    save_sets(work)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path, metavar="WORK")
    main(parser.parse_args().work)
