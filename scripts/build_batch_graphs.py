"""Build the graphs under workflows/batches from the shipped workflow `sprite`.

    python scripts/build_batch_graphs.py

writes sprite-lora.json, `sprite` with a LoRA between its model and what uses it, and tile.json,
`sprite` without its Cutout, for pictures that fill their square. Run it after
scripts/build_workflows.py.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from comfy_nodes.loras import lora_named  # noqa: E402

SPRITE = REPOSITORY / "workflows" / "api" / "sprite.json"
FOLDER = REPOSITORY / "workflows" / "batches"
# What the graph has where nobody sets another: it wants no words of its own in a prompt.
LORA = "pixel-art-xl"

Graph = dict[str, dict[str, Any]]


def with_lora(sprite: Graph) -> Graph:
    """The graph with a LoRA; sampler and texts use it, sizes and defaults are the model's."""
    graph = copy.deepcopy(sprite)
    chosen = lora_named(LORA)
    assert chosen is not None
    model = _only(graph, "SpriteworksDiffusersLoader")
    lora = str(max(map(int, graph)) + 1)
    for node in graph.values():
        if node["class_type"] in ("KSampler", "CLIPTextEncode"):
            _relink(node, {(model, 0): [lora, 0], (model, 1): [lora, 1]})
    graph[model]["inputs"]["model_name"] = chosen.base.key
    graph[lora] = {
        "class_type": "LoraLoader",
        "inputs": {
            "model": [model, 0],
            "clip": [model, 1],
            "lora_name": chosen.file.name,
            "strength_model": 1.0,
            "strength_clip": 1.0,
        },
        "_meta": {"title": "LoRA"},
    }
    return graph


def without_cutout(sprite: Graph) -> Graph:
    """The graph whose pictures stay whole: what the Cutout gave, its own inputs give."""
    graph = copy.deepcopy(sprite)
    key = _only(graph, "SpriteworksCutout")
    given = graph.pop(key)["inputs"]
    for node in graph.values():
        _relink(node, {(key, 0): given["image"], (key, 1): given["mask"]})
    graph[_only(graph, "SpriteworksSaveSprite")]["inputs"]["filename_prefix"] = "tile"
    return graph


def texts() -> Iterator[tuple[Path, str]]:
    """(file, its text) of each graph."""
    sprite = json.loads(SPRITE.read_text(encoding="utf-8"))
    for name, graph in (("sprite-lora", with_lora(sprite)), ("tile", without_cutout(sprite))):
        yield FOLDER / f"{name}.json", json.dumps(graph, indent=2) + "\n"


def _only(graph: Graph, kind: str) -> str:
    (key,) = (key for key, node in graph.items() if node["class_type"] == kind)
    return key


def _relink(node: dict[str, Any], links: dict[tuple[str, int], list[Any]]) -> None:
    for name, value in node["inputs"].items():
        if isinstance(value, list) and tuple(value) in links:
            node["inputs"][name] = list(links[tuple(value)])


if __name__ == "__main__":
    argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0]).parse_args()
    for file, text in texts():
        file.write_text(text, encoding="utf-8", newline="\n")
