"""Godot 4.6's web engine opens the .tres and the .tscn: the same pixels, ground and times."""

from __future__ import annotations

import hashlib
import io
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from comfy_nodes.formats.sheets import write
from comfy_nodes.ops.sheet import Sheet, packed
from sample_sheet import animations, frames, on_ground

SIZE, POINT = (64, 64), (30, 50)
Files = dict[str, bytes]
Decode = Callable[[dict[str, Any]], np.ndarray]

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


def game(files: Files) -> bytes:
    """A game of the exported files, in a folder of their own, which main.gd shows."""
    script = (Path(__file__).parent / "pages" / "main.gd").read_text("utf-8")
    inside: Files = {
        "project.godot": PROJECT.encode(),
        ".godot/global_script_class_cache.cfg": b"list=[]\n",
        "main.tscn": MAIN.encode(),
        "main.gd": script.replace("res://hero", "res://sprites/hero").encode(),
    }
    for name, content in files.items():
        found = {name: content}
        if name.endswith(".png"):
            found = imported(f"sprites/{name}", content)
            inside |= {key: value for key, value in found.items() if key.startswith(".godot")}
            found = {f"{name}.import": found[f"sprites/{name}.import"]}
        inside |= {f"sprites/{key}": value for key, value in found.items()}
    return pack(inside)


def shown(stage: Any, files: Files) -> tuple[list[dict[str, Any]], list[str]]:
    """What main.gd says of each frame of each animation, and the engine's errors."""
    stage.put({"game.pck": game(files)})
    answer = stage.ask("godot.html", "game", {"pack": "game.pck"})
    return [json.loads(line) for line in answer["lines"] if line[:1] == "{"], answer["errors"]


def check(told: list[dict[str, Any]], decoded: Decode) -> None:
    """Every animation in order, each frame's pixels on the ground and its duration."""
    found = {frame.name: frame for frame in frames()}
    wanted = [(one, frame) for one in sorted_animations() for frame in one.played]
    assert len(told) == len(wanted)
    for said, (animation, name) in zip(told, wanted, strict=True):
        assert (said["animation"], said["frame"]) == (animation.name, name)
        assert said["loop"] == animation.loop
        assert said["duration"] == pytest.approx(found[name].duration)
        np.testing.assert_array_equal(decoded(said), on_ground(found[name], SIZE, POINT), name)


def sorted_animations() -> list[Any]:
    """As Godot names them."""
    return sorted(animations(), key=lambda one: one.name)


@pytest.mark.parametrize("largest", [4096, 70])
def test_godot_shows_each_frame_on_the_ground(stage: Any, decoded: Decode, largest: int) -> None:
    sheet = packed(frames(), animations(), largest=largest)
    assert (len(sheet.pages) > 1) == (largest == 70)
    told, errors = shown(stage, write(sheet, "hero", ["godot"]))
    assert errors == []
    assert told[0] == {"first": "walk", "playing": True}
    check(told[1:], decoded)


FAULTS = {
    "region": (b"region = Rect2(1, ", b"region = Rect2(2, "),
    "margin": (b"margin = Rect2(1", b"margin = Rect2(0"),
    "speed": (b'"speed": 20.0', b'"speed": 10.0'),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_seen(stage: Any, sample: Sheet, decoded: Decode, fault: str) -> None:
    files = write(sample, "hero", ["godot"])
    before, after = FAULTS[fault]
    assert before in files["hero.tres"]
    files["hero.tres"] = files["hero.tres"].replace(before, after)
    told, _ = shown(stage, files)
    with pytest.raises(AssertionError):
        check(told[1:], decoded)


def test_a_broken_file_is_told_by_the_engine(stage: Any, sample: Sheet) -> None:
    files = write(sample, "hero", ["godot"])
    files["hero.tres"] = files["hero.tres"].replace(b"Rect2(", b"Rect2[", 1)
    told, errors = shown(stage, files)
    assert told == []
    assert any("hero.tres" in error for error in errors)
