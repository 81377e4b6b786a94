"""What a link on a canvas brings: through reroutes, bypassed nodes and the borders of subgraphs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from ..errors import CanvasError
from .canvas import BORDER_IN, CanvasNode, Mode, NodeGraph, Slot
from .catalogue import Catalogue, NodeClass
from .editor import GETTERS, NOTES, PRIMITIVE, REROUTES, SETTERS
from .inputs import MATCH_TYPE, InputGrowth, NodeInput
from .promotion import SubgraphNode
from .widgets import Held


@dataclass(frozen=True)
class CanvasPlace:
    """The canvas itself, or one use of a subgraph."""

    # before the ids of its nodes in the graph: "" or "5:" or "5:2:"
    prefix: str
    sheet: NodeGraph
    # the node that uses the subgraph, and where that stands
    host: SubgraphNode | None = None
    outer: CanvasPlace | None = None
    # nodes that hand a link on under a name
    setters: dict[str, CanvasNode] = field(default_factory=dict)


class OutputSlot(NamedTuple):
    """An output slot of a node of the graph."""

    node_id: str
    slot: int


class Value(NamedTuple):
    """A value that a node which uses a subgraph holds for it."""

    value: Any


class _Into(NamedTuple):
    """Asks what comes into a node at an input."""

    place: CanvasPlace
    node: CanvasNode
    slot: Slot
    # the same, where a reroute passes it on
    kind: str | tuple[CanvasNode, Slot] | None


class _OutOf(NamedTuple):
    """Asks what a node gives at an output."""

    place: CanvasPlace
    node: CanvasNode
    slot: int
    # the type of the input that asks, or the node and the input to find it from
    kind: str | tuple[CanvasNode, Slot]


class Uses(Protocol):
    """What is asked about the nodes of a sheet."""

    def inside(self, place: CanvasPlace, node: CanvasNode) -> CanvasPlace | None:
        """The use of a subgraph that a node is, or None."""

    def held(self, sheet: NodeGraph, node: CanvasNode) -> Mapping[str, Held]:
        """What a node's widgets hold, by name."""


class Tracer:
    """Follows links of one canvas file."""

    def __init__(self, name: str, catalogue: Catalogue, uses: Uses) -> None:
        self._name = name
        self._catalogue = catalogue
        self._uses = uses

    def source(self, place: CanvasPlace, node: CanvasNode, slot: Slot) -> OutputSlot | Value | None:
        """What a node gets at an input; None where nothing comes."""
        step: _Into | _OutOf | OutputSlot | Value | None = _Into(place, node, slot, None)
        passed = set()
        while isinstance(step, _Into | _OutOf):
            key = (step.place.prefix, step.node.id, step.slot, type(step))
            if key in passed:
                raise CanvasError(
                    f"{self._name}: the links to node {place.prefix}{node.id} run in a circle of "
                    "reroutes; cut one"
                )
            passed.add(key)
            step = self._into(step) if isinstance(step, _Into) else self._out_of(step)
        return step

    def _into(self, ask: _Into) -> _Into | _OutOf | Value | None:
        place = ask.place
        link = place.sheet.links.get(ask.slot.link)
        if link is None:
            return None
        if link.origin == BORDER_IN and place.host is not None:
            return self._from_outside(place, place.host, link.origin_slot)
        origin = place.sheet.nodes.get(link.origin)
        if origin is None:
            return None
        return _OutOf(place, origin, link.origin_slot, ask.kind or (ask.node, ask.slot))

    def _from_outside(
        self, place: CanvasPlace, host: SubgraphNode, number: int
    ) -> _Into | Value | None:
        if not 0 <= number < len(host.inputs) or place.outer is None:
            return None
        entry = host.inputs[number]
        if (value := self._overridden(place.outer, host.node.id, entry.name)) is not None:
            return value
        if entry.link is None:
            return Value(entry.value) if entry.is_widget else None
        slot = Slot(entry.name, entry.type, entry.link)
        return _Into(place.outer, host.node, slot, None)

    def _overridden(self, place: CanvasPlace, node_id: str, name: str) -> Value | None:
        inner = (node_id, name)
        if place.host is None or inner not in place.host.overrides:
            return None
        return Value(place.host.overrides[inner])

    def _out_of(self, ask: _OutOf) -> _Into | _OutOf | OutputSlot | Value | None:
        place, node = ask.place, ask.node
        if node.mode is Mode.MUTED:
            return None
        if node.mode is Mode.BYPASSED:
            slot = self._bypass(ask)
            if slot is None:
                return None
            return self._overridden(place, node.id, slot.name) or _Into(place, node, slot, None)
        inside = self._uses.inside(place, node)
        if inside is not None:
            return self._from_inside(inside, ask)
        if node.kind in self._catalogue:
            return OutputSlot(f"{place.prefix}{node.id}", ask.slot)
        if node.kind in REROUTES or node.kind in SETTERS:
            return _Into(place, node, node.inputs[0], ask.kind) if node.inputs else None
        if node.kind in GETTERS:
            return self._got(ask)
        if node.kind == PRIMITIVE or node.kind in NOTES:
            return None
        return OutputSlot(f"{place.prefix}{node.id}", ask.slot)

    def _from_inside(self, inside: CanvasPlace, ask: _OutOf) -> _Into | _OutOf | Value | None:
        assert inside.host is not None
        outputs = inside.host.definition.outputs
        if not 0 <= ask.slot < len(outputs):
            return None
        link = next((inside.sheet.links[number] for number in outputs[ask.slot].links), None)
        if link is None:
            return None
        if link.origin == BORDER_IN:
            return self._from_outside(inside, inside.host, link.origin_slot)
        origin = inside.sheet.nodes.get(link.origin)
        if origin is None:
            return None
        return _OutOf(inside, origin, link.origin_slot, ask.kind)

    def _got(self, ask: _OutOf) -> _Into | None:
        """What a node gives that takes a link by its name, from here or further out."""
        name = given_name(ask.node)
        place: CanvasPlace | None = ask.place
        while place is not None:
            setter = place.setters.get(name)
            if setter is not None and setter.inputs:
                return _Into(place, setter, setter.inputs[0], ask.kind)
            place = place.outer
        raise CanvasError(
            f"{self._name}: node {ask.place.prefix}{ask.node.id} ({ask.node.kind}) gets {name!r}, "
            "which no node sets"
        )

    def _bypass(self, ask: _OutOf) -> Slot | None:
        """The input that a bypassed node hands on, by the editor's rule.

        That of the same number where its type fits, else the first of the very type, else the first
        that fits.
        """
        inputs = self._slots(ask.place, ask.node)
        wanted = ask.kind if isinstance(ask.kind, str) else self._kind(*ask.kind)
        given = ask.node.outputs[ask.slot] if ask.slot < len(ask.node.outputs) else "*"
        kinds = [self._kind(ask.node, slot) for slot in inputs]
        if not inputs:
            return None
        if wanted in ("*", ""):
            return inputs[ask.slot if ask.slot < len(inputs) else 0]

        def fits(number: int) -> bool:
            return connects(kinds[number], given) and connects(kinds[number], wanted)

        if ask.slot < len(inputs) and fits(ask.slot):
            return inputs[ask.slot]
        if wanted in kinds:
            return inputs[kinds.index(wanted)]
        return next((inputs[number] for number in range(len(inputs)) if fits(number)), None)

    def _slots(self, place: CanvasPlace, node: CanvasNode) -> Sequence[Slot]:
        """All inputs that a node has in the editor: a file leaves out widgets without a link."""
        inside = self._uses.inside(place, node)
        if inside is not None and inside.host is not None:
            return [Slot(entry.name, entry.type, entry.link) for entry in inside.host.inputs]
        node_class = self._catalogue.find(node.kind)
        if node_class is None:
            return node.inputs
        held = self._uses.held(place.sheet, node) if node_class.is_dynamic else {}
        found = [slot for entry in node_class.slots for slot in _slots_of(entry, node.inputs, held)]
        known = {slot.name for slot in found}
        rest = (slot for slot in node.inputs if slot.name not in known)
        return [*found, *(slot for slot in rest if has_slot(node_class, slot, held))]

    def _kind(self, node: CanvasNode, slot: Slot) -> str:
        """The type of an input: as its class declares it, where that is known.

        One that matches what it is linked to has the type that the file says.
        """
        if node.kind in self._catalogue:
            entry = self._catalogue.node_class(node.kind).by_name.get(slot.name)
            if entry is not None and (entry.type != MATCH_TYPE or slot.type == MATCH_TYPE):
                return ",".join(entry.types)
        return slot.type


def _slots_of(entry: NodeInput, listed: Sequence[Slot], held: Mapping[str, Held]) -> Iterator[Slot]:
    """The inputs of a node that one of its class stands for."""
    if entry.growth in (InputGrowth.AUTOGROW, InputGrowth.SLOT):
        # as many as the file has
        yield from (slot for slot in listed if f"{slot.name}.".startswith(f"{entry.name}."))
        return
    missing = Slot(entry.name, ",".join(entry.types), None)
    yield next((slot for slot in listed if slot.name == entry.name), missing)
    if entry.growth is InputGrowth.COMBO and entry.name in held:
        for below in entry.branch(held[entry.name].value):
            yield from _slots_of(below, listed, held)


def has_slot(node_class: NodeClass, slot: Slot, held: Mapping[str, Held]) -> bool:
    """Whether a node of the server's class still has an input that the file links.

    Gone are those that the file calls a widget and the class does not have, and those of a dynamic
    combo that belong to another key.
    """
    name = slot.name
    if name in held or name in node_class.by_name:
        return True
    at = name.find(".")
    while at > 0:
        combo = held.get(name[:at])
        if (
            combo is not None
            and combo.input is not None
            and combo.input.growth is InputGrowth.COMBO
        ):
            below = combo.input.branch(combo.value)
            if not any(f"{name}.".startswith(f"{entry.name}.") for entry in below):
                return False
        at = name.find(".", at + 1)
    return slot.widget is None or "." in name


def given_name(node: CanvasNode) -> str:
    """The name under which a node hands a link on, or takes one."""
    values = node.values
    first = next(iter(values.values() if isinstance(values, dict) else values), "")
    return str(first)


def connects(left: str, right: str) -> bool:
    """Say whether the editor lets an output of one type onto an input of the other."""
    if left in ("*", "", "0") or right in ("*", "", "0"):
        return True
    ours = {part.strip() for part in left.casefold().split(",")}
    theirs = {part.strip() for part in right.casefold().split(",")}
    return "*" in ours | theirs or not ours.isdisjoint(theirs)
