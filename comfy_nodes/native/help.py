"""The nodes' help pages, for editors in any language.

An editor asks for `docs/NODE/LANGUAGE.md` first, also in English, and for `docs/NODE.md` only after
that was refused. Each refusal is an error in the browser's console, so every language is answered.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

PAGES = Path(__file__).parents[1] / "web" / "docs"

# The pack's folder may have any name, and an editor cuts some of them short: nodes tell whose page
# it is. No name has a slash, so none leaves the folder.
_PATH = "/extensions/{folder}/docs/{node:Spriteworks[A-Za-z]+}/{file:[A-Za-z-]+[.](?:md|png)}"


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
    # Two installations of the pack share the route: a path can be given once only.
    if routes is None or any(getattr(one, "path", None) == _PATH for one in routes):
        return
    from aiohttp import web

    async def answer(request: Any) -> Any:
        found = help_file(request.match_info["node"], request.match_info["file"])
        return web.HTTPNotFound() if found is None else web.FileResponse(found)

    routes.get(_PATH)(answer)
