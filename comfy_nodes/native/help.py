"""The nodes' help pages, for editors in any language.

An editor asks for `docs/NODE/LANGUAGE.md` first, also in English, and for `docs/NODE.md` only after
that was refused. Each refusal is an error in the browser's console, so every language is answered.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

WEB = Path(__file__).parents[1] / "web"
PAGES = WEB / "docs"

# No name here has a slash or two dots, so nothing leads out of the folder.
_PATH = "/extensions/{}/docs/{{node:Spriteworks[A-Za-z]+}}/{{file:[A-Za-z-]+[.](?:md|png)}}"


def help_file(node: str, file: str) -> Path | None:
    """The page or picture of a node; the English page for a language that has none."""
    for found in (PAGES / node / file, PAGES / f"{node}.md"):
        if found.suffix == Path(file).suffix and found.is_file():
            return found
    return None


def serve_help() -> None:
    """Let ComfyUI's server answer for help pages, where it is loaded; scripts use nodes without."""
    server = getattr(sys.modules.get("server"), "PromptServer", None)
    routes = getattr(getattr(server, "instance", None), "routes", None)
    if routes is None:
        return
    from aiohttp import web

    async def answer(request: Any) -> Any:
        found = help_file(request.match_info["node"], request.match_info["file"])
        if found is None:
            raise web.HTTPNotFound
        return web.FileResponse(found)

    # A path can be given once only, and two installations may share a name.
    given = {getattr(one, "path", None) for one in routes}
    for path in sorted({_PATH.format(name) for name in _served_names()} - given):
        routes.get(path)(answer)


def _served_names() -> set[str]:
    """Under which names the editor asks for the pack's files: ComfyUI's, and cut at a dot."""
    folders = getattr(sys.modules.get("nodes"), "EXTENSION_WEB_DIRS", {})
    names = {name for name, folder in folders.items() if Path(folder).resolve() == WEB.resolve()}
    # In a path braces would be a pattern.
    return {one for name in names for one in (name, name.split(".")[0]) if not set("{}") & set(one)}
