"""One tool at work: reads pictures, writes their true pixels, and tells the CPU seconds of each.

    python worker.py TOOL FOLDER

FOLDER/todo.json lists the PNGs, FOLDER/done.jsonl gets one line for each: {file, seconds, error,
sure}, and FOLDER/out their true pixels. It runs in the tool's own environment, and imports nothing
of this project but for the tool "ours". The seconds are of this process and of all its threads,
around the call alone: no start, no import, no reading of the file, and the first call, of a picture
that is done again, does not count.
"""

from __future__ import annotations

import faulthandler
import io
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

# s; what takes longer ends the process
_PATIENCE = 120.0

# uint8 [H, W, 3] to the true pixels, and whether the tool says that it is sure
Call = Callable[[Any], tuple[Any, "bool | None"]]


def _ours() -> Call:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from comfy_nodes.ops.true_pixels import snap

    def call(pixels: Any) -> tuple[Any, bool | None]:
        found = snap(pixels)
        return found.picture, found.sure

    return call


def _ai2pixelart() -> Call:
    from ai2pixelart import clean  # type: ignore[import-not-found]

    return lambda pixels: (clean(pixels).image, None)


def _proper_pixel_art() -> Call:
    from proper_pixel_art import pixelate  # type: ignore[import-not-found]

    return lambda pixels: (pixelate(Image.fromarray(pixels)).image, None)


def _perfect_pixel() -> Call:
    from perfect_pixel import get_perfect_pixel  # type: ignore[import-not-found]

    def call(pixels: Any) -> tuple[Any, bool | None]:
        width, _, picture = get_perfect_pixel(pixels)
        if width is None:
            raise ValueError("no grid was found")
        return picture, None

    return call


def _spritegrid() -> Call:
    from spritegrid.main import (  # type: ignore[import-not-found]
        create_downsampled_image,
        detect_grid,
    )

    def call(pixels: Any) -> tuple[Any, bool | None]:
        # what its command does
        image = Image.fromarray(pixels)
        width, height = detect_grid(image, min_grid_size=4)
        if not (width > 0 and height > 0):
            raise ValueError("no grid was found")
        cells = max(1, round(image.width / width)), max(1, round(image.height / height))
        return create_downsampled_image(image, width, height, *cells, 8), None

    return call


def _unfake() -> Call:
    import logging

    from unfake import process_image_sync  # type: ignore[import-not-found]

    logging.disable(logging.WARNING)
    return lambda pixels: (process_image_sync(pixels)["image"], None)


def _pixel_snapper() -> Call:
    from pixel_snapper import (  # type: ignore[import-not-found]
        PixelSnapperConfig,
        process_image,
    )

    def call(pixels: Any) -> tuple[Any, bool | None]:
        # it takes and gives files
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG", compress_level=0)
        return Image.open(io.BytesIO(process_image(file.getvalue(), PixelSnapperConfig()))), None

    return call


CALLS: dict[str, Callable[[], Call]] = {
    "ours": _ours,
    "ai2pixelart": _ai2pixelart,
    "proper-pixel-art": _proper_pixel_art,
    "perfect-pixel": _perfect_pixel,
    "spritegrid": _spritegrid,
    "unfake": _unfake,
    "pixel-snapper": _pixel_snapper,
}


def main() -> None:
    """Work through the list; a line for each picture, written at once."""
    tool, folder = sys.argv[1], Path(sys.argv[2])
    call = CALLS[tool]()
    files: list[str] = json.loads((folder / "todo.json").read_text(encoding="utf-8"))
    with (folder / "done.jsonl").open("a", encoding="utf-8") as done:
        for number, file in enumerate(files):
            pixels = np.asarray(Image.open(file).convert("RGB"))
            faulthandler.dump_traceback_later(_PATIENCE, exit=True)
            if not number:
                _told(call, pixels)
            told, picture = _told(call, pixels)
            faulthandler.cancel_dump_traceback_later()
            if picture is not None:
                picture.save(folder / "out" / Path(file).name)
            done.write(json.dumps({"file": file, **told}) + "\n")
            done.flush()


def _told(call: Call, pixels: Any) -> tuple[dict[str, Any], Image.Image | None]:
    picture, sure, error = None, None, ""
    begin = time.process_time()
    try:
        result, sure = call(pixels)
    except (Exception, SystemExit) as wrong:  # noqa: BLE001 - whatever it is, the tool failed
        seconds, error = time.process_time() - begin, f"{type(wrong).__name__}: {wrong}"
    else:
        seconds = time.process_time() - begin
        image = result if isinstance(result, Image.Image) else Image.fromarray(np.asarray(result))
        picture = image.convert("RGB")
    return {"seconds": seconds, "error": error[:200], "sure": sure}, picture


if __name__ == "__main__":
    main()
