"""Spriteworks' node pack for ComfyUI.

Importing this package is cheap and needs no ComfyUI: `settings`, `models`, `profiles` and `ops`
are used by the orchestrator's engine too. ComfyUI (or another host that provides
`comfy_api.latest`) asks `comfy_entrypoint` for the nodes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .extension import SpriteworksExtension


async def comfy_entrypoint() -> SpriteworksExtension:
    """The extension object from which a ComfyUI host takes the node classes."""
    from .extension import SpriteworksExtension
    from .native.help import serve_help

    serve_help()
    return SpriteworksExtension()
