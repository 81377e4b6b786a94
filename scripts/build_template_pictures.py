"""Make docs/images/template-NAME.jpg: each template as it looks in ComfyUI's editor after its run.

    python scripts/build_template_pictures.py COMFYUI [NAME ...]

starts that ComfyUI with the pack, opens its editor in a Chromium (pip install playwright), opens
and runs each template, or those that are named, and takes the picture of the window.
"""

from __future__ import annotations

import argparse
import runpy
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

import orchestrator as spriteworks  # noqa: E402
from orchestrator.client.client import Client  # noqa: E402

IMAGES = REPOSITORY / "docs" / "images"
NAMES = sorted(path.stem for path in (REPOSITORY / "workflows").glob("*.json"))
# s that one run may take on a busy machine
PATIENCE = 900
# ms until nodes that show new pictures stand still
REST = 3000
SCALE = 0.75  # of the pictures, to the window's pixels
QUALITY = 85


def picture(editor: Any, client: Client, name: str) -> Image.Image:
    """The window with a template that has run. Raises JobError where that fails."""
    page = editor.page
    editor.load_template(name)
    page.wait_for_timeout(REST)
    client.wait(editor.run(), timeout=PATIENCE)
    page.wait_for_timeout(REST)
    taken = Image.open(BytesIO(page.screenshot())).convert("RGB")
    size = (round(taken.width * SCALE), round(taken.height * SCALE))
    return taken.resize(size, Image.Resampling.LANCZOS)


def main(comfyui: Path, names: list[str]) -> None:
    """Open the editor of a ComfyUI, and take the pictures."""
    editor = runpy.run_path(str(REPOSITORY / "tests" / "data" / "canvas_editor.py"))["editor"]
    with (
        spriteworks.start_comfyui(comfyui) as server,
        Client(server.url) as client,
        editor(server.url) as opened,
    ):
        for name in names or NAMES:
            target = IMAGES / f"template-{name}.jpg"
            picture(opened, client, name).save(target, quality=QUALITY, optimize=True)
            print(target.name, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("comfyui", metavar="COMFYUI", type=Path)
    parser.add_argument("names", metavar="NAME", nargs="*", choices=[*NAMES, []])
    found = parser.parse_args()
    main(found.comfyui, found.names)
