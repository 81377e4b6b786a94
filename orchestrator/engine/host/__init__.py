"""Our own implementation of the part of `comfy_api.latest` that nodes use.

`install()` puts it in place as `comfy_api` and `comfy_api.latest` in this process only. Nodes of
the pack import it by those names and cannot tell the difference; the engine's own nodes derive from
`CoreNode`, which only changes how `/object_info` shows them. A node that runs reaches its host
through `context()`:

    host = context()
    host.progress(step, steps, lambda: image)  # raises InterruptedByUser when asked to stop
    host.folders.find("checkpoints", name)     # a path, or a ModelError naming what there is

Not supported, and refused with an error that says so: node expansion and execution blocking. Lazy
inputs are evaluated like all others.
"""

from __future__ import annotations

import sys
from types import ModuleType

from comfy_nodes import showing

from ..stopping import InterruptedByUser
from . import io, latest, ui
from .canvas import NoCanvas
from .context import Context, activate, context, use_folders
from .node import ComfyNode, CoreNode, NodeOutput, UIOutput
from .schema import Hidden, HiddenHolder, Schema

__all__ = [
    "ComfyNode",
    "Context",
    "CoreNode",
    "Hidden",
    "HiddenHolder",
    "InterruptedByUser",
    "NodeOutput",
    "Schema",
    "UIOutput",
    "activate",
    "context",
    "install",
    "io",
    "ui",
    "use_folders",
]


def install() -> None:
    """Make `from comfy_api.latest import io, ui, ComfyExtension` work in this process.

    Raises RuntimeError where a real ComfyUI is loaded already: two hosts would mix their types.
    """
    present = sys.modules.get("comfy_api.latest")
    if present is latest:
        return
    if present is not None:
        raise RuntimeError("ComfyUI itself is loaded in this process; the engine needs its own")
    package = ModuleType("comfy_api", "Spriteworks' embedded engine in the place of ComfyUI's API.")
    package.__path__ = []
    package.latest = latest  # type: ignore[attr-defined]
    sys.modules.update({"comfy_api": package, "comfy_api.latest": latest})
    showing.use(NoCanvas())
