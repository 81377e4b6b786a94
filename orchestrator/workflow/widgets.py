"""The values that a canvas file holds for a node's widgets, named as the editor would, no I/O.

A file keeps them by position: each widget takes the next place, its hidden companions one each, and
the inputs that a dynamic combo brings stand right behind it. Some packs keep them by name.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from .catalogue import NodeClass
from .editor import (
    AUTO_REFRESH,
    CHOICE,
    INDEX,
    OPTION,
    OWN_CHOICES,
    REFRESH,
    buttons_before,
)
from .inputs import CONTROL, FOREIGN, WIDGETS, InputGrowth, NodeInput


class Absent:
    """The value of a widget that has none: it is left out of the graph."""


ABSENT = Absent()


class Held(NamedTuple):
    """One widget of a node and what it holds."""

    name: str
    value: Any
    # where in the list of values; None where the file holds none
    place: int | None
    # whether it goes into the graph
    sent: bool
    # None for what no server declares
    input: NodeInput | None


def held_values(
    node_class: NodeClass,
    saved: Sequence[Any] | Mapping[str, Any],
    marked: frozenset[str] = frozenset(),
) -> list[Held]:
    """Every widget of a node, in the order of the editor.

    `marked` are the inputs that the file says have a widget: a custom node's own types are known
    by nothing else.
    """
    if isinstance(saved, Mapping):
        walk = _Walk(node_class, (), marked)
        return [_named(held, saved) for held in walk.run()]
    return list(_Walk(node_class, _without_forced(node_class, saved), marked).run())


def with_value(
    node_class: NodeClass, saved: Sequence[Any] | Mapping[str, Any], name: str, value: Any
) -> Sequence[Any] | Mapping[str, Any]:
    """The values of a node's widgets with another one for `name`.

    A list that ends before that widget gets the values of a new node up to it; names that the node
    has no widget of change nothing.
    """
    if isinstance(saved, Mapping):
        return {**saved, name: value}
    saved = _without_forced(node_class, saved)
    held = held_values(node_class, saved)
    place = next((entry.place for entry in held if entry.name == name), None)
    if place is None:
        return saved
    new = {entry.place: entry.value for entry in held}
    missing = [new.get(at) for at in range(len(saved), place + 1)]
    values = [*saved, *missing]
    values[place] = value
    return values


def _named(held: Held, saved: Mapping[str, Any]) -> Held:
    value = saved.get(held.name, held.value)
    return Held(held.name, value, None, held.sent, held.input)


def _without_forced(node_class: NodeClass, saved: Sequence[Any]) -> Sequence[Any]:
    """Values without those of inputs that now take links only, where an older file has them."""
    if not node_class.has_forced:
        return saved
    forced = []
    for entry in (*node_class.inputs, *node_class.added):
        is_forced = bool(entry.extra.get("forceInput"))
        if is_forced or entry.is_widget:
            forced.append(is_forced)
            forced += [False] * bool(entry.extra.get(CONTROL))
    if len(forced) != len(saved):
        return saved
    return [value for value, is_forced in zip(saved, forced, strict=True) if not is_forced]


class _Walk:
    """One walk along the widgets of a node with the list of its values in hand."""

    def __init__(self, node_class: NodeClass, saved: Sequence[Any], marked: frozenset[str]) -> None:
        self._class = node_class
        self._saved = saved
        self._at = 0
        self._marked = marked

    def run(self) -> Iterator[Held]:
        if self._class.name == OWN_CHOICES:
            yield from self._own_choices()
            return
        waiting = deque(self._widgets())
        while waiting:
            entry = waiting.popleft()
            for name, label in buttons_before(entry, self._class.by_name.keys()).items():
                yield self._next(name, label)
            held = self._held(entry)
            yield held
            if entry.has_refresh:
                yield self._next(AUTO_REFRESH, False, sent=False)
                yield self._next(REFRESH, REFRESH)
            if entry.growth is InputGrowth.COMBO:
                waiting.extendleft(
                    reversed([below for below in entry.branch(held.value) if below.is_widget])
                )
            self._pass(entry)

    def _widgets(self) -> Sequence[NodeInput]:
        if not self._marked:
            return self._class.widgets
        inputs = (*self._class.inputs, *self._class.added)
        return [entry for entry in inputs if entry.is_widget or self._is_foreign(entry)]

    def _is_foreign(self, entry: NodeInput) -> bool:
        """True for an input of a type that only a pack's own script makes a widget of."""
        return (
            entry.name in self._marked
            and entry.growth is None
            and not entry.extra.get("forceInput")
            and not any(kind in WIDGETS for kind in entry.type.split(","))
        )

    def _held(self, entry: NodeInput) -> Held:
        widget = entry.widget or FOREIGN
        if not widget.saved:
            return Held(entry.name, entry.default, None, widget.sent, entry)
        default = entry.default
        if default is None:
            default = ABSENT
        held = self._next(entry.name, default, entry, sent=widget.sent)
        if held.value is None and entry.options:
            # the editor does not leave a list of choices empty
            return Held(held.name, entry.options[0], held.place, held.sent, entry)
        return held

    def _next(
        self, name: str, default: Any, entry: NodeInput | None = None, *, sent: bool = True
    ) -> Held:
        place = self._at
        self._at += 1
        value = self._saved[place] if place < len(self._saved) else default
        return Held(name, value, place, sent, entry)

    def _pass(self, entry: NodeInput) -> None:
        """Go on behind an input's companions."""
        self._at += len(entry.companions)

    def _own_choices(self) -> Iterator[Held]:
        """The choice, its number, and the texts to choose from: one more than are filled in."""
        choice = self._next(CHOICE, "", self._class.by_name.get(CHOICE))
        place, self._at = self._at, self._at + 1
        options: list[Held] = []
        while not options or options[-1].value:
            options.append(self._next(f"{OPTION}{len(options) + 1}", ""))
        texts = [held.value for held in options]
        number = texts.index(choice.value) if choice.value in texts else -1
        yield choice
        yield Held(INDEX, number, place, True, None)
        yield from options
