"""Runs graphs on ComfyUI's own nodes and the pack's, in one process; prints JSON.

    COMFYUI_PYTHON graphs_on_comfyui.py COMFYUI REPOSITORY MODELS GRAPHS.json OUT [TEXT_LAYERS]

MODELS has folders named checkpoints and diffusers, GRAPHS.json holds a list of graphs;
LoadImage takes its pictures from OUT, and SaveImage writes there. With TEXT_LAYERS, text encoders
of checkpoints have so many layers instead of the published number. No server, as that takes longer
and cannot be told of layers. Prints the pictures' file names, by graph, and the warnings that were
logged.
"""

from __future__ import annotations

import gc
import json
import logging
import sys
from pathlib import Path
from typing import Any

COMFYUI, REPOSITORY, MODELS, GRAPHS, OUT = (Path(argument) for argument in sys.argv[1:6])
TEXT_LAYERS = int(sys.argv[6]) if len(sys.argv) > 6 else None
sys.argv[1:] = ["--cpu"]
sys.path[:0] = [str(COMFYUI)]
sys.path.append(str(REPOSITORY))

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()

import comfy.model_management as management  # noqa: E402
import folder_paths  # noqa: E402
import nodes  # noqa: E402
import torch  # noqa: E402

for kind in ("checkpoints", "diffusers"):
    folder_paths.add_model_folder_path(kind, str(MODELS / kind), is_default=True)
folder_paths.set_output_directory(str(OUT))
folder_paths.set_input_directory(str(OUT))

from text_layers import cut_text_encoders  # noqa: E402

from comfy_nodes.extension import NODES  # noqa: E402

PACK = {node.GET_SCHEMA().node_id: node for node in NODES}


def main() -> None:
    said = Said()
    logging.getLogger().addHandler(said)
    if TEXT_LAYERS:
        cut_text_encoders(TEXT_LAYERS)
    pictures = []
    for graph in json.loads(GRAPHS.read_text(encoding="utf-8")):
        pictures.append(run(graph))
        management.unload_all_models()
        gc.collect()
    sys.stdout.write("\n" + json.dumps({"pictures": pictures, "warnings": said.lines}))


class Said(logging.Handler):
    """Keeps warnings: ComfyUI only logs which weights a file lacks."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@torch.inference_mode()
def run(graph: dict[str, Any]) -> list[str]:
    """Runs the nodes in the order they are written; gives the saved pictures' names."""
    results: dict[str, Any] = {}
    saved = []
    for number, node in graph.items():
        inputs = {
            key: results[value[0]][value[1]] if isinstance(value, list) else value
            for key, value in node["inputs"].items()
        }
        found = call(node["class_type"], inputs)
        if isinstance(found, dict):
            saved += [image["filename"] for image in found["ui"]["images"]]
        else:
            results[number] = found
    return saved


def call(class_type: str, inputs: dict[str, Any]) -> Any:
    if class_type in PACK:
        return PACK[class_type].execute(**inputs).args
    node = nodes.NODE_CLASS_MAPPINGS[class_type]
    return getattr(node(), node.FUNCTION)(**inputs)


if __name__ == "__main__":
    main()
