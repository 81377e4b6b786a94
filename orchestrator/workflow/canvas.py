"""Canvas files, what the ComfyUI editor saves, turned into graphs, with no I/O.

Read are the schemas 0.4 (links as lists) and 1.0 (links as objects), with subgraphs. A canvas file
keeps widget values by position only, so a server's node classes are needed to name them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import CanvasError, UnknownNodeClass
from ..protocol import Graph
from .graph import Form, form_of, parse_graph
from .node_info import InputInfo, NodeInfo, ObjectInfo, node_info, unknown_class_message

# LiteGraph's node modes. Others (on event, on trigger) are not in use and count as active.
_MUTED, _BYPASSED = 2, 4

# Nodes that live in the editor only.
_NOTES = frozenset({"Note", "MarkdownNote"})
_REROUTE, _PRIMITIVE = "Reroute", "PrimitiveNode"

# Ids that stand for a subgraph's own inputs and outputs in its links.
SUBGRAPH_INPUT, _SUBGRAPH_OUTPUT = -10, -20

# What "control after generate" can hold; early editors saved true and false.
_CONTROL_VALUES = ("fixed", "increment", "decrement", "randomize", True, False, None)

# Reroutes, bypassed nodes and subgraph borders that one link may pass.
_LONGEST_DETOUR = 200

_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Link:
    """A link of a canvas file: where it comes from and where it goes."""

    origin_id: Any
    origin_slot: int
    target_id: Any
    target_slot: int


@dataclass(frozen=True, kw_only=True)
class _Scope:
    """The nodes and links of the canvas itself, or of one use of a subgraph."""

    # before the ids of its nodes: "" or "5:" or "5:2:"
    prefix: str
    nodes: Mapping[Any, Mapping[str, Any]]
    links: Mapping[Any, Link]
    # the subgraph's definition and the node that uses it, in its own scope
    definition: Mapping[str, Any] = field(default_factory=dict)
    outer: tuple[_Scope, Mapping[str, Any]] | None = None


@dataclass(frozen=True, kw_only=True)
class _Literal:
    """The value of a PrimitiveNode, which goes where it is linked to."""

    value: Any


def canvas_to_graph(data: Any, object_info: ObjectInfo, name: str = "the workflow") -> Graph:
    """Turn a decoded canvas file into the graph that the editor would send.

    Node ids are those of the file; the nodes of a subgraph get "5:2", node 2 inside node 5. Raises
    CanvasError where the file is damaged or uses what cannot be turned faithfully, and
    UnknownNodeClass where the server lacks a class.
    """
    if form_of(data, name) is not Form.CANVAS:
        raise CanvasError(f"{name} is a graph already, and a canvas file is needed here")
    try:
        converter = _Converter(data, object_info, name)
        graph = dict(converter.nodes(converter.top))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise CanvasError(
            f"{name} is a damaged canvas file ({type(error).__name__}: {error}); open it in "
            "ComfyUI and save it again"
        ) from error
    if not graph:
        raise CanvasError(f"{name} has no active node; unmute or add some")
    return parse_graph(graph, name)


def load_graph(data: Any, object_info: ObjectInfo, name: str = "the workflow") -> Graph:
    """The graph of a decoded workflow in either form."""
    if form_of(data, name) is Form.CANVAS:
        return canvas_to_graph(data, object_info, name)
    return parse_graph(data, name)


class _Converter:
    """One conversion: what it reads from, so that it need not be handed around."""

    def __init__(self, data: Mapping[str, Any], object_info: ObjectInfo, name: str) -> None:
        self.object_info = object_info
        self.name = name
        subgraphs = (data.get("definitions") or {}).get("subgraphs") or []
        self.subgraphs = {entry["id"]: entry for entry in subgraphs}
        self.groups = (data.get("extra") or {}).get("groupNodes") or {}
        self.top = _Scope(prefix="", nodes=_nodes_of(data), links=links_of(data))

    def nodes(self, scope: _Scope) -> Iterator[tuple[str, dict[str, Any]]]:
        """(id, node) of everything that runs."""
        for raw in scope.nodes.values():
            kind = raw["type"]
            if raw.get("mode") in (_MUTED, _BYPASSED) or _is_virtual(kind):
                continue  # with all that is in it, where it uses a subgraph
            if kind in self.subgraphs:
                yield from self.nodes(self.inside(scope, raw))
            else:
                yield f"{scope.prefix}{raw['id']}", self.node(scope, raw)

    def inside(self, scope: _Scope, raw: Mapping[str, Any]) -> _Scope:
        """The scope of one use of a subgraph."""
        definition = self.subgraphs[raw["type"]]
        if scope.prefix.count(":") > 50:
            raise CanvasError(f"{self.name}: the subgraph of node {raw['id']} contains itself")
        return _Scope(
            prefix=f"{scope.prefix}{raw['id']}:",
            nodes=_nodes_of(definition),
            links=links_of(definition),
            definition=definition,
            outer=(scope, raw),
        )

    def node(self, scope: _Scope, raw: Mapping[str, Any]) -> dict[str, Any]:
        info = self.info(scope, raw)
        inputs = _widget_values(info, raw, f"{self.name}: node {scope.prefix}{raw['id']}")
        for slot in raw.get("inputs") or ():
            source = self.source(scope, slot.get("link"), slot.get("type"))
            if isinstance(source, _Literal):
                inputs[slot["name"]] = source.value
            elif source:
                inputs[slot["name"]] = list(source)
        title = raw.get("title") or info.display_name
        return {"class_type": info.class_type, "inputs": inputs, "_meta": {"title": title}}

    def info(self, scope: _Scope, raw: Mapping[str, Any]) -> NodeInfo:
        kind = raw["type"]
        where = f"{self.name}: node {scope.prefix}{raw['id']}"
        if str(kind).removeprefix("workflow>").removeprefix("workflow/") in self.groups:
            raise CanvasError(
                f"{where} is a group node, which only the editor can take apart; convert it to a "
                "subgraph or to nodes, or use Export (API)"
            )
        if kind not in self.object_info:
            raise UnknownNodeClass(f"{where}: {unknown_class_message(self.object_info, kind)}")
        return node_info(self.object_info, kind)

    def source(
        self, scope: _Scope, link_id: Any, kind: Any, passed: int = 0
    ) -> tuple[str, int] | _Literal | None:
        """What a link brings: a node's output, a literal, or nothing, as from a muted node.

        An input that gets nothing has the value of its widget, where there is one.
        """
        link = scope.links.get(link_id)
        if link is None:
            return None
        if passed > _LONGEST_DETOUR:
            raise CanvasError(f"{self.name}: link {link_id} runs in a circle of reroutes")
        if link.origin_id == SUBGRAPH_INPUT and scope.outer:
            return self.from_outside(scope, link, kind, passed)
        origin = scope.nodes.get(link.origin_id)
        if origin is None:
            return None
        mode, node_type = origin.get("mode"), origin["type"]
        if mode == _BYPASSED:
            return self.source(scope, _through_bypass(origin, link, kind), kind, passed + 1)
        if node_type == _REROUTE:
            return self.source(scope, origin["inputs"][0].get("link"), kind, passed + 1)
        if node_type == _PRIMITIVE:
            return _Literal(value=(origin.get("widgets_values") or [None])[0])
        if mode == _MUTED:
            return None
        if node_type in self.subgraphs:
            return self.from_inside(scope, origin, link, kind, passed)
        return f"{scope.prefix}{origin['id']}", link.origin_slot

    def from_outside(
        self, scope: _Scope, link: Link, kind: Any, passed: int
    ) -> tuple[str, int] | _Literal | None:
        """A link from a subgraph's own input: what the node that uses it has there."""
        assert scope.outer is not None
        outside, user = scope.outer
        name = scope.definition["inputs"][link.origin_slot]["name"]
        slot = next((slot for slot in user.get("inputs") or () if slot["name"] == name), None)
        if slot is None:
            return None
        if slot.get("link") is None:
            return _promoted(user, name)
        return self.source(outside, slot["link"], kind, passed + 1)

    def from_inside(
        self, scope: _Scope, user: Mapping[str, Any], link: Link, kind: Any, passed: int
    ) -> tuple[str, int] | _Literal | None:
        """A link from the node that uses a subgraph: what is linked to that output within."""
        inside = self.inside(scope, user)
        for link_id, inner in inside.links.items():
            if inner.target_id == _SUBGRAPH_OUTPUT and inner.target_slot == link.origin_slot:
                return self.source(inside, link_id, kind, passed + 1)
        return None


# --------------------------------------------------------------------------- reading


def _is_virtual(kind: Any) -> bool:
    return kind in _NOTES or kind in (_REROUTE, _PRIMITIVE)


def _nodes_of(data: Mapping[str, Any]) -> dict[Any, Mapping[str, Any]]:
    return {raw["id"]: raw for raw in data["nodes"]}


def links_of(data: Mapping[str, Any]) -> dict[Any, Link]:
    """The links of a canvas file, or of a subgraph in it, by their number."""
    return dict(_read_link(raw) for raw in data.get("links") or () if raw)


def _read_link(raw: Any) -> tuple[Any, Link]:
    if isinstance(raw, dict):
        values = [
            raw[key] for key in ("id", "origin_id", "origin_slot", "target_id", "target_slot")
        ]
    else:
        values = list(raw[:5])
    number, origin_id, origin_slot, target_id, target_slot = values
    return number, Link(
        origin_id=origin_id,
        origin_slot=int(origin_slot),
        target_id=target_id,
        target_slot=int(target_slot),
    )


def _through_bypass(origin: Mapping[str, Any], link: Link, kind: Any) -> Any:
    """The link that a bypassed node hands on: of the same slot, else the first of that type."""
    slots = list(origin.get("inputs") or ())
    first = slots[link.origin_slot : link.origin_slot + 1]
    return next((slot.get("link") for slot in (*first, *slots) if slot.get("type") == kind), None)


def _promoted(user: Mapping[str, Any], name: str) -> _Literal | None:
    """The value of a widget that a subgraph shows on the node that uses it."""
    shown = shown_widgets(user)
    saved = user.get("widgets_values") or []
    return _Literal(value=saved[shown.index(name)]) if name in shown[: len(saved)] else None


# --------------------------------------------------------------------------- widgets


def _widget_values(info: NodeInfo, raw: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Name the values that the editor saved for a node's widgets."""
    saved = raw.get("widgets_values")
    if isinstance(saved, dict):
        values = {entry.name: saved.get(entry.name, _default(entry)) for entry in _widgets(info)}
    else:
        values = _by_position(info, list(saved or ()))
    for entry in _widgets(info):
        if entry.extra.get("dynamicPrompts") and isinstance(values[entry.name], str):
            values[entry.name] = _plain_text(values[entry.name], f"{where}: {entry.name}")
        elif isinstance(values[entry.name], list):
            # a list that is no link
            values[entry.name] = {"__value__": values[entry.name]}
    return values


def _widgets(info: NodeInfo) -> list[InputInfo]:
    return [entry for entry in info.inputs if entry.is_widget]


def widget_places(info: NodeInfo, saved: Sequence[Any]) -> dict[str, int]:
    """Where each widget's value stands, or would, in the list that the editor saved for a node."""
    places: dict[str, int] = {}
    at = 0
    for entry in _widgets(info):
        places[entry.name] = at
        at += 1
        # files saved before the editor had the control do not hold it
        if entry.has_control and at < len(saved) and saved[at] in _CONTROL_VALUES:
            at += 1
    return places


def _by_position(info: NodeInfo, saved: Sequence[Any]) -> dict[str, Any]:
    places = widget_places(info, saved)
    return {
        entry.name: saved[places[entry.name]]
        if places[entry.name] < len(saved)
        else _default(entry)
        for entry in _widgets(info)
    }


def _default(entry: InputInfo) -> Any:
    if "default" in entry.extra:
        return entry.extra["default"]
    if entry.type == "COMBO":
        return entry.options[0] if entry.options else None
    return {"INT": 0, "FLOAT": 0.0, "BOOLEAN": False}.get(entry.type, "")


def shown_widgets(user: Mapping[str, Any]) -> list[str]:
    """The widgets that a subgraph shows on the node that uses it, in the order of their values."""
    return [slot["name"] for slot in user.get("inputs") or () if slot.get("widget")]


def _plain_text(text: str, where: str) -> str:
    r"""Comments out, `\{` to `{`: what the editor does to such texts before it sends them."""
    text = _COMMENT.sub("", text)
    if re.search(r"(?<!\\)(\\\\)*\{", text):
        raise CanvasError(
            f"{where} has a choice in braces, from which the editor picks at random; write one "
            "text, or \\{ and \\} for braces that are meant"
        )
    return text.replace("\\{", "{").replace("\\}", "}")
