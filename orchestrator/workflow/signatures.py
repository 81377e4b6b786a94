"""Whether two graphs say the same of one picture, whatever else is in them; with no I/O.

A server answers from its cache with what an earlier job made, and that file carries the earlier
job's graph: other node ids, other titles, other branches beside the one that made the picture. So
only that branch is compared. A node's *signature* is its class and its inputs, a link being the
signature of the node that it comes from and the number of the slot. Values are equal as ComfyUI's
own cache takes them to be equal: 8 and 8.0 are one.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Hashable, Mapping
from functools import cached_property
from typing import Any

from ..errors import GraphError
from ..protocol import Graph
from .graph import is_link, order

# Levels of lists and objects in one value of an input; nodes take two or three.
_DEEPEST = 64


class Signatures:
    """A graph that was sent, for comparison with those that pictures carry."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._plain = _plain(graph)
        # signature in full -> its number: equal signatures are equal numbers
        self._numbers: dict[Hashable, int] = {}

    def makes(self, node_id: str, other: Graph) -> bool:
        """Whether a node of `other` makes what `node_id` makes here.

        A node that is not in this graph was put there by the server in place of one that is, which
        its id begins with; where that is unknown, too, the graphs must have the same nodes. Both
        must be as `parse_graph` gives them; one with a value nested too deeply makes nothing.
        """
        if _plain(other) == self._plain:
            # Nearly always, and a tenth of the time.
            return True
        own = self._of
        try:
            theirs = self._signed(other, learn=False)
        except GraphError:
            return False
        ours = own.get(node_id, own.get(node_id.partition(".")[0]))
        if ours is None:
            return Counter(own.values()) == Counter(theirs.values())
        return ours in theirs.values()

    @cached_property
    def _of(self) -> dict[str, int]:
        return self._signed(self._graph, learn=True)

    def _signed(self, graph: Graph, *, learn: bool) -> dict[str, int]:
        """{node id: number}; one that this graph has no node for is -1 where it may not `learn`."""
        found: dict[str, int] = {}
        # Sources come first, so nothing here is as deep as the graph is long.
        for node_id in order(graph):
            signature = _signature(graph[node_id], found)
            if learn:
                found[node_id] = self._numbers.setdefault(signature, len(self._numbers))
            else:
                found[node_id] = self._numbers.get(signature, -1)
        return found


def digests(graph: Graph, without: Collection[str] = ()) -> dict[str, str]:
    """{node id: SHA-256 of its signature}, to find one that says the same among thousands.

    Inputs called as in `without` do not count, nor do ids and titles. Nodes with equal digests make
    the same. The graph must be as `parse_graph` gives it; raises GraphError where a value is nested
    too deeply.
    """
    found: dict[str, Hashable] = {}
    for node_id in order(graph):
        text = _text(_signature(graph[node_id], found, without))
        found[node_id] = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return {node_id: str(one) for node_id, one in found.items()}


def _signature(
    node: Mapping[str, Any], found: Mapping[str, Hashable], without: Collection[str] = ()
) -> Hashable:
    """The class of a node and its inputs; `found` has the signatures of nodes that it links to."""
    inputs = frozenset(
        (name, _value(value, found))
        for name, value in node["inputs"].items()
        if name not in without
    )
    return (node["class_type"], inputs)


def _text(value: Hashable) -> str:
    """A signature as text; equal ones are equal texts."""
    if isinstance(value, tuple):
        return f"({','.join(map(_text, value))})"
    if isinstance(value, frozenset):
        return f"{{{','.join(sorted(map(_text, value)))}}}"
    if isinstance(value, float) and not value.is_integer():
        return repr(value)
    if isinstance(value, int | float):
        return str(int(value))
    return json.dumps(value) if isinstance(value, str) else f"<{value!r}>"


def _plain(graph: Graph) -> dict[str, Any]:
    """What the nodes of a graph do, without what else is said of them, such as titles."""
    return {key: (node["class_type"], node["inputs"]) for key, node in graph.items()}


def _value(value: Any, found: Mapping[str, Hashable], depth: int = 0) -> Hashable:
    """A value of an input, to be compared: links as signatures, lists and objects as tuples."""
    if depth > _DEEPEST:
        raise GraphError("a value of a node is nested too deeply")
    if is_link(value):
        source, slot = value
        return ("link", found.get(source, source), slot)
    if isinstance(value, list):
        return ("list", *(_value(one, found, depth + 1) for one in value))
    if isinstance(value, dict):
        pairs = ((name, _value(one, found, depth + 1)) for name, one in value.items())
        return ("object", frozenset(pairs))
    return value if isinstance(value, Hashable) else repr(value)
