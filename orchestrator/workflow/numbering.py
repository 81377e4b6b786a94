"""Ids made unique over a canvas file, as the editor does when it opens one, with no I/O.

Copies of a subgraph can hold nodes with the ids of other ones. The nodes of the canvas itself keep
theirs; in each definition, one after the other, an id that is taken is exchanged for the next free.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# The property in which the node that uses a subgraph lists the widgets that it shows.
PROXIES = "proxyWidgets"


def renumbered(
    data: Mapping[str, Any], subgraphs: Sequence[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[Any]]:
    """The definitions and the canvas's own nodes, copied where an id had to change."""
    nodes = list(data["nodes"])
    if not subgraphs:
        return [], nodes
    counter = _Counter(data)
    changed: dict[str, dict[str, str]] = {}
    for raw in subgraphs:
        new = counter.exchanged(raw["nodes"])
        if new:
            changed[str(raw["id"])] = new
    if not changed:
        return list(subgraphs), nodes
    result = []
    for raw in subgraphs:
        new = changed.get(str(raw["id"]), {})
        inner = [_with_proxies(_with_id(node, new), changed) for node in raw["nodes"]]
        links = [_with_ends(link, new) for link in raw.get("links") or ()]
        result.append({**raw, "nodes": inner, "links": links})
    return result, [_with_proxies(node, changed) for node in nodes]


class _Counter:
    """Which ids are taken, and the next one to give."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        numbers = [node["id"] for node in data["nodes"] if isinstance(node["id"], int)]
        self._taken = {str(number) for number in numbers}
        last = data.get("last_node_id") or (data.get("state") or {}).get("lastNodeId") or 0
        self._last = int(last)

    def exchanged(self, nodes: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        """{old id: new id} of the nodes whose id is taken; the others are taken from now on."""
        found = {}
        for node in nodes:
            number = str(node["id"])
            if number in self._taken:
                found[number] = self._next()
                self._taken.add(found[number])
                continue
            if number.isdecimal():
                self._last = max(self._last, int(number))
            self._taken.add(number)
        return found

    def _next(self) -> str:
        self._last += 1
        while str(self._last) in self._taken:
            self._last += 1
        return str(self._last)


def _with_id(node: Mapping[str, Any], new: Mapping[str, str]) -> Mapping[str, Any]:
    number = str(node["id"])
    return {**node, "id": new[number]} if number in new else node


def _with_ends(link: Any, new: Mapping[str, str]) -> Any:
    if isinstance(link, dict):
        ends = {key: new.get(str(link[key]), link[key]) for key in ("origin_id", "target_id")}
        return {**link, **ends}
    number, origin, origin_slot, target, *rest = link
    return [number, new.get(str(origin), origin), origin_slot, new.get(str(target), target), *rest]


def _with_proxies(node: Any, changed: Mapping[str, Mapping[str, str]]) -> Any:
    new = changed.get(str(node["type"]))
    properties = node.get("properties") or {}
    listed = properties.get(PROXIES)
    if not new or not isinstance(listed, list):
        return node
    proxies = [
        [new.get(str(entry[0]), entry[0]), *entry[1:]] if isinstance(entry, list) else entry
        for entry in listed
    ]
    return {**node, "properties": {**properties, PROXIES: proxies}}
