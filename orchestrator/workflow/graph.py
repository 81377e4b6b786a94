"""Graphs, ComfyUI's API format of a workflow: read and walk, with no I/O."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container, Iterator
from enum import Enum
from typing import Any, TypeAlias

from ..errors import GraphError
from ..protocol import Graph
from ..protocol.decoding import is_whole

# (id of the node that gives, number of its output slot)
Link: TypeAlias = tuple[str, int]


class Form(Enum):
    """The two forms of a workflow file."""

    GRAPH = "graph"  # {node_id: {class_type, inputs}}, what a server takes
    CANVAS = "canvas"  # what the editor saves: nodes with places, links, groups


def sha256_of(text: str) -> str:
    """The lower-case hexadecimal SHA-256 of a workflow's text in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()


def read_json(text: str, name: str = "the workflow") -> Any:
    """Decode a workflow's text; raises GraphError with the place where it is not JSON."""
    text = text.removeprefix("\ufeff")
    try:
        value = json.loads(text)
        whole = is_whole(text, value)
    except json.JSONDecodeError as error:
        raise GraphError(
            f"{name} is not JSON (line {error.lineno}, column {error.colno}: {error.msg}); "
            "save it again with ComfyUI's Save or Export (API)"
        ) from error
    except RecursionError as error:
        raise GraphError(f"{name} is nested too deeply to be a workflow") from error
    except ValueError as error:
        raise GraphError(f"{name} has a number in it that is too long to be one") from error
    if not whole:
        raise GraphError(f"{name} has half a character in a text (a lone surrogate)")
    return value


def form_of(data: Any, name: str = "the workflow") -> Form:
    """Say which form decoded JSON is in; raises GraphError where it is neither."""
    if isinstance(data, dict):
        if isinstance(data.get("nodes"), list):
            return Form.CANVAS
        if data and all(_is_node(node) for node in data.values()):
            return Form.GRAPH
        strange = [key for key, node in data.items() if not _is_node(node)]
        if len(strange) < len(data):
            raise GraphError(
                f"{name}: node {strange[0]} has no class_type; every entry of a graph is "
                '{"class_type": ..., "inputs": {...}}'
            )
    raise GraphError(
        f"{name} is no workflow: it is neither a canvas file (with a list of nodes) nor a graph "
        '({"1": {"class_type": ..., "inputs": {...}}, ...})'
    )


def parse_graph(data: Any, name: str = "the workflow") -> Graph:
    """Check decoded JSON to be a graph and copy it, ids as text and every node with `inputs`.

    Raises GraphError naming the node and the field that is wrong, also where links run in a circle.
    """
    if form_of(data, name) is not Form.GRAPH:
        raise GraphError(f"{name} is a canvas file, and a graph is needed here")
    graph: Graph = {str(key): _parse_node(name, key, node) for key, node in data.items()}
    order(graph)
    return graph


def is_link(value: Any) -> bool:
    """True for `[node_id, output_slot]`, the way an input names another node's output."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], int)
        and not isinstance(value[1], bool)
    )


def links(graph: Graph, node_id: str) -> Iterator[tuple[str, Link]]:
    """The linked inputs of a node as (input name, link), in the order of the file."""
    for name, value in graph[node_id]["inputs"].items():
        if is_link(value):
            yield name, (value[0], value[1])


def title(graph: Graph, node_id: str) -> str:
    """The title that the editor gave a node, else its class."""
    node = graph[node_id]
    return (node.get("_meta") or {}).get("title") or str(node["class_type"])


def owner(graph: Container[str], *ids: str | None) -> str | None:
    """Whose node an event is about: the first of its ids that the submitted graph has, or None.

    A node that was expanded to others names them first, and itself in `display_node`.
    """
    return next((one for one in ids if one is not None and one in graph), None)


def ancestors(graph: Graph, node_id: str) -> list[str]:
    """The nodes that `node_id` depends on and itself, the nearest first, each once."""
    found = [node_id]
    seen = {node_id}
    for current in found:
        for _, (source, _) in links(graph, current):
            if source in graph and source not in seen:
                seen.add(source)
                found.append(source)
    return found


def order(graph: Graph) -> list[str]:
    """Every node after those it depends on; raises GraphError naming the nodes of a circle."""
    done: dict[str, None] = {}
    for start in graph:
        _visit(graph, start, done)
    return list(done)


# --------------------------------------------------------------------------- reading


def _is_node(value: Any) -> bool:
    return isinstance(value, dict) and "class_type" in value


def _parse_node(name: str, node_id: Any, node: dict[str, Any]) -> dict[str, Any]:
    where = f"{name}: node {node_id}"
    if not isinstance(node["class_type"], str) or not node["class_type"]:
        raise GraphError(f"{where}: class_type is {node['class_type']!r}, and must be a name")
    inputs = node.get("inputs", {})
    if not isinstance(inputs, dict) or not all(isinstance(key, str) for key in inputs):
        raise GraphError(f"{where} ({node['class_type']}): inputs must be an object of names")
    meta = node.get("_meta")
    if meta is not None and not isinstance(meta, dict):
        raise GraphError(f"{where} ({node['class_type']}): _meta must be an object")
    return {**node, "inputs": {key: _parse_value(value) for key, value in inputs.items()}}


def _parse_value(value: Any) -> Any:
    """Numbers as node ids appear in hand-written graphs; the server knows ids as text only."""
    if isinstance(value, list) and len(value) == 2 and type(value[0]) is int:
        return [str(value[0]), value[1]]
    return value


def _visit(graph: Graph, start: str, done: dict[str, None]) -> None:
    """Depth first with a stack of its own: graphs may be deeper than Python's recursion."""
    if start in done:
        return
    path: dict[str, Iterator[tuple[str, Link]]] = {start: links(graph, start)}
    while path:
        current = next(reversed(path))
        for _, (source, _) in path[current]:
            if source in path:
                circle = [*list(path)[list(path).index(source) :], source]
                raise GraphError(f"the links run in a circle: {' <- '.join(circle)}; cut one")
            if source in graph and source not in done:
                path[source] = links(graph, source)
                break
        else:
            done[current] = None
            del path[current]
