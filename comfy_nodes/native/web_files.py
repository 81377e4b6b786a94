"""The files of the pack for an editor, whatever the pack's folder is called.

ComfyUI serves a pack's files below its folder's name, and aiohttp does not find them there where
the name has a blank, a parenthesis or a letter that is not ASCII: it compares the name with
percent signs to an address without (aiohttp 3.14), or the other way round. "spriteworks (1)" would
have neither scripts nor templates. So what ComfyUI cannot find is served here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

# These are written in one way only.
_PLAIN = re.compile(r"[A-Za-z0-9_.~-]*")
# What JavaScript's encodeURIComponent leaves as it is, besides what Python's quote leaves.
_LEFT = "!*'()"


def serve_web(web: Path, workflows: Path) -> None:
    """Let ComfyUI's server, where it is loaded, answer for both folders under the pack's name.

    `web` is the folder that ComfyUI serves to the canvas for it, `workflows` that of its templates.
    """
    for name, folder in web_folders().items():
        if Path(folder) == web and not is_plain(name):
            for prefix, served in (("/extensions", web), ("/workflow_templates", workflows)):
                path = f"{prefix}/{{pack:{written(name)}}}/{{file:.+}}"
                serve(path, partial(_file_asked, served))


def web_folders() -> Mapping[str, str]:
    """The folders that ComfyUI serves to the canvas, by the names of their packs."""
    found: Mapping[str, str] = getattr(sys.modules.get("nodes"), "EXTENSION_WEB_DIRS", {})
    return found


def serve(path: str, find: Callable[[Mapping[str, str]], Path | None]) -> None:
    """Let ComfyUI's server answer a path with a file; scripts use nodes without that server.

    `path` is aiohttp's, and `find` gets what stands for the names in it; None is a 404. A path that
    is answered already stays as it is: two installations may share a name.
    """
    server = getattr(sys.modules.get("server"), "PromptServer", None)
    routes = getattr(getattr(server, "instance", None), "routes", None)
    if routes is None or path in {getattr(one, "path", None) for one in routes}:
        return
    from aiohttp import web

    async def answer(request: Any) -> Any:
        found = find(request.match_info)
        if found is None:
            raise web.HTTPNotFound
        return web.FileResponse(found)

    routes.get(path)(answer)


def is_plain(name: str) -> bool:
    """Whether a folder's name is written in an address in one way only, and found by ComfyUI."""
    return _PLAIN.fullmatch(name) is not None


def written(name: str) -> str:
    """A pattern for a folder's name in an address, as it is written or as aiohttp reads it."""
    read = name.replace("%", "%25")
    spelled = {read, quote(name, safe=""), quote(name, safe=_LEFT)}
    patterns = "|".join(sorted(map(re.escape, spelled)))
    # Braces are aiohttp's own.
    return patterns.replace(r"\{", r"\x7b").replace(r"\}", r"\x7d")


def file_in(folder: Path, path: str) -> Path | None:
    """A file by its path inside a folder; None where it leads out or is none."""
    root = folder.resolve()
    found = (root / path).resolve()
    return found if found.is_relative_to(root) and found.is_file() else None


def _file_asked(folder: Path, asked: Mapping[str, str]) -> Path | None:
    return file_in(folder, asked["file"])
