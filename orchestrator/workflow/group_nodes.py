"""Group nodes, which editors made in 2024, turned into uses of subgraphs, with no I/O.

A group keeps its nodes as they were copied, and a node that uses it shows their inputs, outputs and
widgets under names of its own. The ids are those that the editor gives: first the nodes within,
then the subgraph. Values are read in the order in which the editors of that time saved them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import UnknownNodeClass
from .catalogue import Catalogue
from .editor import NOTES, PRIMITIVE, REROUTES
from .widgets import with_value

_PREFIXES = ("workflow>", "workflow/")
# The one widget of a primitive.
_VALUE = "value"


@dataclass(frozen=True)
class _Shown:
    """An input of a node of a group, as the node that uses the group shows it."""

    index: int
    input: str
    name: str
    # None for an input that takes a link; else how many values stand behind its own
    companions: int | None


def has_groups(data: Mapping[str, Any]) -> bool:
    """True where a canvas file knows group nodes."""
    extra = data.get("extra")
    return isinstance(extra, dict) and bool(extra.get("groupNodes"))


def without_group_nodes(data: Mapping[str, Any], catalogue: Catalogue) -> Mapping[str, Any]:
    """A decoded canvas file in which subgraphs stand for group nodes; itself where it has none."""
    groups = (data.get("extra") or {}).get("groupNodes") or {}
    users = [raw for raw in data["nodes"] if _group_of(raw, groups) is not None]
    if not users:
        return data
    numbers = [raw["id"] for raw in data["nodes"] if isinstance(raw["id"], int)]
    last = max([int(data.get("last_node_id") or 0), *numbers])
    definitions, new = [], {}
    for raw in users:
        group = _Group(_group_of(raw, groups) or {}, catalogue)
        definition, user = group.unpacked(raw, last)
        last = user["id"]
        definitions.append(definition)
        new[raw["id"]] = user
    others = (data.get("definitions") or {}).get("subgraphs") or []
    extra = {key: data["extra"][key] for key in data["extra"] if key != "groupNodes"}
    return {
        **data,
        "extra": extra,
        "last_node_id": last,
        "nodes": [new.get(raw["id"], raw) for raw in data["nodes"]],
        "links": [_relinked(link, new) for link in data.get("links") or () if link],
        "definitions": {"subgraphs": [*others, *definitions]},
    }


def _group_of(raw: Mapping[str, Any], groups: Mapping[str, Any]) -> Mapping[str, Any] | None:
    kind = str(raw["type"])
    name = next((kind[len(one) :] for one in _PREFIXES if kind.startswith(one)), None)
    return None if name is None else groups.get(name)


def _relinked(link: Any, new: Mapping[Any, Mapping[str, Any]]) -> Any:
    number, origin, slot, target, *rest = link
    ends = [new[end]["id"] if end in new else end for end in (origin, target)]
    return [number, ends[0], slot, ends[1], *rest]


class _Group:
    """One group, unpacked for one node that uses it."""

    def __init__(self, group: Mapping[str, Any], catalogue: Catalogue) -> None:
        self._nodes: Sequence[Mapping[str, Any]] = group["nodes"]
        self._links = [link for link in group.get("links") or () if link[0] is not None]
        self._config: Mapping[str, Any] = group.get("config") or {}
        # some editors wrote the whole node there, and then did not know it again
        external = [ext for ext in group.get("external") or () if isinstance(ext[0], int)]
        self._given = {(ext[0], ext[1]) for ext in external}
        self._catalogue = catalogue
        self._seen: dict[str, int] = {}
        self._shown = list(self._inputs())

    def unpacked(self, user: Mapping[str, Any], last: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """The definition of a subgraph, and the node that uses it; ids follow on `last`."""
        first = last + 1
        nodes = [
            {**raw, "id": first + at, "inputs": [dict(slot) for slot in raw.get("inputs") or ()]}
            for at, raw in enumerate(self._nodes)
        ]
        self._put_values(nodes, user.get("widgets_values") or ())
        links = [self._link(nodes, number, link) for number, link in enumerate(self._links, 1)]
        ports = [one for one in self._shown if not self._is_linked(one)]
        slots = []
        for slot, one in enumerate(ports):
            number = len(links) + 1
            target = _slot(nodes[one.index], one.input)
            target["link"] = number
            place = nodes[one.index]["inputs"].index(target)
            links.append([number, -10, slot, nodes[one.index]["id"], place, "*"])
            slots.append({"name": one.name, "type": target.get("type", "*")})
        outputs = []
        for slot, (index, output) in enumerate(self._outputs()):
            links.append([len(links) + 1, nodes[index]["id"], output, -20, slot, "*"])
            outputs.append({"name": str(slot), "type": "*"})
        definition = {
            "id": f"group node {user['id']}",
            "nodes": nodes,
            "links": links,
            "inputs": slots,
            "outputs": outputs,
        }
        return definition, {
            **user,
            "id": first + len(nodes),
            "type": definition["id"],
            "inputs": [slot for slot in user.get("inputs") or () if slot.get("link") is not None],
            "outputs": outputs,
            "widgets_values": [],
        }

    def _inputs(self) -> Iterator[_Shown]:
        """What is shown, values in the order in which they are saved."""
        converted = []
        for index, raw in enumerate(self._nodes):
            kind = raw["type"]
            if kind not in self._catalogue:
                yield from self._of_the_editor(index, kind)
                continue
            as_links = {slot["name"] for slot in raw.get("inputs") or () if slot.get("widget")}
            for entry in self._catalogue.node_class(kind).inputs:
                if entry.is_widget and entry.name in as_links:
                    converted.append((index, entry))
                    continue
                count = len(entry.companions) if entry.is_widget else None
                yield _Shown(index, entry.name, self._name(index, entry.name), count)
        for index, entry in converted:
            count = len(entry.companions)
            yield _Shown(index, entry.name, self._name(index, entry.name), count)

    def _of_the_editor(self, index: int, kind: str) -> Iterator[_Shown]:
        """What a reroute or a primitive in a group shows."""
        leads = [link for link in self._links if link[0] == index]
        if kind == PRIMITIVE and leads:
            given = leads[0][5] if len(leads[0]) > 5 else "*"
            count = 1 if given in ("INT", "FLOAT", "COMBO") else 0
            yield _Shown(index, _VALUE, self._name(index, _VALUE), count)
        elif kind in REROUTES:
            comes = any(link[2] == index for link in self._links)
            if not (comes and leads and (index, 0) not in self._given):
                slots = self._nodes[index].get("inputs") or [{"name": ""}]
                name = self._name(index, self._type_behind(leads))
                yield _Shown(index, slots[0]["name"], name, None)
        elif kind not in NOTES and kind != PRIMITIVE:
            raise UnknownNodeClass(self._catalogue.unknown(kind))

    def _type_behind(self, leads: Sequence[Sequence[Any]]) -> str:
        """The type that a reroute has by what it leads to, which is what it is called."""
        for link in leads:
            slots = self._nodes[link[2]].get("inputs") or ()
            if link[3] < len(slots) and slots[link[3]].get("type"):
                return str(slots[link[3]]["type"])
        return "*"

    def _name(self, index: int, name: str) -> str:
        """The name under which an input is shown: with its node in front where it was taken."""
        raw = self._nodes[index]
        custom = ((self._config.get(str(index)) or {}).get("input") or {}).get(name) or {}
        labels = {slot["name"]: slot.get("label") for slot in raw.get("inputs") or ()}
        shown = str(custom.get("name") or labels.get(name) or name)
        key = shown
        if shown in self._seen:
            prefix = f"{raw.get('title') or raw['type']} "
            key = shown = f"{prefix}{name}"
            if shown in self._seen:
                shown = f"{prefix}{self._seen[shown]} {name}"
        self._seen[key] = self._seen.get(key, 1) + 1
        return shown

    def _is_linked(self, one: _Shown) -> bool:
        """True for an input that a link within the group leads to."""
        names = [slot["name"] for slot in self._nodes[one.index].get("inputs") or ()]
        return any(
            link[2] == one.index and names[link[3]] == one.input
            for link in self._links
            if link[3] < len(names)
        )

    def _put_values(
        self, nodes: list[dict[str, Any]], saved: Sequence[Any] | Mapping[str, Any]
    ) -> None:
        """Give the nodes within what the node that uses the group holds for their widgets."""
        place = 0
        for one in self._shown:
            if one.companions is None:
                continue
            node = nodes[one.index]
            if isinstance(saved, Mapping):
                if one.name in saved:
                    node["widgets_values"] = self._with_value(node, one.input, saved[one.name])
            elif place < len(saved):
                node["widgets_values"] = self._with_value(node, one.input, saved[place])
            place += 1 + one.companions

    def _with_value(
        self, node: Mapping[str, Any], name: str, value: Any
    ) -> Sequence[Any] | Mapping[str, Any]:
        if node["type"] == PRIMITIVE:
            return [value]
        values = node.get("widgets_values") or ()
        return with_value(self._catalogue.node_class(node["type"]), values, name, value)

    def _link(self, nodes: list[dict[str, Any]], number: int, link: Sequence[Any]) -> list[Any]:
        origin, output, target, slot = (int(part) for part in link[:4])
        nodes[target]["inputs"][slot]["link"] = number
        return [number, nodes[origin]["id"], output, nodes[target]["id"], slot, "*"]

    def _outputs(self) -> Iterator[tuple[int, int]]:
        """(node, output) of those that are shown: all without a link within, unless set so."""
        linked = {(link[0], link[1]) for link in self._links} - self._given
        for index, raw in enumerate(self._nodes):
            custom = (self._config.get(str(index)) or {}).get("output") or {}
            known = self._catalogue.find(raw["type"])
            count = len(known.outputs) if known else len(raw.get("outputs") or ())
            for output in range(count):
                visible = (custom.get(str(output)) or {}).get("visible")
                if (index, output) not in linked if visible is None else visible:
                    yield index, output


def _slot(node: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] | None = next(
        (slot for slot in node["inputs"] if slot["name"] == name), None
    )
    if found is None:
        found = {"name": name, "type": "*", "link": None}
        node["inputs"].append(found)
    return found
