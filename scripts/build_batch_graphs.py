"""Build the graphs under workflows/batches from the shipped workflow `sprite`.

    python scripts/build_batch_graphs.py

writes workflows/batches/sprite-lora.json: `sprite` with a LoRA between its model and what uses it.
Run it after scripts/build_workflows.py.
"""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from comfy_nodes.loras import lora_named  # noqa: E402

SPRITE = REPOSITORY / "workflows" / "api" / "sprite.json"
TARGET = REPOSITORY / "workflows" / "batches" / "sprite-lora.json"
# What the graph has where nobody sets another: it wants no words of its own in a prompt.
LORA = "pixel-art-xl"

Graph = dict[str, dict[str, Any]]


def with_lora(sprite: Graph) -> Graph:
    """The graph with a LoRA; sampler and texts use what it gives, sizes and defaults the model's."""
    graph = copy.deepcopy(sprite)
    chosen = lora_named(LORA)
    assert chosen is not None
    (model,) = (key for key, node in graph.items() if "model_name" in node["inputs"])
    graph[model]["inputs"]["model_name"] = chosen.base.key
    lora = str(max(map(int, graph)) + 1)
    for node in graph.values():
        if node["class_type"] in ("KSampler", "CLIPTextEncode"):
            links = [name for name, value in node["inputs"].items() if value in ([model, 0], [model, 1])]
            for name in links:
                node["inputs"][name] = [lora, node["inputs"][name][1]]
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


def text() -> str:
    """The file."""
    return json.dumps(with_lora(json.loads(SPRITE.read_text(encoding="utf-8"))), indent=2) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8", newline="\n")
