"""A game for Godot's web engine that shows every frame of an exported sheet."""

from __future__ import annotations

import hashlib
import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Files = dict[str, bytes]
SCRIPT = Path(__file__).resolve().parents[1] / "engines" / "pages" / "main.gd"

PROJECT = """\
config_version=5

[application]

config/name="sheet"
run/main_scene="res://main.tscn"
config/features=PackedStringArray("4.6")

[rendering]

renderer/rendering_method="gl_compatibility"
renderer/rendering_method.mobile="gl_compatibility"
"""
MAIN = """\
[gd_scene load_steps=2 format=3]

[ext_resource type="Script" path="res://main.gd" id="1"]

[node name="Main" type="Node"]
script = ExtResource("1")
"""


def imported(name: str, content: bytes) -> Files:
    """What Godot's editor makes of a PNG on import: a .import, and the pixels as .ctex."""
    pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGBA"))
    height, width = pixels.shape[:2]
    texture = b"GST2" + struct.pack("<8I", 1, width, height, 0, 0, 0, 0, 0)
    texture += struct.pack("<IHHII", 0, width, height, 0, 5) + pixels.tobytes()  # raw RGBA8
    path = f".godot/imported/{name}.ctex"
    remap = f'[remap]\n\nimporter="texture"\ntype="CompressedTexture2D"\npath="res://{path}"\n'
    return {f"{name}.import": remap.encode(), path: texture}


def pack(files: Files) -> bytes:
    """A .pck, version 3: a header of 112 bytes, the files, and the list of them."""
    body, entries = b"", []
    for name, content in files.items():
        path = name.encode() + b"\0" * (-len(name) % 4)
        entry = struct.pack("<I", len(path)) + path + struct.pack("<QQ", len(body), len(content))
        entries.append(entry + hashlib.md5(content).digest() + struct.pack("<I", 0))
        body += content + b"\0" * (-len(content) % 16)
    head = b"GDPC" + struct.pack("<IIIIIQQ", 3, 4, 6, 0, 2, 112, 112 + len(body))
    return head.ljust(112, b"\0") + body + struct.pack("<I", len(entries)) + b"".join(entries)


def game(files: Files, sheet: str) -> bytes:
    """A game of the exported files, in a folder of their own; main.gd shows the sheet of a name."""
    script = SCRIPT.read_text("utf-8")
    inside: Files = {
        "project.godot": PROJECT.encode(),
        ".godot/global_script_class_cache.cfg": b"list=[]\n",
        "main.tscn": MAIN.encode(),
        "main.gd": script.replace("res://hero", f"res://sprites/{sheet}").encode(),
    }
    for name, content in files.items():
        found = {name: content}
        if name.endswith(".png"):
            found = imported(f"sprites/{name}", content)
            inside |= {key: value for key, value in found.items() if key.startswith(".godot")}
            found = {f"{name}.import": found[f"sprites/{name}.import"]}
        inside |= {f"sprites/{key}": value for key, value in found.items()}
    return pack(inside)


def shown(stage: Any, files: Files, sheet: str = "hero") -> tuple[list[dict[str, Any]], list[str]]:
    """What main.gd says of each frame of each animation, and the engine's errors."""
    stage.put({"game.pck": game(files, sheet)})
    answer = stage.ask("godot.html", "game", {"pack": "game.pck"})
    return [json.loads(line) for line in answer["lines"] if line[:1] == "{"], answer["errors"]
