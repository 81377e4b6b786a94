"""Canvas files, what ComfyUI's editor saves, read into typed values with no I/O.

Read are the schemas 0.4 (links as lists) and 1.0 (links as objects), with subgraphs; what the
values mean is `conversion`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any, NamedTuple

from ..errors import CanvasError
from .numbering import renumbered

# Ids that stand for a subgraph's own inputs and outputs in its links.
BORDER_IN, BORDER_OUT = "-10", "-20"


class Mode(Enum):
    """Whether a node runs."""

    ACTIVE = 0  # also the modes "on event" and "on trigger", which are not in use
    MUTED = 2  # it gives nothing
    BYPASSED = 4  # what comes in is handed on


class Slot(NamedTuple):
    """An input of a node, as the file lists it."""

    name: str
    type: str
    # number of the link that comes in
    link: Any
    # the name of the widget behind it, where the file says that there is one
    widget: str | None = None


class Link(NamedTuple):
    """A link: where it comes from and where it goes."""

    origin: str
    origin_slot: int
    target: str
    target_slot: int


class CanvasNode(NamedTuple):
    """A node on a canvas, or the use of a subgraph."""

    id: str
    # its class, or the id of a subgraph's definition
    kind: str
    mode: Mode
    title: str
    inputs: tuple[Slot, ...]
    # the types of its outputs
    outputs: tuple[str, ...]
    # what the editor saved for its widgets, by position, or by name
    values: tuple[Any, ...] | Mapping[str, Any]
    properties: Mapping[str, Any]

    @property
    def has_links(self) -> bool:
        """True where a link comes in."""
        return any(slot.link is not None for slot in self.inputs)


@dataclass(frozen=True)
class NodeGraph:
    """The nodes and links of a canvas, or of a subgraph's definition."""

    nodes: Mapping[str, CanvasNode]
    links: Mapping[Any, Link]


class Port(NamedTuple):
    """An input or output of a subgraph."""

    name: str
    type: str
    # numbers of the links to it within the subgraph, in their order
    links: tuple[Any, ...]


@dataclass(frozen=True)
class Definition:
    """A subgraph, which nodes on other sheets use."""

    id: str
    sheet: NodeGraph
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


@dataclass(frozen=True)
class Canvas:
    """A canvas file."""

    sheet: NodeGraph
    definitions: Mapping[str, Definition] = field(default_factory=dict)


def read_canvas(data: Any, name: str = "the workflow") -> Canvas:
    """Read a decoded canvas file; raises CanvasError where it is damaged."""
    try:
        subgraphs, nodes = renumbered(data, list(_subgraphs(data)))
        return Canvas(
            sheet=_read_sheet({**data, "nodes": nodes}),
            definitions={str(raw["id"]): _read_definition(raw) for raw in subgraphs},
        )
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise CanvasError(
            f"{name} is a damaged canvas file ({type(error).__name__}: {error}); open it in "
            "ComfyUI and save it again"
        ) from error


def with_unique_ids(data: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a decoded canvas file with the ids that its nodes have in the graph."""
    subgraphs, nodes = renumbered(data, list(_subgraphs(data)))
    if not subgraphs:
        return {**data, "nodes": nodes}
    flat = [{key: raw[key] for key in raw if key != "definitions"} for raw in subgraphs]
    return {**data, "nodes": nodes, "definitions": {"subgraphs": flat}}


def _subgraphs(data: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for raw in (data.get("definitions") or {}).get("subgraphs") or ():
        yield raw
        yield from _subgraphs(raw)


def _read_sheet(raw: Mapping[str, Any]) -> NodeGraph:
    nodes = {}
    for entry in raw["nodes"]:
        node = _read_node(entry)
        nodes[node.id] = node
    links = dict(_read_link(entry) for entry in raw.get("links") or () if entry)
    return NodeGraph(nodes=nodes, links=links)


def _read_node(raw: Mapping[str, Any]) -> CanvasNode:
    kind = raw["type"]
    if not isinstance(kind, str):
        raise TypeError(f"the type of node {raw['id']} is {kind!r}")
    saved = raw.get("widgets_values")
    mode = raw.get("mode")
    return CanvasNode(
        id=str(_number(raw["id"])),
        kind=kind,
        mode=_MODES.get(mode, Mode.ACTIVE) if isinstance(mode, int) else Mode.ACTIVE,
        title=str(raw.get("title") or ""),
        inputs=tuple([_read_slot(entry) for entry in raw.get("inputs") or ()]),
        outputs=tuple([_type(entry) for entry in raw.get("outputs") or ()]),
        values=saved if isinstance(saved, dict) else tuple(saved or ()),
        properties=raw.get("properties") or _NOTHING,
    )


_MODES = {mode.value: mode for mode in Mode}
_NOTHING: Mapping[str, Any] = MappingProxyType({})


def _read_slot(raw: Mapping[str, Any]) -> Slot:
    widget = raw.get("widget")
    link = raw.get("link")
    return Slot(
        _name(raw["name"]),
        _type(raw),
        None if link is None else _number(link),
        _name(widget["name"]) if widget else None,
    )


def _name(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no name")
    return value


def _number(value: Any) -> int | str:
    """The number of a node or link; newer files may have texts there."""
    if not isinstance(value, int | str):
        raise TypeError(f"{value!r} is no number")
    return value


def _type(raw: Mapping[str, Any]) -> str:
    kind = raw.get("type", "*")
    # older files name all choices of a list there
    return kind if isinstance(kind, str) else "COMBO" if isinstance(kind, list) else "*"


def _read_link(raw: Any) -> tuple[Any, Link]:
    if isinstance(raw, dict):
        number, origin, origin_slot, target, target_slot = (raw[key] for key in _LINK_KEYS)
    else:
        number, origin, origin_slot, target, target_slot = raw[:5]
    ends = str(_number(origin)), int(origin_slot), str(_number(target)), int(target_slot)
    return _number(number), Link(*ends)


_LINK_KEYS = ("id", "origin_id", "origin_slot", "target_id", "target_slot")


def _read_definition(raw: Mapping[str, Any]) -> Definition:
    sheet = _read_sheet(raw)
    return Definition(
        id=str(raw["id"]),
        sheet=sheet,
        inputs=tuple(_ports(raw.get("inputs") or (), sheet.links, ("origin", BORDER_IN))),
        outputs=tuple(_ports(raw.get("outputs") or (), sheet.links, ("target", BORDER_OUT))),
    )


def _ports(listed: Any, links: Mapping[Any, Link], border: tuple[str, str]) -> Iterator[Port]:
    """The inputs or the outputs; links that are not there give way to those that lead there."""
    end, number = border
    found: dict[int, list[Any]] = {}
    for key, link in links.items():
        if getattr(link, end) == number:
            found.setdefault(getattr(link, f"{end}_slot"), []).append(key)
    for slot, raw in enumerate(listed):
        named = [key for key in raw.get("linkIds") or () if key in links]
        yield Port(str(raw["name"]), _type(raw), tuple(named or found.get(slot, [])))
