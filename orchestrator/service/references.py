"""References to assets in graphs: `{"__type": "core/ASSET", "info": {"id": ...}}`; with no I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..errors import BadValue
from ..protocol import Graph

TYPE = "core/ASSET"


def reference(asset_id: str) -> dict[str, Any]:
    """What stands in a graph for an asset."""
    return {"__type": TYPE, "info": {"id": asset_id}}


def is_reference(value: Any) -> bool:
    """Whether a value is meant to stand for an asset."""
    return isinstance(value, dict) and "__type" in value


def id_of(value: dict[str, Any]) -> str:
    """The asset that a reference names; raises BadValue where it names none."""
    info = value.get("info")
    found = info.get("id") if isinstance(info, dict) else None
    if value.get("__type") != TYPE or not isinstance(found, str) or not found:
        raise BadValue(
            f'a reference to an asset is {{"__type": "{TYPE}", "info": {{"id": ...}}}}, with the '
            "id that the upload gave"
        )
    return found


def references(graph: Graph) -> Iterator[tuple[str, str, str]]:
    """(node, input, asset) of every reference; raises BadValue for one that names no asset."""
    for node_id, node in graph.items():
        for name, value in node["inputs"].items():
            if is_reference(value):
                yield node_id, name, id_of(value)


def replaced(graph: Graph, name_of: Callable[[str], str]) -> Graph:
    """A copy whose references are names of files; `name_of` gives that of an asset."""
    copy = {key: {**node, "inputs": dict(node["inputs"])} for key, node in graph.items()}
    for node_id, name, asset in references(graph):
        copy[node_id]["inputs"][name] = name_of(asset)
    return copy
