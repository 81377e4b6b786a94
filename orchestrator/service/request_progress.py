"""From a server's events to how far a request is; with no I/O."""

from __future__ import annotations

from ..protocol import (
    Event,
    Executing,
    ExecutionCached,
    ExecutionStart,
    ExecutionSuccess,
    Graph,
    ProgressState,
    StepProgress,
)
from ..workflow.roles import samplers
from .views import ProgressView

# A node's share of the whole is 1, a sampler's is its steps: so many until it tells, and more than
# the most weigh no more.
_STEPS, _MOST_STEPS = 20, 1000


class Tracker:
    """How far one attempt is. Servers tell of nodes that start and of steps within them.

    Events are hints and some may be missing: a node that was never heard of counts as done once
    the run has ended. What a node expands to belongs to it.
    """

    def __init__(self, graph: Graph) -> None:
        self._classes = {key: str(node["class_type"]) for key, node in graph.items()}
        self._weights = dict.fromkeys(graph, 1)
        for node in samplers(graph):
            self._weigh(node, graph[node]["inputs"].get("steps"))
        self._done: set[str] = set()
        self._node: str | None = None
        # of the node that runs
        self._step, self._steps = 0.0, 0.0
        self._highest = 0.0
        self.started = False

    def take(self, event: Event) -> bool:
        """Note an event; returns whether it changed anything."""
        match event:
            case ExecutionStart():
                changed, self.started = not self.started, True
                return changed
            case ExecutionCached(nodes=nodes):
                self._done.update(node for node in nodes if node in self._classes)
            case Executing(node=str(node)):
                self._begin(event.display_node or node, node)
            case Executing(node=None) | ExecutionSuccess():
                self._done.update(self._classes)
                self._node = None
            case StepProgress(node=node):
                self._count(node, event.value, event.max)
            case ProgressState():
                self._take_state(event)
            case _:
                return False
        self.started = True
        return True

    def view(self) -> ProgressView:
        """Where it is now."""
        done: float = sum(self._weights[node] for node in self._done)
        if self._node is not None and self._node not in self._done and self._steps:
            done += self._weights[self._node] * min(1.0, self._step / self._steps)
        # A node that is run again must not turn the bar back.
        total = sum(self._weights.values()) or 1
        self._highest = max(self._highest, min(1.0, done / total))
        counts = self._node is not None and self._steps > 1
        return ProgressView(
            value=round(self._highest, 4),
            nodes_done=len(self._done),
            nodes_total=len(self._classes),
            node=self._node,
            node_class=None if self._node is None else self._classes[self._node],
            step=int(self._step) if counts else None,
            steps=int(self._steps) if counts else None,
        )

    def _take_state(self, event: ProgressState) -> None:
        for one in event.nodes:
            node = self._ours(one.display_node_id, one.node_id, one.real_node_id)
            if node is None:
                continue
            if one.state == "finished" and one.node_id in self._classes:
                self._done.add(node)
            elif one.state == "running":
                self._begin(node)
                self._set(node, one.value, one.max)

    def _begin(self, *ids: str) -> None:
        node = self._ours(*ids)
        if node is None or node == self._node:
            return
        if self._node is not None:
            # A server runs one node after the other.
            self._done.add(self._node)
        self._node = node
        self._done.discard(node)
        self._step = self._steps = 0.0

    def _count(self, node: str, value: float, most: float) -> None:
        self._begin(node)
        if node == self._node:
            self._set(node, value, most)

    def _set(self, node: str, value: float, most: float) -> None:
        self._step, self._steps = value, most
        if self._weights[node] > 1:
            self._weigh(node, int(most))

    def _weigh(self, node: str, steps: object) -> None:
        """Give a sampler its weight; a link says nothing of how many steps it makes."""
        if isinstance(steps, int) and steps > 1:
            self._weights[node] = min(steps, _MOST_STEPS)
        else:
            self._weights[node] = _STEPS

    def _ours(self, *ids: str | None) -> str | None:
        """The node of the graph that one of several names means; None where none does."""
        return next((one for one in ids if one is not None and one in self._classes), None)
