"""The nodes' help pages, for editors in any language.

An editor asks for `docs/NODE/LANGUAGE.md` first, also in English, and for `docs/NODE.md` only after
that was refused. Each refusal is an error in the browser's console, so every language is answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .web_files import is_plain, serve, web_folders, written

WEB = Path(__file__).parents[1] / "web"
PAGES = WEB / "docs"

# No name here has a slash or two dots, so nothing leads out of the folder.
_FILE = "{node:Spriteworks[A-Za-z]+}/{file:[A-Za-z-]+[.](?:md|png)}"


def help_file(node: str, file: str) -> Path | None:
    """The page or picture of a node; the English page for a language that has none."""
    for found in (PAGES / node / file, PAGES / f"{node}.md"):
        if found.suffix == Path(file).suffix and found.is_file():
            return found
    return None


def serve_help() -> None:
    """Let ComfyUI's server, where it is loaded, answer for help pages."""
    for path in sorted(map(_path, _served_names())):
        serve(path, _page_asked)


def _page_asked(asked: Mapping[str, str]) -> Path | None:
    return help_file(asked["node"], asked["file"])


def _path(name: str) -> str:
    # A name that is written in one way only stands in the path itself: aiohttp asks the path that
    # begins with most fixed letters first, and ComfyUI has the folder's.
    folder = name if is_plain(name) else f"{{pack:{written(name)}}}"
    return f"/extensions/{folder}/docs/{_FILE}"


def _served_names() -> set[str]:
    """Under which names the editor asks for the pack's files: ComfyUI's, and cut at a dot."""
    folders = web_folders().items()
    names = {name for name, folder in folders if Path(folder).resolve() == WEB.resolve()}
    return {one for name in names for one in (name, name.split(".")[0])}
