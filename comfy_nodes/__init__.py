"""The ComfyUI node pack.

Importing this package imports nothing heavy: the nodes need `comfy_api`, which only ComfyUI and the
embedded engine have, while `settings`, `models` and `ops` are of use without either.
"""

from __future__ import annotations

from typing import Any


async def comfy_entrypoint() -> Any:
    """Give ComfyUI the extension that lists our nodes."""
    from .extension import SpriteworksExtension

    return SpriteworksExtension()
