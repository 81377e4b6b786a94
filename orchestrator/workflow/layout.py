"""Values put back into canvas files, so that a picture brings its layout along, with no I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import CanvasError
from ..protocol import Graph
from .canvas import BORDER_IN, CanvasNode, read_canvas, with_unique_ids
from .catalogue import Catalogue
from .conversion import Converter, canvas_to_graph, convert, without_groups
from .texts import escaped
from .tracing import CanvasPlace


def with_values(
    canvas: Mapping[str, Any], graph: Graph, catalogue: Catalogue
) -> dict[str, Any] | None:
    """A copy of a canvas file that says what `graph` says: its own graph with other values.

    Widgets get their values, and links that gave way to a value are cut; places, titles, notes and
    groups stay. None where a canvas file cannot say it: texts with `//` are comments there, and the
    uses of one subgraph share what it does not show.
    """
    try:
        return Layout(canvas, catalogue).filled(graph)
    except CanvasError:
        return None


class Layout:
    """One canvas file that is filled with values again and again."""

    def __init__(self, canvas: Mapping[str, Any], catalogue: Catalogue) -> None:
        data = with_unique_ids(without_groups(canvas, catalogue))
        self._catalogue = catalogue
        self._text = json.dumps(data)
        self._graph = _written(data, catalogue)
        self._writer = _Writer(data, catalogue)
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
                self._writer.put(result, node_id, name, value)
            if places in self._proven and all(_is_plain(value) for _, _, value in changes):
                return result
            # read back, so that a picture never carries a layout that would make another one
            if not self._says(canvas_to_graph(result, self._catalogue), graph):
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
        entries = self._catalogue.node_class(node["class_type"]).by_name

        def is_left_out(name: str, value: Any) -> bool:
            entry = entries.get(name)
            if entry is None or entry.required or name in other["inputs"]:
                return False
            return entry.has_default and bool(entry.default == value)

        inputs = {
            name: value for name, value in node["inputs"].items() if not is_left_out(name, value)
        }
        return {**node, "inputs": inputs}


def _written(data: Mapping[str, Any], catalogue: Catalogue) -> Graph:
    """The canvas's graph; texts that would differ from run to run as they were written."""
    conversion = convert(data, catalogue)
    texts = conversion.texts
    result = texts.sent(conversion.graph, None)
    for node_id, name in {*texts.prompts, *texts.file_names}:
        text = conversion.graph[node_id]["inputs"].get(name)
        if isinstance(text, str) and ("{" in text or "%" in text):
            result[node_id]["inputs"][name] = text
    return result


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


class _Writer:
    """Where the values of one canvas file stand."""

    def __init__(self, data: Mapping[str, Any], catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._converter = Converter(read_canvas(data), catalogue, "the workflow")

    def put(self, canvas: dict[str, Any], node_id: str, name: str, value: Any) -> None:
        """Write an input's value into a copy of the file; raises CanvasError where none fits."""
        place = self._converter.top
        *users, last = node_id.split(":")
        for user in users:
            inside = self._converter.inside(place, place.sheet.nodes[user])
            assert inside is not None
            place = inside
        self._put(canvas, place, place.sheet.nodes[last], name, value)

    def _put(
        self, canvas: dict[str, Any], place: CanvasPlace, node: CanvasNode, name: str, value: Any
    ) -> None:
        host = place.host
        if host is not None and place.outer is not None:
            if (node.id, name) in host.overrides:
                number = host.places.get((node.id, name))
                self._write(canvas, place.outer, host.node, name, number, value)
                return
            shown = _shown(place, node, name)
            if shown is not None:
                # the value is on the node that uses the subgraph
                self._put(canvas, place.outer, host.node, shown, value)
                return
        inside = self._converter.inside(place, node)
        if inside is not None and inside.host is not None:
            number = next((one.place for one in inside.host.inputs if one.name == name), None)
        else:
            held = self._converter.held(place.sheet, node).get(name)
            number = None if held is None else held.place
            is_prompt = isinstance(value, str) and node.kind in self._catalogue
            if is_prompt and name in self._catalogue.node_class(node.kind).prompts:
                value = escaped(value)
        self._write(canvas, place, node, name, number, value)

    def _write(
        self,
        canvas: dict[str, Any],
        place: CanvasPlace,
        node: CanvasNode,
        name: str,
        number: int | None,
        value: Any,
    ) -> None:
        """Put a value where the editor keeps that of a widget, and cut the link to it."""
        scope = _scope(canvas, place)
        raw = next(found for found in scope["nodes"] if str(found["id"]) == node.id)
        for slot in raw.get("inputs") or ():
            if slot.get("name") == name and slot.get("link") is not None:
                _cut(scope, slot)
        saved = raw.get("widgets_values")
        if isinstance(saved, dict):
            saved[name] = value
        elif saved and number is not None and number < len(saved):
            saved[number] = value
        else:
            raise CanvasError(f"the canvas file holds no value for {name} of node {node.id}")


def _shown(place: CanvasPlace, node: CanvasNode, name: str) -> str | None:
    """The subgraph's input that is linked to an input of a node within, or None."""
    slot = next((slot for slot in node.inputs if slot.name == name), None)
    link = None if slot is None else place.sheet.links.get(slot.link)
    if link is None or link.origin != BORDER_IN or place.host is None:
        return None
    return place.host.inputs[link.origin_slot].name


def _scope(canvas: dict[str, Any], place: CanvasPlace) -> dict[str, Any]:
    """The canvas, or the subgraph of a place in it."""
    if place.host is None:
        return canvas
    wanted = place.host.definition.id
    found: dict[str, Any] = next(
        raw for raw in canvas["definitions"]["subgraphs"] if str(raw["id"]) == wanted
    )
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
