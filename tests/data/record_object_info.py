"""The part of a server's /object_info that the workflows and their tests need.

record_canvas.py records it. Texts for people are left out, and the lists of files are set to what
the tests name, so that the file says nothing about the machine it was made on.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import requests

CORE = (
    "BasicGuider",
    "BasicScheduler",
    "CFGGuider",
    "CheckpointLoaderSimple",
    "CLIPTextEncode",
    "CLIPTextEncodeSDXL",
    "ConditioningCombine",
    "ConditioningZeroOut",
    "ControlNetApplyAdvanced",
    "ControlNetLoader",
    "EmptyLatentImage",
    "ImageScale",
    "ImageScaleBy",
    "InpaintModelConditioning",
    "KSampler",
    "KSamplerAdvanced",
    "KSamplerSelect",
    "LatentUpscale",
    "LoadImage",
    "LoadImageMask",
    "LoraLoader",
    "PreviewImage",
    "PrimitiveInt",
    "PrimitiveString",
    "RandomNoise",
    "RepeatLatentBatch",
    "SamplerCustomAdvanced",
    "SaveImage",
    "SetLatentNoiseMask",
    "VAEDecode",
    "VAEEncode",
    "VAEEncodeForInpaint",
)

INPUTS = Path(__file__).resolve().parent.parent.parent / "workflows" / "inputs"
FILES = {
    "ckpt_name": ["sd15.safetensors", "sdxl.safetensors"],
    "model_name": ["spriteworks-starter"],
    "lora_name": ["pixel.safetensors"],
    "control_net_name": ["canny.safetensors"],
    "image": sorted(path.name for path in INPUTS.glob("spriteworks_*")),
}
FOR_PEOPLE = ("tooltip", "description", "output_tooltips", "search_aliases")
# What the models of that machine know.
OF_THE_MACHINE = ("words",)


def slim(node: dict[str, Any]) -> dict[str, Any]:
    """One class without texts for people and with the lists of files of FILES."""
    node = {key: value for key, value in node.items() if key not in FOR_PEOPLE}
    for section in ("required", "optional"):
        for name, entry in node["input"].get(section, {}).items():
            extra = entry[1] if len(entry) > 1 else {}
            for key in (*FOR_PEOPLE, *OF_THE_MACHINE):
                extra.pop(key, None)
            if name in FILES and isinstance(entry[0], list):
                entry[0] = FILES[name]
            elif name in FILES and entry[0] == "COMBO":
                extra["options"] = FILES[name]
    return node


def record(url: str, target: Path) -> None:
    """Ask the server at `url` and write the file."""
    answer = requests.get(f"{url}/object_info", timeout=60).json()
    names = sorted({*CORE, *(name for name in answer if name.startswith("Spriteworks"))})
    lines = [f"{json.dumps(name)}: {json.dumps(slim(answer[name]))}" for name in names]
    target.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8", newline="\n")
