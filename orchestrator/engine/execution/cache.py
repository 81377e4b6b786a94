"""Remembers what the nodes of the last graph gave, so that unchanged nodes do not run again."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...protocol import Graph
from ..host import ComfyNode, Hidden
from ..model_files import Stamp, changed
from .validation import Nodes, constant_inputs, is_link, sources


@dataclass(frozen=True)
class NodeResult:
    """What a node gave: a list of values for every output, and what it shows."""

    outputs: list[list[Any]]
    ui: dict[str, Any] | None = None
    # the model files that it was made of, as they were
    files: Mapping[Path, Stamp] = field(default_factory=dict)


class Cache:
    """Results by signature. `begin` forgets what the new graph does not hold, as ComfyUI does.

    It forgets what was made of model files that have been exchanged, too, as ComfyUI does not.
    """

    def __init__(self) -> None:
        self._results: dict[str, NodeResult] = {}
        self._signatures: dict[str, str] = {}

    def begin(self, graph: Graph, nodes: Nodes, order: list[str]) -> None:
        """Start on a graph; `order` has every node that will be asked for after its sources."""
        self._signatures = signatures(graph, nodes, order)
        used = set(self._signatures.values()) - self._outdated(graph, order)
        self._results = {key: kept for key, kept in self._results.items() if key in used}

    def _outdated(self, graph: Graph, order: list[str]) -> set[str]:
        """Signatures of what was made of model files that are others by now, and of all behind."""
        found: set[str] = set()
        for node_id in order:
            signature = self._signatures[node_id]
            result = self._results.get(signature)
            behind = any(self._signatures[each] in found for each in sources(graph, node_id))
            if behind or (result is not None and changed(result.files)):
                found.add(signature)
        return found

    def get(self, node_id: str) -> NodeResult | None:
        return self._results.get(self._signatures[node_id])

    def set(self, node_id: str, result: NodeResult) -> None:
        self._results[self._signatures[node_id]] = result

    def clear(self) -> None:
        """Forget every result; models held by nothing else are freed with them."""
        self._results.clear()


def signatures(graph: Graph, nodes: Nodes, order: list[str]) -> dict[str, str]:
    """A digest for every node: equal where class, inputs and everything upstream are equal."""
    found: dict[str, str] = {}
    for node_id in order:
        node = graph[node_id]
        cls = nodes[node["class_type"]]
        inputs = {
            name: ["link", found.get(value[0]), value[1]] if is_link(value) else value
            for name, value in node["inputs"].items()
        }
        parts = [node["class_type"], _fingerprint(cls, node["inputs"]), inputs]
        if _needs_own_result(cls):
            parts.append(node_id)
        text = json.dumps(parts, sort_keys=True, default=_unique)
        found[node_id] = hashlib.sha256(text.encode()).hexdigest()
    return found


def _needs_own_result(cls: type[ComfyNode]) -> bool:
    schema = cls.GET_SCHEMA()
    return schema.not_idempotent or Hidden.unique_id in schema.hidden


def _fingerprint(cls: type[ComfyNode], inputs: dict[str, Any]) -> Any:
    if not cls.overrides("fingerprint_inputs"):
        return None
    try:
        value = cls.fingerprint_inputs(**constant_inputs(cls, inputs))
    except Exception:  # noqa: BLE001 - a file may be gone; the node itself will say so
        return _unique()
    # NaN is how nodes say "always run again": it differs from itself
    return value if value == value else _unique()


def _unique(_value: Any = None) -> str:
    return uuid.uuid4().hex
