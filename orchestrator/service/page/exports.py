"""What people take away: a sheet of the pictures that they picked, or the pictures themselves."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from comfy_nodes.errors import PackError
from comfy_nodes.formats.sheets import write
from comfy_nodes.ops.frames import Frame
from comfy_nodes.ops.sheet import packed

from ...errors import RequestRefused
from ..intake import Caller
from ..service import Service
from ..views import OutputView, RequestView

# pictures of one sheet or one archive
MOST = 500
# the formats that the page offers, and how it calls them
FORMATS: Mapping[str, str] = {
    "phaser": "Phaser",
    "pixi": "PixiJS",
    "godot": "Godot",
    "unity": "Unity",
    "png": "PNG only",
}
# bytes of all pictures of an archive, which is made in memory
_MOST_BYTES = 256 * 1024 * 1024
# pixels of one picture of a sheet
_MOST_PIXELS = 4096 * 4096
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, kw_only=True)
class Pick:
    """A picture that was picked, and the request that made it."""

    output: OutputView
    view: RequestView
    # of its file in an archive, without a suffix; no two are the same
    name: str


def picks(service: Service, caller: Caller) -> list[Pick]:
    """What a caller has picked, the first pick first; raises RequestRefused where that is none."""
    found: list[Pick] = []
    names: set[str] = set()
    for asset, job in service.marks.picked(caller.owner, MOST):
        view = service.get(caller, job)
        output = next((one for one in view.outputs if one.id == asset), None)
        if output is None:
            # it was removed meanwhile
            continue
        name = _free(_stem(view), names)
        names.add(name)
        found.append(Pick(output=output, view=view, name=name))
    if not found:
        raise RequestRefused("invalid_request", "no picture is picked yet; pick some first")
    if sum(pick.output.size for pick in found) > _MOST_BYTES:
        raise RequestRefused(
            "invalid_request",
            f"the picked pictures have more than {_MOST_BYTES >> 20} MiB together; pick fewer",
        )
    return found


def sheet(service: Service, chosen: Sequence[Pick], formats: Sequence[str]) -> bytes:
    """A ZIP with one sheet of the pictures, as engines read it. Raises RequestRefused."""
    unknown = [one for one in formats if one not in FORMATS]
    if unknown or not formats:
        raise RequestRefused("invalid_request", "choose at least one format that the page offers")
    frames = [Frame.whole(pick.name, _pixels(service, pick)) for pick in chosen]
    try:
        files = write(packed(frames), "sprites", formats)
    except PackError as error:
        raise RequestRefused("invalid_request", str(error)) from error
    return _archive({name: lambda data=data: data for name, data in files.items()})  # type: ignore[misc]


def pictures(service: Service, chosen: Sequence[Pick]) -> bytes:
    """A ZIP with the pictures as they were made, and picks.json, which says how."""
    files: dict[str, Callable[[], bytes]] = {}
    told = []
    for pick in chosen:
        suffix = pick.output.content_type.rpartition("/")[2].replace("jpeg", "jpg")
        name = f"{pick.name}.{suffix}"
        files[name] = lambda pick=pick: service.bytes_of(pick.output)  # type: ignore[misc]
        told.append({"file": name, **_facts(pick)})
    text = json.dumps({"pictures": told}, ensure_ascii=False, indent=1)
    return _archive({**files, "picks.json": text.encode})


def _facts(pick: Pick) -> dict[str, Any]:
    notes = pick.view.notes
    return {
        "job_id": pick.view.id,
        "workflow": notes.get("workflow"),
        "seed": notes.get("seed"),
        "parameters": notes.get("parameters", {}),
    }


def _archive(files: Mapping[str, Callable[[], bytes]]) -> bytes:
    """Same files, same bytes."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content(), zipfile.ZIP_DEFLATED)
    return target.getvalue()


def _pixels(service: Service, pick: Pick) -> Any:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(service.bytes_of(pick.output))) as picture:
            if picture.width * picture.height > _MOST_PIXELS:
                raise RequestRefused("invalid_request", f"{pick.name} is too large for a sheet")
            return np.asarray(picture.convert("RGBA"))
    except OSError as error:
        raise RequestRefused("invalid_request", f"{pick.name} cannot be read: {error}") from error


def _stem(view: RequestView) -> str:
    """A name that every file system and engine takes, from what was asked for."""
    prompt = view.notes.get("name") or view.notes.get("parameters", {}).get("prompt")
    text = prompt if isinstance(prompt, str) else str(view.notes.get("workflow") or "sprite")
    words = re.findall("[a-z0-9]+", text.lower())[:4]
    return "-".join([*(word[:16] for word in words), str(view.notes.get("seed") or 0)])


def _free(stem: str, taken: set[str]) -> str:
    name, number = stem, 2
    while name in taken:
        name, number = f"{stem}-{number}", number + 1
    return name
