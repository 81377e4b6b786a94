"""What a node's schema can say, by the ComfyUI at hand."""

from __future__ import annotations

import dataclasses
from typing import Any

from comfy_api.latest import io


def known(**wanted: Any) -> dict[str, Any]:
    """Those fields that this ComfyUI's `io.Schema` has; older ones lack some."""
    have = {one.name for one in dataclasses.fields(io.Schema)}
    return {name: value for name, value in wanted.items() if name in have}
