"""Build the shipped workflows, both forms of each from one recipe.

    python scripts/build_workflows.py

writes workflows/NAME.json (canvas file) and workflows/api/NAME.json (graph). Edit the recipes here,
not the files. What the canvas needs to know of a node class, its slots and widgets, is read from
tests/data/canvas/object_info.json.
"""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from orchestrator.protocol import Graph  # noqa: E402
from orchestrator.workflow.catalogue import Catalogue, NodeClass  # noqa: E402
from orchestrator.workflow.graph import is_link, order  # noqa: E402
from orchestrator.workflow.inputs import NodeInput  # noqa: E402

OBJECT_INFO = REPOSITORY / "tests" / "data" / "canvas" / "object_info.json"

MODEL = "spriteworks-starter"
POSITIVE = "a red potion, pixel art, game sprite, centered, plain white background"
NEGATIVE = "blurry, photo, text, watermark, frame, cropped, several objects"
PALETTE = "dawnbringer-16"
SETTINGS = {"precision": "auto", "attention": "auto", "vae_tiling": "auto", "offload": "auto"}

Link = list[Any]


@dataclass
class WorkflowRecipe:
    """A workflow: its graph, and where its nodes and groups lie on the canvas."""

    name: str
    graph: Graph = field(default_factory=dict)
    # node id -> (x, y, width, height) in canvas pixels, the title bar not counted
    places: dict[str, tuple[int, int, int, int]] = field(default_factory=dict)
    # (title, x, y, width, height, colour)
    groups: list[tuple[str, int, int, int, int, str]] = field(default_factory=list)
    # nodes whose seed stays after a run, where the editor draws new ones otherwise
    fixed: set[str] = field(default_factory=set)
    # the text of a note that only the canvas has, and its place
    note: tuple[str, tuple[int, int, int, int]] = ("", (0, 0, 0, 0))

    def add(
        self, class_type: str, title: str, place: tuple[int, int, int, int], **inputs: Any
    ) -> str:
        """Add a node and return its id."""
        node_id = str(len(self.graph) + 1)
        self.graph[node_id] = {
            "class_type": class_type,
            "inputs": inputs,
            "_meta": {"title": title},
        }
        self.places[node_id] = place
        return node_id


# --------------------------------------------------------------------------- the recipes

COLUMNS = (0, 400, 840, 1180, 1560, 1920, 2300)
# What the editor needs to show all settings of the model, and where the next group may begin.
MODEL_HEIGHT = 570
BELOW_MODEL = MODEL_HEIGHT + 50
# And the nodes from a picture to a sprite, with what they show; Nodes 2.0 takes the most room.
SNAP_HEIGHT, CUTOUT_HEIGHT, PALETTE_HEIGHT, ALIGN_HEIGHT = 420, 470, 500, 570
# Between two nodes, with the title of the second.
GAP = 80
FINISH_HEIGHT = SNAP_HEIGHT + GAP + CUTOUT_HEIGHT


def start(
    name: str, positive: str, steps: int, cfg: float
) -> tuple[WorkflowRecipe, dict[str, str]]:
    """The part that all have: model, texts and the sampler's defaults."""
    recipe = WorkflowRecipe(name)
    loader = recipe.add(
        "SpriteworksDiffusersLoader",
        "Model",
        (COLUMNS[0], 0, 340, MODEL_HEIGHT),
        model_name=MODEL,
        **SETTINGS,
    )
    texts = {
        role: recipe.add(
            "CLIPTextEncode", title, (COLUMNS[1], y, 380, 150), text=text, clip=[loader, 1]
        )
        for role, title, y, text in (
            ("positive", "Positive", 0, positive),
            ("negative", "Negative", 210, NEGATIVE),
        )
    }
    defaults = recipe.add(
        "SpriteworksModelDefaults",
        "Model defaults",
        (COLUMNS[2], 0, 280, 110),
        model=[loader, 0],
        steps=steps,
        cfg=cfg,
    )
    recipe.groups = [
        ("Model", -20, -80, 380, MODEL_HEIGHT + 100, "#3f789e"),
        ("Texts", COLUMNS[1] - 20, -80, 420, 460, "#8A8"),
    ]
    return recipe, {"loader": loader, "defaults": defaults, **texts}


def sampler(recipe: WorkflowRecipe, ids: dict[str, str], model: Link, latent: Link) -> str:
    """The sampler, with steps and CFG that follow the model."""
    return recipe.add(
        "KSampler",
        "Sampler",
        (COLUMNS[3], 0, 320, 280),
        model=model,
        seed=11,
        steps=[ids["defaults"], 0],
        cfg=[ids["defaults"], 1],
        sampler_name="euler_ancestral",
        scheduler="karras",
        positive=[ids["positive"], 0],
        negative=[ids["negative"], 0],
        latent_image=latent,
        denoise=1.0,
    )


def finish_and_save(
    recipe: WorkflowRecipe, image: Link, palette: str = "", shared: bool = False, colors: int = 16
) -> tuple[Link, Link]:
    """From a picture of fake pixels to a sprite: true pixels, cut out, few colours, saved."""
    image, mask = finish(recipe, image, COLUMNS[4], palette=palette, shared=shared, colors=colors)
    recipe.add(
        "SpriteworksSaveSprite",
        "Save sprite",
        (COLUMNS[5], PALETTE_HEIGHT + GAP, 320, 330),
        image=image,
        filename_prefix=recipe.name,
        mask=mask,
    )
    sampling_groups(recipe, "From picture to sprite", 700, FINISH_HEIGHT + 100)
    return image, mask


def finish(
    recipe: WorkflowRecipe,
    image: Link,
    x: int,
    palette: str = "",
    shared: bool = False,
    colors: int = 16,
    sequence: bool = False,
) -> tuple[Link, Link]:
    """True pixels, cut out, in few colours: IMAGE and MASK, in two columns from `x`.

    The palette comes last, so that no colour of the background has a place in it and none comes in
    after it.
    """
    snapped = recipe.add("SpriteworksSnap", "Snap", (x, 0, 320, SNAP_HEIGHT), image=image)
    if sequence:
        recipe.graph[snapped]["inputs"]["sequence"] = True
    cut = recipe.add(
        "SpriteworksCutout",
        "Cutout",
        (x, SNAP_HEIGHT + GAP, 320, CUTOUT_HEIGHT),
        image=[snapped, 0],
        tolerance=0.15,
        smallest_hole=0.004,
        mask=[snapped, 1],
    )
    coloured = recipe.add(
        "SpriteworksPalette",
        "Palette",
        (x + 360, 0, 320, PALETTE_HEIGHT),
        image=[cut, 0],
        colors=colors,
        palette=palette,
        dither=False,
        shared=shared,
        mask=[cut, 1],
    )
    return [coloured, 0], [cut, 1]


def sheet(
    recipe: WorkflowRecipe, image: Link, mask: Link, x: int, pivot: str, animation: str
) -> None:
    """From sprites to one sheet and its engine files: one ground, one canvas, one pivot."""
    aligned = recipe.add(
        "SpriteworksAlignFrames",
        "Align frames",
        (x, 0, 320, ALIGN_HEIGHT),
        image=image,
        pivot=pivot,
        margin=1,
        mask=mask,
    )
    laid = recipe.add(
        "SpriteworksSpriteSheet",
        "Sprite sheet",
        (x, ALIGN_HEIGHT + GAP, 320, 470),
        image=[aligned, 0],
        animation=animation,
        pivot_x=[aligned, 2],
        pivot_y=[aligned, 3],
        mask=[aligned, 1],
    )
    recipe.add(
        "SpriteworksSaveSheet",
        "Save sheet",
        (x + 360, 0, 320, 400),
        sheet=[laid, 0],
        filename_prefix=recipe.name,
    )
    recipe.groups.append(("Sheet", x - 20, -80, 720, ALIGN_HEIGHT + GAP + 580, "#3f789e"))


def sprite() -> WorkflowRecipe:
    """Text to one sprite."""
    recipe, ids = start("sprite", POSITIVE, 20, 8.0)
    loader = ids["loader"]
    latent = recipe.add(
        "EmptyLatentImage",
        "Size",
        (COLUMNS[2], 210, 280, 130),
        width=[loader, 3],
        height=[loader, 4],
        batch_size=1,
    )
    sampled = sampler(recipe, ids, [loader, 0], [latent, 0])
    decoded = decode(recipe, ids, sampled)
    finish_and_save(recipe, [decoded, 0])
    recipe.note = note(
        "## Sprite\nWrite what you want into **Positive** and press Run. What is saved has the "
        "sprite's true size, no background and at most 16 colours. Size, steps and CFG follow the "
        "model; to fix one, cut its link and type a number.",
    )
    return recipe


def of_eight(name: str, colors: int) -> tuple[WorkflowRecipe, Link, Link]:
    """Text to eight sprites, each with its own seed, in colours that all share."""
    recipe, ids = start(name, POSITIVE, 20, 8.0)
    loader = ids["loader"]
    seeds = recipe.add(
        "SpriteworksSeedBatch",
        "Seeds",
        (COLUMNS[2], 190, 280, 190),
        model=[loader, 0],
        width=[loader, 3],
        height=[loader, 4],
        seed=11,
        batch_size=8,
    )
    sampled = sampler(recipe, ids, [seeds, 0], [seeds, 1])
    # its seed is not used, and a new one would only make the sampler run again
    recipe.fixed.add(sampled)
    decoded = decode(recipe, ids, sampled)
    image, mask = finish_and_save(recipe, [decoded, 0], shared=True, colors=colors)
    return recipe, image, mask


def batch() -> WorkflowRecipe:
    """Text to eight sprites, each with its own seed."""
    recipe, _, _ = of_eight("batch", 16)
    recipe.note = note(
        "## Batch\nEach picture has its own seed: the one in **Seeds**, then one more each. Put "
        "such a seed into the sprite workflow and you get that very sprite again, in colours of "
        "its own: here all share one **Palette**. The sampler's own seed is not used.",
    )
    return recipe


def icons() -> WorkflowRecipe:
    """Text to eight icons that match, and to one sheet of them."""
    recipe, image, mask = of_eight("icons", 32)
    sheet(recipe, image, mask, COLUMNS[6], pivot="box", animation="icons")
    recipe.note = note(
        "## Icons\nEight pictures of one text, each with its own seed, in at most 32 colours that "
        "all share, on one baseline: as single sprites, and as one sheet for Phaser and Godot. "
        "**Save sheet** knows more engines. For icons of several texts see the batch "
        "`workflows/batches/icons.yaml`.",
    )
    return recipe


def frames() -> WorkflowRecipe:
    """Frames of an animation to one sheet: no model, one grid, one palette, one ground."""
    recipe = WorkflowRecipe("frames")
    loaded = recipe.add("LoadImage", "Frames", (0, 0, 340, 330), image="spriteworks_walk.png")
    image, mask = finish(recipe, [loaded, 0], 400, shared=True, sequence=True)
    sheet(recipe, image, mask, 1120, pivot="ground", animation="walk")
    recipe.groups += [
        ("Frames", -20, -80, 380, 430, "#a1309b"),
        ("From frames to sprites", 380, -80, 720, FINISH_HEIGHT + 100, "#88A"),
    ]
    recipe.note = note(
        "## Frames\nDrop an animation (APNG, GIF or WebP) on **Frames**, or link the frames that "
        "your own graph makes to **Snap**, as one batch. They get one grid, one palette and one "
        "ground, and come out as a sheet for Phaser and Godot. No model is needed.",
        y=420,
    )
    return recipe


def pixel_art() -> WorkflowRecipe:
    """Text to a sprite in the colours of a known palette."""
    recipe, ids = start("pixel_art", POSITIVE, 25, 9.0)
    loader = ids["loader"]
    latent = recipe.add(
        "EmptyLatentImage",
        "Size",
        (COLUMNS[2], 210, 280, 130),
        width=[loader, 3],
        height=[loader, 4],
        batch_size=1,
    )
    sampled = sampler(recipe, ids, [loader, 0], [latent, 0])
    decoded = decode(recipe, ids, sampled)
    finish_and_save(recipe, [decoded, 0], palette=PALETTE)
    recipe.note = note(
        "## Pixel art\nLike **Sprite**, in the colours of a known palette, so that all that you "
        "make fits together. **Palette** takes other names (pico-8, dawnbringer-32, game-boy), hex "
        "colours, or the text of a palette file; empty, it finds 16 colours.",
    )
    return recipe


def inpaint() -> WorkflowRecipe:
    """Repaint the masked part of a picture and leave the rest as it is."""
    recipe, ids = start(
        "inpaint",
        "a blue potion, pixel art, game sprite, centered, plain white background",
        30,
        8.0,
    )
    loader = ids["loader"]
    picture = recipe.add(
        "LoadImage",
        "Picture",
        (COLUMNS[0], BELOW_MODEL + 80, 340, 330),
        image="spriteworks_potion.png",
    )
    mask = recipe.add(
        "LoadImageMask",
        "Mask",
        (COLUMNS[0], BELOW_MODEL + 470, 340, 330),
        image="spriteworks_potion_mask.png",
        channel="red",
    )
    rule = recipe.add(
        "SpriteworksMask",
        "Mask rule",
        (COLUMNS[1], 510, 380, 270),
        image=[picture, 0],
        rule="mask",
        mask=[mask, 0],
        alpha=[picture, 1],
    )
    crop = recipe.add(
        "SpriteworksInpaintCrop",
        "Crop around the mask",
        (COLUMNS[1], 850, 380, 290),
        image=[picture, 0],
        mask=[rule, 0],
        width=[loader, 3],
        height=[loader, 4],
        context=1.1,
        grow=0,
        feather=0,
        alpha=[picture, 1],
    )
    encoded = recipe.add(
        "VAEEncode", "Encode", (COLUMNS[2], 510, 280, 60), pixels=[crop, 0], vae=[loader, 2]
    )
    masked = recipe.add(
        "SetLatentNoiseMask",
        "Only within the mask",
        (COLUMNS[2], 630, 280, 60),
        samples=[encoded, 0],
        mask=[crop, 1],
    )
    sampled = sampler(recipe, ids, [loader, 0], [masked, 0])
    # So that what is painted follows the shape that is there, which the outline keeps.
    recipe.graph[sampled]["inputs"]["denoise"] = 0.5
    decoded = decode(recipe, ids, sampled)
    stitched = recipe.add(
        "SpriteworksInpaintStitch",
        "Stitch",
        (COLUMNS[4], 0, 300, 150),
        stitch=[crop, 2],
        image=[decoded, 0],
    )
    recipe.add(
        "SaveImage",
        "Save picture",
        (COLUMNS[4], 220, 300, 290),
        images=[stitched, 0],
        filename_prefix="inpaint",
    )
    sampling_groups(recipe, "Result", 340, 600)
    recipe.groups += [
        ("Picture and mask", -20, BELOW_MODEL, 380, 820, "#a1309b"),
        ("Mask and crop", COLUMNS[1] - 20, 430, 760, 740, "#a1309b"),
    ]
    recipe.note = note(
        "## Inpaint\nDrop a picture on **Picture** and a mask (red = repaint) on **Mask**, or "
        "choose another **Mask rule**. Outside the mask nothing changes, not by one bit; pixel art "
        "keeps its grid, its colours and its outline.\n\nFor another shape switch **keep_outline** "
        "in the stitch off and raise **denoise** in the sampler to 1.",
        x=COLUMNS[3],
        y=480,
    )
    return recipe


def decode(recipe: WorkflowRecipe, ids: dict[str, str], sampled: str) -> str:
    """Latent to picture."""
    return recipe.add(
        "VAEDecode",
        "Decode",
        (COLUMNS[3], 330, 320, 60),
        samples=[sampled, 0],
        vae=[ids["loader"], 2],
    )


def sampling_groups(recipe: WorkflowRecipe, last: str, width: int, height: int) -> None:
    """The frames around the sampling columns and those after them, of that size."""
    recipe.groups += [
        ("Sampling", COLUMNS[2] - 20, -80, 700, 490, "#b58b2a"),
        (last, COLUMNS[4] - 20, -80, width, height, "#88A"),
    ]


def note(text: str, x: int = 0, y: int = BELOW_MODEL + 30) -> tuple[str, tuple[int, int, int, int]]:
    """A note and its place."""
    return text, (x, y, 340, 180)


RECIPES = (sprite, batch, pixel_art, inpaint, icons, frames)


# --------------------------------------------------------------------------- the canvas form


def canvas(recipe: WorkflowRecipe, catalogue: Catalogue) -> dict[str, Any]:
    """The canvas file of a recipe, schema 0.4, as the editor saves it."""
    infos = {key: catalogue.node_class(node["class_type"]) for key, node in recipe.graph.items()}
    links = list(_links(recipe.graph, infos))
    nodes = [
        _canvas_node(recipe, key, infos[key], links, rank)
        for rank, key in enumerate(order(recipe.graph))
    ]
    nodes.sort(key=lambda node: node["id"])
    nodes.append(_note(recipe, len(nodes) + 1))
    groups = [
        {
            "id": number,
            "title": title,
            "bounding": [x, y, width, height],
            "color": colour,
            "font_size": 24,
            "flags": {},
        }
        for number, (title, x, y, width, height, colour) in enumerate(recipe.groups, 1)
    ]
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"spriteworks/workflows/{recipe.name}")),
        "revision": 0,
        "last_node_id": len(nodes),
        "last_link_id": len(links),
        "nodes": nodes,
        "links": links,
        "groups": groups,
        "config": {},
        "extra": {"ds": {"scale": 0.7, "offset": [80, 160]}},
        "version": 0.4,
    }


def _links(graph: Graph, infos: dict[str, NodeClass]) -> Iterator[list[Any]]:
    """[link id, from node, from slot, to node, to slot, type], in the order of the nodes."""
    number = 0
    for key, info in infos.items():
        for slot, entry in enumerate(_slots(info)):
            value = graph[key]["inputs"].get(entry.name)
            if is_link(value):
                number += 1
                source, out = value
                yield [number, int(source), out, int(key), slot, infos[source].outputs[out]]


def _slots(info: NodeClass) -> list[NodeInput]:
    """The inputs in the order in which the editor lists them: links first, then widgets."""
    return sorted(info.inputs, key=lambda entry: entry.is_widget)


def _canvas_node(
    recipe: WorkflowRecipe, key: str, info: NodeClass, links: list[list[Any]], rank: int
) -> dict[str, Any]:
    node = recipe.graph[key]
    x, y, width, height = recipe.places[key]
    into = {(link[3], link[4]): link[0] for link in links}
    slots = [
        {
            "name": entry.name,
            "type": entry.type,
            **({"widget": {"name": entry.name}} if entry.is_widget else {}),
            "link": into.get((int(key), slot)),
        }
        for slot, entry in enumerate(_slots(info))
    ]
    outputs = [
        {
            "name": name,
            "type": kind,
            "links": [link[0] for link in links if link[1:3] == [int(key), slot]] or None,
        }
        for slot, (name, kind) in enumerate(zip(info.output_names, info.outputs, strict=True))
    ]
    return {
        "id": int(key),
        "type": info.name,
        "pos": [x, y],
        "size": [width, height],
        "flags": {},
        "order": rank,
        "mode": 0,
        "inputs": slots,
        "outputs": outputs,
        "title": node["_meta"]["title"],
        "properties": {
            "cnr_id": "spriteworks" if info.name.startswith("Spriteworks") else "comfy-core",
            "Node name for S&R": info.name,
        },
        "widgets_values": list(
            _widgets_values(info, node["inputs"], "fixed" if key in recipe.fixed else "randomize")
        ),
    }


def _widgets_values(info: NodeClass, inputs: dict[str, Any], control: str) -> Iterator[Any]:
    for entry in info.inputs:
        if not entry.is_widget:
            continue
        value = inputs.get(entry.name, (entry.default if entry.has_default else None))
        # a linked widget keeps a value too, which counts once the link is cut
        yield (entry.default if entry.has_default else None) if is_link(value) else value
        if entry.has_control:
            yield control
    if any(entry.is_upload for entry in info.inputs):
        yield "image"


def _note(recipe: WorkflowRecipe, number: int) -> dict[str, Any]:
    text, (x, y, width, height) = recipe.note
    return {
        "id": number,
        "type": "MarkdownNote",
        "pos": [x, y],
        "size": [width, height],
        "flags": {},
        "order": 0,
        "mode": 0,
        "inputs": [],
        "outputs": [],
        "title": "How to use it",
        "properties": {},
        "widgets_values": [text],
        "color": "#432",
        "bgcolor": "#653",
    }


def _fill(graph: Graph, catalogue: Catalogue) -> None:
    """Puts the default of each field into nodes that do not name it, as the editor does."""
    for node in graph.values():
        for entry in catalogue.node_class(node["class_type"]).inputs:
            if entry.is_widget and entry.name not in node["inputs"]:
                node["inputs"][entry.name] = entry.default


def texts(catalogue: Catalogue) -> Iterator[tuple[str, str]]:
    """(path under workflows/, text) of every file."""
    for make in RECIPES:
        recipe = make()
        _fill(recipe.graph, catalogue)
        graph = json.dumps(recipe.graph, indent=2)
        yield f"api/{recipe.name}.json", graph + "\n"
        yield f"{recipe.name}.json", json.dumps(canvas(recipe, catalogue), indent=1) + "\n"


def main() -> None:
    """Write all files."""
    catalogue = Catalogue(json.loads(OBJECT_INFO.read_text(encoding="utf-8")))
    for name, text in texts(catalogue):
        path = REPOSITORY / "workflows" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
