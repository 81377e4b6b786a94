"""What people call the nodes of a batch's workflow: their titles on the canvas."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from ....errors import SpriteworksError
from ....protocol import Graph
from ....runs.workflows import read_document
from ....workflow.catalogue import Catalogue
from ....workflow.conversion import load
from ....workflow.graph import owner, title
from ...execution.store.kept_plan import kept
from .statistics import NODE

_Value = TypeVar("_Value")


@dataclass(frozen=True, kw_only=True)
class Titles:
    """Names of nodes for people; where none is known, the class is the name."""

    # id in the graph -> its title there, or what its class is called
    nodes: Mapping[str, str] = field(default_factory=dict)
    # class -> what servers call it
    classes: Mapping[str, str] = field(default_factory=dict)

    def span(self, name: str, node_class: str) -> str:
        """One measured span of a graph: what its node is called, with the id where two are so."""
        if not node_class:
            return name
        node_id = name.removeprefix(NODE)
        # A node that was expanded to others names itself first: "5.0.2".
        ours = owner(self.nodes, node_id, node_id.split(".")[0])
        called = self.nodes[ours] if ours else self.classes.get(node_class, node_class)
        is_one = ours is not None and Counter(self.nodes.values())[called] == 1
        return called if is_one else f"{called} ({node_id})"

    def parameter(self, name: str) -> str:
        """A parameter, which may be NODE_ID.input."""
        node_id, dot, given = name.partition(".")
        return f"{self.nodes[node_id]}: {given}" if dot and node_id in self.nodes else name

    def by_class(self, found: Mapping[str, _Value]) -> dict[str, _Value]:
        """What was found by class, by what people call that; two of one name keep their classes."""
        called = Counter(self.classes.get(name, name) for name in found)
        return {self._class(name, called): value for name, value in found.items()}

    def _class(self, name: str, called: Mapping[str, int]) -> str:
        known = self.classes.get(name, name)
        return known if called[known] == 1 else f"{known} ({name})"


def titles(folder: Path, workflow: Path | None, classes: Iterable[str]) -> Titles:
    """The titles of a workflow's nodes, and what `classes` are called, as far as both are known.

    The servers' nodes are those of the batch's last plan. A workflow that is gone or changed beyond
    reading leaves the classes' names.
    """
    plan = kept(folder)
    if plan is None:
        return Titles()
    graph = _graph(workflow, plan.catalogue) if workflow else {}
    wanted = {*classes, *(str(node["class_type"]) for node in graph.values())}
    called = {name: _called(name, plan.catalogue) for name in wanted}
    nodes = {
        node_id: found if (found := title(graph, node_id)) != node["class_type"] else called[found]
        for node_id, node in graph.items()
    }
    return Titles(nodes=nodes, classes=called)


def _graph(workflow: Path, catalogue: Catalogue) -> Graph:
    try:
        document = read_document(workflow.read_bytes(), str(workflow))
        return load(document.data, catalogue, str(workflow)).graph
    except (OSError, SpriteworksError):
        return {}


def _called(name: str, catalogue: Catalogue) -> str:
    try:
        known = catalogue.find(name)
    except SpriteworksError:
        known = None
    return known.display_name if known else name
