"""Values put back into canvas files, so that a picture brings its layout along, with no I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import CanvasError
from ..protocol import Graph
from .canvas import SUBGRAPH_INPUT, canvas_to_graph, links_of, shown_widgets, widget_places
from .node_info import ObjectInfo, node_info


def with_values(
    canvas: Mapping[str, Any], graph: Graph, object_info: ObjectInfo
) -> dict[str, Any] | None:
    """A copy of a canvas file that says what `graph` says: its own graph with other values.

    Widgets get their values, and links that gave way to a value are cut; places, titles, notes and
    groups stay. None where a canvas file cannot say it: texts with `//` are comments there, and the
    uses of one subgraph share what it does not show.
    """
    try:
        return Layout(canvas, object_info).filled(graph)
    except CanvasError:
        return None


class Layout:
    """One canvas file that is filled with values again and again."""

    def __init__(self, canvas: Mapping[str, Any], object_info: ObjectInfo) -> None:
        self._info = object_info
        self._text = json.dumps(canvas)
        self._graph = canvas_to_graph(canvas, object_info)
        # inputs that were seen to take values together and give them back
        self._proven: set[frozenset[tuple[str, str]]] = set()

    def filled(self, graph: Graph) -> dict[str, Any] | None:
        """What `with_values` says; reading it back, most of the work, only where that is needed."""
        if _classes(graph) != _classes(self._graph):
            return None
        result: dict[str, Any] = json.loads(self._text)
        changes = list(_changes(self._graph, graph))
        places = frozenset((node_id, name) for node_id, name, _ in changes)
        try:
            for node_id, name, value in changes:
                _put(result, node_id, name, value, self._info)
            if places in self._proven and all(_is_plain(value) for _, _, value in changes):
                return result
            # read back, so that a picture never carries a layout that would make another one
            if not self._says(canvas_to_graph(result, self._info), graph):
                return None
        except CanvasError:
            return None
        self._proven.add(places)
        return result

    def _says(self, read: Graph, graph: Graph) -> bool:
        """Whether two graphs mean the same: one may name what the other leaves to its default."""
        return read.keys() == graph.keys() and all(
            self._without_defaults(node, graph[node_id]) == graph[node_id]
            for node_id, node in read.items()
        )

    def _without_defaults(
        self, node: Mapping[str, Any], other: Mapping[str, Any]
    ) -> dict[str, Any]:
        """A node without optional inputs that the other lacks and that are at their default."""
        entries = node_info(self._info, node["class_type"]).by_name

        def is_left_out(name: str, value: Any) -> bool:
            entry = entries.get(name)
            if entry is None or entry.required or name in other["inputs"]:
                return False
            return bool(entry.extra.get("default") == value)

        inputs = {
            name: value for name, value in node["inputs"].items() if not is_left_out(name, value)
        }
        return {**node, "inputs": inputs}


def _classes(graph: Graph) -> dict[str, Any]:
    return {node_id: node["class_type"] for node_id, node in graph.items()}


def _is_plain(value: Any) -> bool:
    """Say whether a value has nothing that the editor reads in a way of its own."""
    return not isinstance(value, str) or _PLAIN.fullmatch(value) is not None


# Letters of any script, digits, blanks and what stands between words: no slash, brace or backslash.
_PLAIN = re.compile(r"[\w .,:;!?'\"()+-]*")


def _changes(before: Graph, after: Graph) -> Iterator[tuple[str, str, Any]]:
    """(node id, input, value) of every input that is not as it was."""
    for node_id, node in after.items():
        inputs = before[node_id]["inputs"] if node_id in before else {}
        for name, value in node["inputs"].items():
            if name not in inputs or inputs[name] != value:
                yield node_id, name, value


def _put(
    canvas: Mapping[str, Any], node_id: str, name: str, value: Any, object_info: ObjectInfo
) -> None:
    scope, node = _find(canvas, node_id)
    slots = node.get("inputs") or ()
    slot: dict[str, Any] = next((slot for slot in slots if slot.get("name") == name), {})
    link = links_of(scope).get(slot.get("link"))
    if link is not None and link.origin_id == SUBGRAPH_INPUT and ":" in node_id:
        # the value is on the node that uses the subgraph
        shown = scope["inputs"][link.origin_slot]["name"]
        _put(canvas, node_id.rpartition(":")[0], shown, value, object_info)
        return
    if link is not None:
        _cut(scope, slot)
    _write(node, name, value, object_info)


def _find(canvas: Mapping[str, Any], node_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The canvas or the subgraph that holds a node of the graph, and that node."""
    scope: Any = canvas
    *users, last = node_id.split(":")
    for user in users:
        kind = _node(scope, user)["type"]
        scope = next(found for found in canvas["definitions"]["subgraphs"] if found["id"] == kind)
    return scope, _node(scope, last)


def _node(scope: Mapping[str, Any], number: str) -> dict[str, Any]:
    found: dict[str, Any] = next(node for node in scope["nodes"] if str(node["id"]) == number)
    return found


def _cut(scope: dict[str, Any], slot: dict[str, Any]) -> None:
    """Take the link at an input away."""
    number, slot["link"] = slot["link"], None
    scope["links"] = [raw for raw in scope["links"] if raw and _number(raw) != number]
    for node in scope["nodes"]:
        for output in node.get("outputs") or ():
            output["links"] = [link for link in output.get("links") or () if link != number]


def _number(raw: Any) -> Any:
    return raw["id"] if isinstance(raw, dict) else raw[0]


def _write(node: dict[str, Any], name: str, value: Any, object_info: ObjectInfo) -> None:
    """Put a value where the editor keeps that of a widget."""
    saved = node.get("widgets_values")
    if node["type"] in object_info:
        info = node_info(object_info, node["type"])
        places = widget_places(info, saved if isinstance(saved, list) else ())
        if isinstance(value, str) and name in places:
            value = _escaped(value) if info.by_name[name].extra.get("dynamicPrompts") else value
    else:
        places = {shown: place for place, shown in enumerate(shown_widgets(node))}
    if isinstance(saved, dict):
        saved[name] = value
    elif saved and places.get(name, len(saved)) < len(saved):
        saved[places[name]] = value
    else:
        raise CanvasError(f"the canvas file holds no value for {name} of node {node['id']}")


def _escaped(text: str) -> str:
    """Braces that are meant, where the editor would pick one of several texts."""
    return text.replace("{", "\\{").replace("}", "\\}")
