"""The few node classes that the fake server in testing.py knows, and the pictures it "makes"."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import NodeProblem


def _size(default: int) -> list[Any]:
    return ["INT", {"default": default, "min": 1, "max": 16384}]


def _class(
    name: str,
    required: dict[str, Any],
    outputs: list[str],
    *,
    is_output: bool = False,
    hidden: dict[str, str] | None = None,
) -> dict[str, Any]:
    return {
        "input": {"required": required, "hidden": hidden or {}},
        "input_order": {"required": list(required), "hidden": list(hidden or {})},
        "output": outputs,
        "output_is_list": [False] * len(outputs),
        "output_name": outputs,
        "name": name,
        "display_name": name,
        "description": "",
        "python_module": "nodes",
        "category": "image",
        "output_node": is_output,
    }


_HIDDEN = {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"}

# The answer of GET /object_info.
OBJECT_INFO: dict[str, Any] = {
    "EmptyImage": _class(
        "EmptyImage",
        {
            "width": _size(512),
            "height": _size(512),
            "batch_size": ["INT", {"default": 1, "min": 1, "max": 4096}],
            "color": ["INT", {"default": 0, "min": 0, "max": 0xFFFFFF, "step": 1}],
        },
        ["IMAGE"],
    ),
    "LoadImage": _class("LoadImage", {"image": [[], {"image_upload": True}]}, ["IMAGE", "MASK"]),
    "ImageScale": _class(
        "ImageScale",
        {
            "image": ["IMAGE"],
            "upscale_method": [["nearest-exact", "bilinear", "area", "bicubic", "lanczos"]],
            "width": ["INT", {"default": 512, "min": 0, "max": 16384}],
            "height": ["INT", {"default": 512, "min": 0, "max": 16384}],
            "crop": [["disabled", "center"]],
        },
        ["IMAGE"],
    ),
    "SaveImage": _class(
        "SaveImage",
        {"images": ["IMAGE"], "filename_prefix": ["STRING", {"default": "ComfyUI"}]},
        [],
        is_output=True,
        hidden=_HIDDEN,
    ),
    "PreviewImage": _class(
        "PreviewImage", {"images": ["IMAGE"]}, [], is_output=True, hidden=_HIDDEN
    ),
}


def node_errors(problems: Iterable[NodeProblem], outputs: list[str]) -> dict[str, Any]:
    """Shape problems as the `node_errors` of an answer to POST /prompt."""
    errors: dict[str, Any] = {}
    for problem in problems:
        entry = errors.setdefault(
            problem.node_id,
            {"errors": [], "dependent_outputs": outputs, "class_type": problem.class_type},
        )
        entry["errors"].append(
            {
                "type": problem.type,
                "message": problem.message,
                "details": problem.details,
                "extra_info": {},
            }
        )
    return errors


def picture(width: int, height: int, texts: Mapping[str, Any]) -> bytes:
    """Make a PNG, size in px, that carries `texts` as JSON the way ComfyUI's carry their graph."""
    # Slow to import, and not every test wants a picture.
    from PIL import Image, PngImagePlugin

    chunks = PngImagePlugin.PngInfo()
    for name, value in texts.items():
        chunks.add_text(name, json.dumps(value))
    stream = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 40)).save(stream, "PNG", pnginfo=chunks)
    return stream.getvalue()


def is_picture(content: bytes) -> bool:
    """Say whether LoadImage could read `content`."""
    from PIL import Image, UnidentifiedImageError

    try:
        Image.open(io.BytesIO(content)).load()
    except (UnidentifiedImageError, OSError):
        return False
    return True
