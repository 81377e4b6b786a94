"""Canvas files turned into the graphs that ComfyUI's editor would send, with no I/O.

Measured against what the editor made of hundreds of files (tests/unit/test_conversion_judge.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import CanvasError, UnknownNodeClass
from ..protocol import Graph
from .canvas import Canvas, CanvasNode, Definition, Mode, NodeGraph, read_canvas
from .catalogue import Catalogue, NodeClass
from .editor import (
    ALIAS,
    GETTERS,
    NOTES,
    PREFIX,
    PREFIXED,
    PRIMITIVE,
    REPLACES,
    REROUTES,
    SETTERS,
)
from .graph import Form, form_of, order, parse_graph
from .group_nodes import has_groups, without_group_nodes
from .inputs import NodeInput
from .promotion import SubgraphNode, read_host
from .roles import seed_of
from .texts import Named, Texts, Where
from .tracing import CanvasPlace, OutputSlot, Tracer, Value, given_name, has_slot
from .widgets import ABSENT, Held, held_values

# Subgraphs may stand in subgraphs; deeper than any file that was met.
_DEEPEST = 50


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """A workflow as a graph, with its texts as they were written."""

    graph: Graph
    # what was left out, and what a graph cannot say
    notes: tuple[str, ...] = ()
    # what becomes of its texts when it is sent
    texts: Texts = field(default_factory=Texts)


def convert(data: Any, catalogue: Catalogue, name: str = "the workflow") -> Conversion:
    """Turn a decoded canvas file into the graph that the editor would send.

    Node ids are those of the file; the nodes of a subgraph get "5:2", node 2 inside node 5. Raises
    CanvasError where the file is damaged or uses what cannot be turned faithfully, and
    UnknownNodeClass where the server lacks a class.
    """
    if form_of(data, name) is not Form.CANVAS:
        raise CanvasError(f"{name} is a graph already, and a canvas file is needed here")
    canvas = read_canvas(data, name)
    if has_groups(data):
        canvas = read_canvas(without_groups(data, catalogue, name), name)
    converter = Converter(canvas, catalogue, name)
    graph = dict(converter.nodes(converter.top))
    for node in graph.values():
        _drop_dead_links(node["inputs"], graph)
    # refuses circles
    order(graph)
    return Conversion(
        graph=graph,
        notes=tuple(dict.fromkeys(converter.notes)),
        texts=converter.texts(),
    )


def load(data: Any, catalogue: Catalogue, name: str = "the workflow") -> Conversion:
    """A decoded workflow of either form as a graph; one in API format is taken as it stands.

    Raises GraphError and its kin, also where nothing in it is active.
    """
    if form_of(data, name) is Form.GRAPH:
        return Conversion(graph=parse_graph(data, name))
    conversion = convert(data, catalogue, name)
    if not conversion.graph:
        raise CanvasError(f"{name} has no active node; unmute or add some")
    return conversion


def canvas_to_graph(data: Any, catalogue: Catalogue, name: str = "the workflow") -> Graph:
    """The graph that the editor would send, its choices made by the graph's own seed."""
    conversion = convert(data, catalogue, name)
    return conversion.texts.sent(conversion.graph, seed_of(conversion.graph))


def without_groups(
    data: Mapping[str, Any], catalogue: Catalogue, name: str = "the workflow"
) -> Mapping[str, Any]:
    """A decoded canvas file with subgraphs in place of group nodes; raises CanvasError."""
    try:
        return without_group_nodes(data, catalogue)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        what = f"{type(error).__name__}: {error}"
        raise CanvasError(
            f"{name} has a group node that cannot be taken apart ({what}); convert it to a "
            "subgraph in ComfyUI, or use Export (API)"
        ) from error


class Converter:
    """One conversion: what it reads from, so that it need not be handed around."""

    def __init__(self, canvas: Canvas, catalogue: Catalogue, name: str) -> None:
        self.canvas = canvas
        self.catalogue = catalogue
        self.name = name
        self.notes: list[str] = []
        self.top = _place("", canvas.sheet)
        self._tracer = Tracer(name, catalogue, self)
        self._hosts: dict[tuple[int, str], SubgraphNode | None] = {}
        self._widgets: dict[tuple[int, str], dict[str, Held]] = {}
        self._places: dict[str, CanvasPlace] = {}
        self._primitives: dict[int, dict[str, dict[str, CanvasNode]]] = {}
        self._replaced: set[tuple[str, str]] | None = None
        self._prompts: dict[Where, bool] = {}
        self._file_names: set[Where] = set()

    def nodes(self, place: CanvasPlace) -> Iterator[tuple[str, dict[str, Any]]]:
        """(id, node) of everything that runs."""
        for node in place.sheet.nodes.values():
            inside = self.inside(place, node)
            if inside is not None:
                # as the editor: only on the canvas itself is a subgraph switched off as a whole,
                # further within the modes of its own nodes count
                if node.mode is Mode.ACTIVE or place.outer is not None:
                    yield from self.nodes(inside)
            elif node.mode is Mode.ACTIVE and not self._is_of_the_editor(place, node):
                yield f"{place.prefix}{node.id}", self.node(place, node)

    def node(self, place: CanvasPlace, node: CanvasNode) -> dict[str, Any]:
        """One node of the graph."""
        if node.kind not in self.catalogue:
            raise UnknownNodeClass(
                f"{self.name}: node {place.prefix}{node.id}: {self.catalogue.unknown(node.kind)}"
            )
        node_class = self.catalogue.node_class(node.kind)
        held = self.held(place.sheet, node)
        inputs = {
            entry.name: spelled(entry.value, entry.input)
            for entry in held.values()
            if entry.sent and entry.value is not ABSENT
        }
        self._note_made(place, node, node_class)
        inputs |= self._from_primitives(place, node, held)
        given = self._given(place, node, held)
        self._note_texts(place, node, node_class, given)
        title = node.title or node_class.display_name
        return {"class_type": node.kind, "inputs": inputs | given, "_meta": {"title": title}}

    def texts(self) -> Texts:
        """What becomes of the texts of the nodes so far."""
        names = tuple(self._named(self.top)) if self._file_names else ()
        return Texts(prompts=self._prompts, file_names=frozenset(self._file_names), names=names)

    # ----------------------------------------------------------------- what nodes are

    def inside(self, place: CanvasPlace, node: CanvasNode) -> CanvasPlace | None:
        """The use of a subgraph that a node is, or None."""
        host = self._host(place.sheet, node)
        if host is None:
            return None
        prefix = f"{place.prefix}{node.id}:"
        if prefix.count(":") > _DEEPEST:
            raise CanvasError(f"{self.name}: the subgraph of node {node.id} contains itself")
        if prefix not in self._places:
            self._places[prefix] = _place(prefix, host.definition.sheet, host, place)
        return self._places[prefix]

    def widgets(self, definition: Definition, node: CanvasNode) -> Mapping[str, Held]:
        """What the widgets of a node within a subgraph hold."""
        return self.held(definition.sheet, node)

    def host(self, definition: Definition, node: CanvasNode) -> SubgraphNode | None:
        """A node within a subgraph that uses one itself, or None."""
        return self._host(definition.sheet, node)

    def held(self, sheet: NodeGraph, node: CanvasNode) -> dict[str, Held]:
        """What a node's widgets hold, by name; nothing for a class that the server lacks."""
        key = (id(sheet), node.id)
        if key not in self._widgets:
            found: dict[str, Held] = {}
            if node.kind in self.catalogue:
                marked = frozenset([slot.widget for slot in node.inputs if slot.widget])
                node_class = self.catalogue.node_class(node.kind)
                found = {one.name: one for one in held_values(node_class, node.values, marked)}
            self._widgets[key] = found
        return self._widgets[key]

    def _host(self, sheet: NodeGraph, node: CanvasNode) -> SubgraphNode | None:
        definition = self.canvas.definitions.get(node.kind)
        if definition is None:
            return None
        key = (id(sheet), node.id)
        if key not in self._hosts:
            # a subgraph that contains itself asks for itself here
            self._hosts[key] = None
            self._hosts[key] = read_host(node, definition, self)
        return self._hosts[key]

    def _is_of_the_editor(self, place: CanvasPlace, node: CanvasNode) -> bool:
        """True for a node that lives in the editor only, and is left out."""
        if node.kind in self.catalogue:
            return False
        if node.kind in NOTES | REROUTES | SETTERS | GETTERS or node.kind == PRIMITIVE:
            return True
        given = any(link.origin == node.id for link in place.sheet.links.values())
        if node.has_links or given:
            return False
        self.notes.append(
            f"node {place.prefix}{node.id} ({node.kind}) is left out: the server does not know it, "
            "and no link leads to it or from it"
        )
        return True

    # ----------------------------------------------------------------- inputs

    def _from_primitives(
        self, place: CanvasPlace, node: CanvasNode, held: Mapping[str, Held]
    ) -> dict[str, Any]:
        """The values of primitives, which go into the widgets that they are linked to."""
        found = {}
        for name, primitive in self._primitives_of(place.sheet).get(node.id, {}).items():
            if name not in held:
                continue
            overrides = place.host.overrides if place.host else {}
            value = overrides.get((primitive.id, PRIMITIVE), ABSENT)
            if value is ABSENT and self._is_replaced(place, primitive):
                continue
            if value is ABSENT:
                values = primitive.values if isinstance(primitive.values, tuple) else ()
                value = _turned_to(held[name].input, values[0]) if values else ABSENT
            if value is not ABSENT:
                found[name] = spelled(value, held[name].input)
                if primitive.properties.get(REPLACES):
                    self._file_names.add((f"{place.prefix}{node.id}", name))
        return found

    def _is_replaced(self, place: CanvasPlace, primitive: CanvasNode) -> bool:
        """Whether an input of the subgraph has taken a primitive's place in it.

        The editor puts one there where any of the nodes that use the subgraph shows the primitive.
        """
        if place.host is None:
            return False
        if self._replaced is None:
            sheets = [self.canvas.sheet, *(one.sheet for one in self.canvas.definitions.values())]
            hosts = [self._host(sheet, node) for sheet in sheets for node in sheet.nodes.values()]
            self._replaced = {
                (host.definition.id, inner)
                for host in hosts
                if host is not None
                for inner, name in host.overrides
                if name == PRIMITIVE
            }
        return (place.host.definition.id, primitive.id) in self._replaced

    def _primitives_of(self, sheet: NodeGraph) -> dict[str, dict[str, CanvasNode]]:
        """{node: {input: the primitive that is linked to it}} of a sheet."""
        found = self._primitives.get(id(sheet))
        if found is None:
            found = {}
            for number, link in sheet.links.items():
                origin = sheet.nodes.get(link.origin)
                target = sheet.nodes.get(link.target)
                if origin is None or origin.kind != PRIMITIVE or target is None:
                    continue
                for slot in target.inputs:
                    if slot.link == number:
                        found.setdefault(target.id, {})[slot.name] = origin
            self._primitives[id(sheet)] = found
        return found

    def _given(
        self, place: CanvasPlace, node: CanvasNode, held: Mapping[str, Held]
    ) -> dict[str, Any]:
        """What comes from elsewhere: by links, and from the node that uses the subgraph."""
        node_class = self.catalogue.node_class(node.kind)
        overrides = place.host.overrides if place.host else {}
        found = {
            name: spelled(value, held[name].input)
            for (inner, name), value in overrides.items()
            if inner == node.id and name in held
        }
        for slot in node.inputs:
            if slot.link is None or slot.name in found:
                continue
            if not has_slot(node_class, slot, held):
                continue
            source = self._tracer.source(place, node, slot)
            if isinstance(source, OutputSlot):
                found[slot.name] = [source.node_id, source.slot]
            elif isinstance(source, Value) and source.value is not ABSENT:
                entry = held[slot.name].input if slot.name in held else None
                found[slot.name] = spelled(source.value, entry)
        return found

    # ----------------------------------------------------------------- texts and notes

    def _note_texts(
        self, place: CanvasPlace, node: CanvasNode, node_class: NodeClass, given: Mapping[str, Any]
    ) -> None:
        """Keep which of the node's own texts change when they are sent."""
        for name in node_class.prompts:
            if name not in given:
                self._prompts[f"{place.prefix}{node.id}", name] = True
        if node.kind in PREFIXED and PREFIX in node_class.by_name and PREFIX not in given:
            self._file_names.add((f"{place.prefix}{node.id}", PREFIX))

    def _named(self, place: CanvasPlace) -> Iterator[Named]:
        """The nodes that a file name can take values from, subgraphs before their users."""
        for node in place.sheet.nodes.values():
            inside = self.inside(place, node)
            if inside is not None:
                yield from self._named(inside)
            held = self.held(place.sheet, node)
            values = {entry.name: entry.value for entry in held.values()}
            values |= self._from_primitives(place, node, held)
            if inside is not None and inside.host is not None:
                shown = (entry for entry in inside.host.inputs if entry.is_widget)
                values |= {entry.name: entry.value for entry in shown}
            node_id = f"{place.prefix}{node.id}"
            alias = str(node.properties.get(ALIAS) or "")
            title = node.title or self._display_name(node)
            yield Named(alias=alias, title=title, node_id=node_id, values=values)

    def _display_name(self, node: CanvasNode) -> str:
        known = node.kind in self.catalogue
        return self.catalogue.node_class(node.kind).display_name if known else node.kind

    def _note_made(self, place: CanvasPlace, node: CanvasNode, node_class: NodeClass) -> None:
        for name in node_class.made_while_sending:
            self.notes.append(
                f"node {place.prefix}{node.id} ({node.kind}): the editor makes {name} when it "
                "sends the graph, from what it shows; only the saved value goes along"
            )


def _turned_to(entry: NodeInput | None, value: Any) -> Any:
    """A value as the widget has it that a primitive puts it into."""
    return value if entry is None else entry.turned_to(value)


def spelled(value: Any, entry: NodeInput | None) -> Any:
    """A value as it stands in a graph: a list is wrapped, since a bare one is a link."""
    if not isinstance(value, list):
        return value
    if entry is not None and entry.type == "CURVE":
        return {"__type__": "CURVE", "__value__": value}
    return {"__value__": value}


def _place(
    prefix: str,
    sheet: NodeGraph,
    host: SubgraphNode | None = None,
    outer: CanvasPlace | None = None,
) -> CanvasPlace:
    setters = {
        given_name(node): node
        for node in sheet.nodes.values()
        if node.kind in SETTERS and node.mode is Mode.ACTIVE
    }
    return CanvasPlace(prefix=prefix, sheet=sheet, host=host, outer=outer, setters=setters)


def _drop_dead_links(inputs: dict[str, Any], graph: Graph) -> None:
    """Inputs that are linked to nodes which do not run are left out, as the editor does."""
    for name, value in list(inputs.items()):
        if isinstance(value, list) and len(value) == 2 and value[0] not in graph:
            del inputs[name]
