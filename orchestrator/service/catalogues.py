"""What the servers can do, as far as they have told; one catalogue for each that has answered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from ..errors import GraphError, NodeProblem
from ..protocol import Graph, SystemStats
from ..workflow.catalogue import Catalogue
from ..workflow.checking import validate

# Answers to "does it fit there" that are kept; each is asked for again while a request waits.
_MOST_ANSWERS = 50_000


@dataclass(frozen=True, kw_only=True)
class Known:
    """What one server told of itself."""

    catalogue: Catalogue
    stats: SystemStats


@dataclass(frozen=True, kw_only=True)
class Objection:
    """Why no server takes a graph: what the one that minds the least says."""

    message: str
    problems: tuple[NodeProblem, ...] = ()


class Catalogues:
    """The servers' catalogues by name. May be used by several threads."""

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        """`changed` is called when a server has told what it has."""
        self._changed = changed
        self._lock = threading.Lock()
        self._known: dict[str, Known] = {}
        self._answers: dict[tuple[str, str], bool] = {}

    def learn(self, server: str, known: Known) -> None:
        """A server has told what it has; replaces what it told before."""
        with self._lock:
            self._known = {**self._known, server: known}
            self._answers.clear()
        self._changed()

    def drop(self, servers: Collection[str]) -> None:
        """Servers are no longer there."""
        with self._lock:
            self._known = {one: known for one, known in self._known.items() if one not in servers}
            self._answers.clear()

    def note(self, server: str, stats: SystemStats) -> None:
        """A server has told how it does; what it has is as before."""
        with self._lock:
            if (known := self._known.get(server)) is not None:
                self._known = {**self._known, server: replace(known, stats=stats)}

    @property
    def known(self) -> Mapping[str, Known]:
        """By server, what is known."""
        return self._known

    def of(self, server: str) -> Catalogue:
        """The catalogue of a server that has told it; raises KeyError."""
        return self._known[server].catalogue

    def any(self) -> Catalogue | None:
        """That of the first server; None before any has answered."""
        return next((one.catalogue for one in self._known.values()), None)

    def objection(self, graph: Graph) -> Objection | None:
        """Why no server that is known takes a graph; None where one does."""
        found = [_objection(graph, one.catalogue) for one in self._known.values()]
        wrong = [one for one in found if one is not None]
        if len(wrong) < len(found):
            return None
        # Without any server there is nobody to ask, which the caller sees to.
        return min(wrong, key=lambda one: len(one.problems) or len(graph), default=None)

    def taking(self, graph: Graph) -> Catalogue | None:
        """The catalogue of the first server that takes a graph."""
        known = (one.catalogue for one in self._known.values())
        return next((one for one in known if _objection(graph, one) is None), None)

    def fits(self, key: str, graph: Callable[[], Graph], server: str) -> bool:
        """Say whether a server takes a request's graph; one that is not known does not."""
        known = self._known.get(server)
        if known is None:
            return False
        answer = self._answers.get((key, server))
        if answer is None:
            answer = _objection(graph(), known.catalogue) is None
            with self._lock:
                if len(self._answers) >= _MOST_ANSWERS:
                    self._answers.clear()
                self._answers[key, server] = answer
        return answer

    def forget(self, key: str) -> None:
        """A request has come to its end."""
        with self._lock:
            for server in self._known:
                self._answers.pop((key, server), None)


def models_of(catalogue: Catalogue) -> set[str]:
    """The names of all models that loaders list."""
    found: set[str] = set()
    for kind in catalogue:
        node_class = catalogue.find(kind)
        for name in node_class.model_inputs if node_class else ():
            found.update(map(str, catalogue.node_class(kind).by_name[name].options or ()))
    return found


def _objection(graph: Graph, catalogue: Catalogue) -> Objection | None:
    try:
        problems = validate(graph, catalogue)
    except GraphError as error:
        return Objection(message=str(error))
    if not problems:
        return None
    return Objection(message="; ".join(map(str, problems)), problems=tuple(problems))
