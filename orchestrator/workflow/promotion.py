"""What the node that uses a subgraph holds for the inputs of the subgraph, with no I/O.

Widgets within a subgraph are shown, promoted, on the node that uses it, which then has values of
its own for them. They belong to the widget-backed inputs of the subgraph's definition in order.
Files before 2026 list the widgets in a property, `proxyWidgets`, whose order then counts, and which
may name widgets that are no input of the subgraph.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from .canvas import CanvasNode, Definition
from .editor import PRIMITIVE
from .numbering import PROXIES
from .widgets import ABSENT, Held

# Where the editor keeps values of promoted widgets that it could not place.
_SET_ASIDE = "proxyWidgetErrorQuarantine"
# Older files write "4: 3: seed" for a widget further within.
_PREFIX = re.compile(r"\s*(\d+)\s*:\s*(.+)")

# A node within a subgraph and one of its widgets, or of its inputs where it uses one itself.
Inner = tuple[str, str]


class Promoted(NamedTuple):
    """An input of a subgraph as one node that uses it has it."""

    name: str
    type: str
    # number of the link that comes in from outside
    link: Any
    # whether a widget within stands behind it, and then the value
    is_widget: bool
    value: Any
    # where in the list of values; None where the file holds none
    place: int | None


@dataclass(frozen=True)
class SubgraphNode:
    """A node that uses a subgraph."""

    node: CanvasNode
    definition: Definition
    inputs: tuple[Promoted, ...]
    # values for widgets within that are no input of the subgraph, and their places
    overrides: Mapping[Inner, Any] = field(default_factory=dict)
    places: Mapping[Inner, int] = field(default_factory=dict)


class Within(Protocol):
    """What is asked about the nodes of a definition."""

    def widgets(self, definition: Definition, node: CanvasNode) -> Mapping[str, Held]:
        """What a node's widgets hold, by name."""

    def host(self, definition: Definition, node: CanvasNode) -> SubgraphNode | None:
        """The node as one that uses a subgraph itself, or None."""


def read_host(node: CanvasNode, definition: Definition, within: Within) -> SubgraphNode:
    """Say what `node` holds for the subgraph that it uses."""
    return _Reading(node, definition, within).host()


class _Reading:
    def __init__(self, node: CanvasNode, definition: Definition, within: Within) -> None:
        self._node = node
        self._definition = definition
        self._within = within
        self._saved = node.values if isinstance(node.values, tuple) else ()
        self._overrides: dict[Inner, Any] = {}
        self._places: dict[Inner, int] = {}
        # by the number of the input
        self._values: dict[int, Any] = {}
        self._at: dict[int, int] = {}
        self._sources = [self._source(port.links) for port in definition.inputs]

    def host(self) -> SubgraphNode:
        self._by_position()
        self._by_proxies()
        links = {slot.name: slot.link for slot in self._node.inputs}
        inputs = [
            Promoted(
                name=port.name,
                type=port.type,
                link=links.get(port.name),
                is_widget=number in self._values,
                value=self._values.get(number),
                place=self._at.get(number),
            )
            for number, port in enumerate(self._definition.inputs)
        ]
        return SubgraphNode(
            node=self._node,
            definition=self._definition,
            inputs=tuple(inputs),
            overrides=self._overrides,
            places=self._places,
        )

    def _by_position(self) -> None:
        aside = dict(_set_aside(self._node.properties))
        place = 0
        for number, port in enumerate(self._definition.inputs):
            found = self._shown(port.links)
            if found is None:
                continue
            value: Any = found.value
            if place < len(self._saved):
                value = self._saved[place]
                self._at[number] = place
            if port.name in aside:
                value = aside[port.name]
            self._values[number] = _filled(value, found)
            place += 1

    def _by_proxies(self) -> None:
        for place, (inner, name, deeper) in enumerate(_proxies(self._node.properties)):
            given = self._saved[place] if place < len(self._saved) else None
            source = self._named(inner, name, deeper)
            number = self._input_of(source)
            if number is None:
                self._override(source, place, given)
            elif number in self._values and given is not None:
                self._values[number] = given
                self._at[number] = place

    def _override(self, source: Inner, place: int, given: Any) -> None:
        """Take a widget that is no input of the subgraph."""
        node = self._definition.sheet.nodes.get(source[0])
        if node is None:
            return
        if node.kind == PRIMITIVE:
            source, own = (node.id, PRIMITIVE), ABSENT
        else:
            found = self._widget(node, source[1])
            if found is None or (found.input is not None and found.input.is_socketless):
                return
            own = found.value
        if given is not None:
            self._places[source] = place
        elif own is ABSENT:
            return
        self._overrides[source] = own if given is None else given

    def _input_of(self, source: Inner) -> int | None:
        """The number of the subgraph's input that leads to a widget; `-1` names inputs."""
        if source[0] == "-1":
            names = [port.name for port in self._definition.inputs]
            return names.index(source[1]) if source[1] in names else None
        return self._sources.index(source) if source in self._sources else None

    def _named(self, inner: str, name: str, deeper: str | None) -> Inner:
        """A widget as a file names it, older ways included."""
        node = self._definition.sheet.nodes.get(inner)
        while node is not None and self._widget(node, name) is None:
            match = _PREFIX.fullmatch(name)
            if match is None:
                break
            deeper, name = match.groups()
        host = None if node is None else self._within.host(self._definition, node)
        if host is None:
            return inner, name
        return inner, _input_leading_to(host, name, deeper, self._within) or name

    def _widget(self, node: CanvasNode, name: str) -> Held | None:
        host = self._within.host(self._definition, node)
        if host is None:
            return self._within.widgets(self._definition, node).get(name)
        for entry in host.inputs:
            if entry.name == name and entry.is_widget:
                return Held(entry.name, entry.value, entry.place, True, None)
        return None

    def _shown(self, links: Sequence[Any]) -> Held | None:
        """The first widget that an input of the subgraph leads to."""
        for node, slot in self._ends(links):
            found = self._widget(node, slot)
            if found is not None:
                return found
        return None

    def _source(self, links: Sequence[Any]) -> Inner | None:
        for node, slot in self._ends(links):
            if self._within.host(self._definition, node) or self._widget(node, slot):
                return node.id, slot
        return None

    def _ends(self, links: Sequence[Any]) -> Iterator[tuple[CanvasNode, str]]:
        return ends(self._definition, links)


def ends(definition: Definition, links: Sequence[Any]) -> Iterator[tuple[CanvasNode, str]]:
    """The nodes and the names of their inputs to which links of a subgraph lead."""
    sheet = definition.sheet
    for number in links:
        link = sheet.links.get(number)
        node = None if link is None else sheet.nodes.get(link.target)
        if node is None:
            continue
        for slot in node.inputs:
            if slot.link == number:
                yield node, slot.name
                break


def _input_leading_to(
    host: SubgraphNode, name: str, deeper: str | None, within: Within
) -> str | None:
    """The input of a nested subgraph that is called so, or leads to a widget called so."""
    for port in host.definition.inputs:
        target = next(ends(host.definition, port.links), None)
        leads = target is not None and target[1] == name
        if deeper is None and port.name == name:
            return port.name
        if leads and (deeper is None or (target is not None and target[0].id == deeper)):
            return port.name
    return None


def _filled(value: Any, found: Held) -> Any:
    """A list of choices is not left empty."""
    if value is None and found.input is not None and found.input.options:
        return found.input.options[0]
    return value


def _proxies(properties: Mapping[str, Any]) -> Iterator[tuple[str, str, str | None]]:
    """(node, widget, node further within that holds it) of each widget that is shown."""
    listed = properties.get(PROXIES)
    for entry in listed if isinstance(listed, list) else ():
        if isinstance(entry, list) and len(entry) >= 2:
            yield str(entry[0]), str(entry[1]), str(entry[2]) if len(entry) > 2 else None


def _set_aside(properties: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    listed = properties.get(_SET_ASIDE)
    entries: list[Any] = listed if isinstance(listed, list) else []
    for entry in reversed(entries):
        named = entry.get("originalEntry") if isinstance(entry, dict) else None
        if isinstance(named, list) and named[:1] == ["-1"] and entry.get("hostValue") is not None:
            yield str(named[1]), entry["hostValue"]
