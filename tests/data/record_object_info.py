"""Keep the part of a server's /object_info that the workflows and their tests need.

    python tests/data/record_object_info.py http://127.0.0.1:8188

writes tests/data/canvas/object_info.json. Texts for people are left out, and the lists of files
are set to what the tests name, so that the file says nothing about the machine it was made on.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import requests

TARGET = Path(__file__).resolve().parent / "canvas" / "object_info.json"

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

FILES = {
    "ckpt_name": ["sd15.safetensors", "sdxl.safetensors"],
    "model_name": ["spriteworks-starter"],
    "lora_name": ["pixel.safetensors"],
    "control_net_name": ["canny.safetensors"],
    "image": ["spriteworks_potion.png", "spriteworks_potion_mask.png"],
}
FOR_PEOPLE = ("tooltip", "description", "output_tooltips")


def slim(node: dict[str, Any]) -> dict[str, Any]:
    """One class without texts for people and with the lists of files of FILES."""
    node = {key: value for key, value in node.items() if key not in FOR_PEOPLE}
    for section in ("required", "optional"):
        for name, entry in node["input"].get(section, {}).items():
            extra = entry[1] if len(entry) > 1 else {}
            for key in FOR_PEOPLE:
                extra.pop(key, None)
            if name in FILES and isinstance(entry[0], list):
                entry[0] = FILES[name]
            elif name in FILES and entry[0] == "COMBO":
                extra["options"] = FILES[name]
    return node


def main(url: str) -> None:
    """Ask the server at `url` and write the file."""
    answer = requests.get(f"{url}/object_info", timeout=30).json()
    names = sorted({*CORE, *(name for name in answer if name.startswith("Spriteworks"))})
    lines = [f"{json.dumps(name)}: {json.dumps(slim(answer[name]))}" for name in names]
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"))
