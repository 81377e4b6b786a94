"""Several copies of the pack in one ComfyUI: the first one loaded is used, the others stand aside.

Two that both gave their nodes would mix: ComfyUI would take the nodes of the last one, and the
canvas the JavaScript of the first.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

# As ComfyUI found it: a person knows a link by its own name.
_FOLDER = Path(os.path.abspath(__file__)).parent
# The module in which ComfyUI keeps its nodes, and what it calls those of packs.
_HOST = "nodes"
_PACKS = "custom_nodes."


def folder() -> Path:
    """Where this copy lies."""
    return _FOLDER.parent


def folder_in_use() -> Path | None:
    """Where another copy lies whose nodes the host has by now; None where there is none."""
    node = _node_of_another()
    return None if node is None else _package_of(node).parent


def web_folder() -> Path:
    """What this copy has for the canvas; of one that is not used, what tells so."""
    return _FOLDER / ("web" if _node_of_another() is None else "web_of_unused")


def web_directory(name: str) -> str:
    """The folder that is served to the canvas for the pack called `name` in custom_nodes.

    That is `web_folder`, unless the copy that is used has the same name, under which ComfyUI then
    goes on to serve that one's.
    """
    node = _node_of_another()
    is_namesake = getattr(node, "RELATIVE_PYTHON_MODULE", "") == f"{_PACKS}{name}"
    return str(_package_of(node) / "web" if is_namesake else web_folder())


def _node_of_another() -> Any:
    """A node class of another copy that the host has, or None."""
    classes = getattr(sys.modules.get(_HOST), "NODE_CLASS_MAPPINGS", {})
    return next(filter(_is_of_another, classes.values()), None)


def _is_of_another(node: Any) -> bool:
    """Whether a class comes from a package like this one, and not from this one."""
    package = str(getattr(node, "__module__", "")).rpartition(".")[0]
    # A clone is "PATH.comfy_nodes"; what Spriteworks puts into a ComfyUI "spriteworks_comfy_nodes".
    return package.endswith(_FOLDER.name) and package != __package__


def _package_of(node: Any) -> Path:
    file = sys.modules[node.__module__].__file__
    assert file is not None
    return Path(os.path.abspath(file)).parent
