"""Choices that name files, found although they are spelt as on another system; with no I/O."""

from __future__ import annotations

import copy
from typing import Any

from ..protocol import Graph
from .catalogue import Catalogue
from .inputs import NodeInput


def same_file(value: Any, entry: NodeInput) -> Any:
    r"""The choice that means the same file, with / for \ or the other way; else `value` itself.

    Two that mean it are one too many.
    """
    if not isinstance(value, str) or not entry.options or value in entry.options:
        return value
    plain = _with_slashes(value)
    same = [one for one in entry.options if isinstance(one, str) and _with_slashes(one) == plain]
    return same[0] if len(same) == 1 else value


def with_known_files(graph: Graph, catalogue: Catalogue) -> Graph:
    """A copy of a graph with its files spelt as the server lists them."""
    result = copy.deepcopy(graph)
    for node in result.values():
        if node["class_type"] not in catalogue:
            continue
        inputs = node["inputs"]
        entries = catalogue.node_class(node["class_type"]).inputs_of(inputs)
        for name, value in inputs.items():
            if name in entries and isinstance(value, str):
                inputs[name] = same_file(value, entries[name])
    return result


def _with_slashes(name: str) -> str:
    return name.replace("\\", "/")
