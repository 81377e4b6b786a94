"""Spriteworks' node pack for ComfyUI.

Importing this package is cheap and needs no ComfyUI: `settings`, `models`, `profiles` and `ops`
are used by the orchestrator's engine too. ComfyUI (or another host that provides
`comfy_api.latest`) asks `comfy_entrypoint` for the nodes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comfy_api.latest import ComfyExtension


async def comfy_entrypoint() -> ComfyExtension:
    """The extension object from which a ComfyUI host takes the node classes."""
    from .copies import folder, folder_in_use, web_folder
    from .native.web_files import serve_web

    used = folder_in_use()
    if used is not None:
        serve_web(web_folder(), folder() / "workflows")
        from .unused import UnusedExtension

        return UnusedExtension(used)
    from .extension import SpriteworksExtension
    from .native.help import serve_help

    # Of two answers to one address the first is asked: for pages that is the one by language.
    serve_help()
    serve_web(web_folder(), folder() / "workflows")
    return SpriteworksExtension()
