"""TexturePacker's JSON, as PixiJS, Phaser, Bevy and most others read it.

There is no specification; codeandweb.com/texturepacker writes it, and the readers are the source:
PixiJS 8 (`Spritesheet`), Phaser (`textures/parsers/JSONHash`, `JSONArray`). A frame has both
`pivot`, which Phaser takes, and `anchor`, which PixiJS takes: shares of the untrimmed frame, from
its top left corner. PixiJS takes `animations`, lists of frames as they are played; Aseprite's
readers take `meta.frameTags`. A frame's duration in ms stands beside it, as Aseprite writes it. The
size of a rotated frame is its own, not that of what it takes on the page.
"""

from __future__ import annotations

from typing import Any

from ...ops.frames import Frame
from ...ops.sheet import PlacedFrame, Sheet, ground
from .files import Files, as_json, number, page_names, pages

APP = "https://pypi.org/project/spriteworks/"


def hashed(sheet: Sheet, name: str) -> Files:
    """NAME.json with frames by their names; of several pages a file each, joined for PixiJS.

    PixiJS finds the other pages by `meta.related_multi_packs` of the first. It looks for the frames
    of an animation in the same file only, so one whose frames are on several pages is left out.
    """
    images = page_names(sheet, name)
    files = [image.removesuffix(".png") + ".json" for image in images]
    made = pages(sheet, name)
    for page, (image, file) in enumerate(zip(images, files, strict=True)):
        frames = _frames(sheet, page)
        content: dict[str, Any] = {
            "frames": frames,
            "animations": {
                one.name: list(one.played)
                for one in sheet.animations
                if all(frame in frames for frame in one.frames)
            },
            "meta": _meta(sheet, page, image),
        }
        if page == 0 and len(files) > 1:
            content["meta"]["related_multi_packs"] = files[1:]
        made[file] = as_json(content)
    return made


def array(sheet: Sheet, name: str) -> Files:
    """NAME.array.json with frames in order; of several pages a file each."""
    made = pages(sheet, name)
    for page, image in enumerate(page_names(sheet, name)):
        made[image.removesuffix(".png") + ".array.json"] = as_json(
            {"frames": _listed(sheet, page), "meta": _meta(sheet, page, image)}
        )
    return made


def multiatlas(sheet: Sheet, name: str) -> Files:
    """NAME.multiatlas.json, all pages in one file, for Phaser."""
    textures = [
        {
            "image": image,
            "format": "RGBA8888",
            "size": _size(sheet, page),
            "scale": 1,
            "frames": _listed(sheet, page),
        }
        for page, image in enumerate(page_names(sheet, name))
    ]
    content = {"textures": textures, "meta": {"app": APP, "version": "3.0"}}
    return {**pages(sheet, name), f"{name}.multiatlas.json": as_json(content)}


def tags(sheet: Sheet) -> list[dict[str, Any]]:
    """Aseprite's frameTags, of the animations whose frames stand in order in the sheet."""
    index = {frame.name: position for position, frame in enumerate(sheet.frames)}
    found = []
    for animation in sheet.animations:
        first, last = index[animation.frames[0]], index[animation.frames[-1]]
        if [index[frame] for frame in animation.frames] == list(range(first, last + 1)):
            direction = animation.direction.value
            found.append(
                {"name": animation.name, "from": first, "to": last, "direction": direction}
            )
    return found


def entry(frame: Frame, at: PlacedFrame) -> dict[str, Any]:
    """What is said of one frame, but for its name."""
    (x, y), (width, height) = frame.offset, frame.source
    point = ground(frame)
    pivot = {"x": number(point[0] / width), "y": number(point[1] / height)}
    return {
        "frame": {"x": at.x, "y": at.y, "w": at.width, "h": at.height},
        "rotated": at.rotated,
        "trimmed": not frame.is_whole,
        "spriteSourceSize": {"x": x, "y": y, "w": at.width, "h": at.height},
        "sourceSize": {"w": width, "h": height},
        "pivot": pivot,
        "anchor": pivot,
        "duration": frame.duration,
    }


def _frames(sheet: Sheet, page: int) -> dict[str, Any]:
    return {
        frame.name: entry(frame, at)
        for frame, at in zip(sheet.frames, sheet.placements, strict=True)
        if at.page == page
    }


def _listed(sheet: Sheet, page: int) -> list[dict[str, Any]]:
    return [{"filename": name, **said} for name, said in _frames(sheet, page).items()]


def _size(sheet: Sheet, page: int) -> dict[str, int]:
    height, width = sheet.pages[page].shape[:2]
    return {"w": width, "h": height}


def _meta(sheet: Sheet, page: int, image: str) -> dict[str, Any]:
    # the indexes of tags count the frames of one file
    own = {"frameTags": tags(sheet)} if len(sheet.pages) == 1 else {}
    return {
        "app": APP,
        "version": "1.0",
        "image": image,
        "format": "RGBA8888",
        "size": _size(sheet, page),
        "scale": "1",
        **own,
    }
