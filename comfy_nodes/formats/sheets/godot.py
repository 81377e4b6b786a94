"""Godot 4: SpriteFrames of AtlasTextures as text (format=3), and a scene that stands on the ground.

docs.godotengine.org, "TSCN file format" and the classes SpriteFrames and AtlasTexture. A path
without res:// is looked for beside the file, so the files go into any folder of a project together.
A SpriteFrames has no pivot: all frames get one canvas by the texture's margin, with their ground
points at one place, and the scene's AnimatedSprite2D has that place as its offset. A frame that is
in no animation gets one of its own, or it could not be shown.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...ops.frames import Animation, Frame
from ...ops.sheet import Sheet, all_animations, common_canvas
from .files import Files, number, page_names, pages, unit


def write(sheet: Sheet, name: str) -> Files:
    """NAME.png, NAME.tres (SpriteFrames) and NAME.tscn (an AnimatedSprite2D that shows them)."""
    return {
        **pages(sheet, name),
        f"{name}.tres": _sprite_frames(sheet, name).encode("utf-8"),
        f"{name}.tscn": _scene(sheet, name).encode("utf-8"),
    }


def _sprite_frames(sheet: Sheet, name: str) -> str:
    images = page_names(sheet, name)
    ids = {frame.name: f"frame_{index}" for index, frame in enumerate(sheet.frames)}
    steps = len(images) + len(ids) + 1
    parts = [f'[gd_resource type="SpriteFrames" load_steps={steps} format=3]\n']
    parts += [
        f'[ext_resource type="Texture2D" path={_quoted(image)} id="page_{page}"]'
        for page, image in enumerate(images)
    ]
    parts += ["", *_textures(sheet, ids)]
    by_name = {frame.name: frame for frame in sheet.frames}
    animations = [
        _animation(one, [by_name[frame] for frame in one.played], ids)
        for one in all_animations(sheet)
    ]
    parts.append("[resource]\nanimations = [" + ", ".join(animations) + "]\n")
    return "\n".join(parts)


def _textures(sheet: Sheet, ids: dict[str, str]) -> list[str]:
    canvas = common_canvas(sheet.frames)
    found = []
    for frame, at, move in zip(sheet.frames, sheet.placements, canvas.moves, strict=True):
        x, y = frame.offset[0] + move[0], frame.offset[1] + move[1]
        margin = x, y, canvas.size[0] - at.width, canvas.size[1] - at.height
        found.append(
            f'[sub_resource type="AtlasTexture" id="{ids[frame.name]}"]\n'
            f"resource_name = {_quoted(frame.name)}\n"
            f'atlas = ExtResource("page_{at.page}")\n'
            f"region = Rect2({at.x}, {at.y}, {at.width}, {at.height})\n"
            f"margin = Rect2({', '.join(map(str, margin))})\n"
            "filter_clip = true\n"
        )
    return found


def _animation(animation: Animation, frames: Sequence[Frame], ids: dict[str, str]) -> str:
    """One animation; a frame is shown for its duration divided by the speed, in seconds."""
    step = unit([frame.duration for frame in frames])
    shown = ", ".join(_shown(frame.duration / step, ids[frame.name]) for frame in frames)
    loop = "true" if animation.loop else "false"
    return (
        f'{{\n"frames": [{shown}],\n"loop": {loop},\n"name": &{_quoted(animation.name)},\n'
        f'"speed": {1000 / step!r}\n}}'
    )


def _shown(duration: float, texture: str) -> str:
    return f'{{\n"duration": {duration!r},\n"texture": SubResource("{texture}")\n}}'


def _scene(sheet: Sheet, name: str) -> str:
    pivot = common_canvas(sheet.frames).pivot
    lines = [
        "[gd_scene load_steps=2 format=3]\n",
        f'[ext_resource type="SpriteFrames" path={_quoted(name + ".tres")} id="frames"]\n',
        f'[node name={_quoted(name)} type="AnimatedSprite2D"]',
        "texture_filter = 1",  # nearest
        'sprite_frames = ExtResource("frames")',
    ]
    first = _quoted(all_animations(sheet)[0].name)
    lines += [f"animation = &{first}", f"autoplay = {first}"]
    lines += ["centered = false", f"offset = Vector2({number(-pivot[0])}, {number(-pivot[1])})"]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
