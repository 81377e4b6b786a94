"""What is let in: graphs that a server takes, within the limits of whoever posts them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..batch.execution.fleet import FleetServer
from ..batch.logic.planning import model_of
from ..errors import (
    BadValue,
    GraphError,
    NodeProblem,
    NotFound,
    RequestRefused,
    SpriteworksError,
)
from ..protocol import Graph
from ..workflow.catalogue import Catalogue
from ..workflow.document import document_of
from ..workflow.graph import Form, form_of
from ..workflow.roles import parameters
from .assets import Assets
from .catalogues import Catalogues, Known, Objection
from .limits import Limits
from .references import references, replaced

logger = logging.getLogger(__name__)

# s between two askings of a server for what it has, on behalf of requests that do not fit
_ASK_AGAIN = 5.0
# s that a server has for that
_ASKING = 10.0
# s that it has to say how much memory it has left
_GLANCE = 2.0
# s after which a client may come again whose request is refused because no server has answered yet
_NOT_READY = 2.0
# inputs that limits are for
_LIMITED = ("width", "height", "steps", "batch_size")
_MOST_LABELS, _LONGEST_LABEL_NAME, _LONGEST_LABEL = 16, 64, 512


class Admission:
    """Checks what is posted; for any number of threads."""

    def __init__(
        self,
        catalogues: Catalogues,
        servers: Sequence[FleetServer],
        assets: Assets,
        trouble: Callable[[], str],
    ) -> None:
        """`trouble` says why no server has answered."""
        self._catalogues = catalogues
        self._servers = servers
        self._assets = assets
        self._trouble = trouble
        self._lock = threading.Lock()
        # by server, when it was asked last; s, monotonic
        self._asked: dict[str, float] = {}
        # the same for its memory
        self._seen: dict[str, float] = {}

    def graph_of(self, owner: str, workflow: Any) -> Graph:
        """The graph that is asked for, if a server takes it."""
        graph = _parsed(workflow)
        try:
            assets = {asset for _, _, asset in references(graph)}
        except BadValue as error:
            raise RequestRefused("missing_asset", str(error)) from error
        for asset in assets:
            self.check_asset(owner, asset)
        self.catalogue()
        bare = plain(graph)
        objection = self._catalogues.objection(bare)
        if objection is not None and self.ask_again():
            objection = self._catalogues.objection(bare)
        if objection is not None:
            raise _not_valid(objection)
        return graph

    def check_asset(self, owner: str, id: str) -> None:
        """Raise RequestRefused where an owner has no such file."""
        try:
            self._assets.get(owner, id)
        except NotFound as error:
            raise RequestRefused(
                "missing_asset", f"there is no asset {id[:64]!r}; upload the file first"
            ) from error

    def catalogue(self) -> Catalogue:
        """That of the first server; raises RequestRefused before any has answered."""
        catalogue = self._catalogues.any()
        if catalogue is None:
            words = self._trouble()
            raise RequestRefused(
                "deployment_not_ready",
                f"no server has answered yet ({words}); try again",
                retry_after=_NOT_READY,
            )
        return catalogue

    def model_of(self, graph: Graph) -> str:
        """The models that a graph loads."""
        bare = plain(graph)
        return model_of(bare, self._catalogues.taking(bare) or self.catalogue())

    def check_size(self, limits: Limits, graph: Graph) -> None:
        """Raise RequestRefused where a graph asks for more than its owner may."""
        if limits == Limits():
            return
        bare = plain(graph)
        found = parameters(bare, self._catalogues.taking(bare) or self.catalogue())
        asked = {}
        for name in _LIMITED:
            # what samplers get, wherever it stands, and what any other node is told
            held = found.get(name)
            values = [*(held.values() if isinstance(held, Mapping) else [held])]
            values += [node["inputs"].get(name) for node in bare.values()]
            asked[name] = max((one for one in values if type(one) is int), default=None)
        try:
            limits.check_size(**asked)
        except BadValue as error:
            raise RequestRefused("limit_exceeded", str(error)) from error

    def ask_again(self) -> bool:
        """Ask the servers what they have by now; False where that was done just now."""
        asked = False
        for server in self._servers:
            now = time.monotonic()
            with self._lock:
                if now - self._asked.get(server.name, -_ASK_AGAIN) < _ASK_AGAIN:
                    continue
                self._asked[server.name] = now
            asked = self._ask(server) or asked
        return asked

    def ask_memory(self, names: Sequence[str]) -> None:
        """Ask servers how much memory they have left; those that were asked just now are not."""
        for server in self._servers:
            now = time.monotonic()
            with self._lock:
                late = now - self._seen.get(server.name, -_ASK_AGAIN) >= _ASK_AGAIN
                if server.name not in names or not late:
                    continue
                self._seen[server.name] = now
            try:
                with server.connected() as client, client.at_most(_GLANCE):
                    stats = client.system_stats()
            except SpriteworksError as error:
                logger.info("%s does not tell how it does: %s", server.name, error)
                continue
            self._catalogues.note(server.name, stats)

    def _ask(self, server: FleetServer) -> bool:
        try:
            with server.connected() as client, client.at_most(_ASKING):
                known = Known(catalogue=client.catalogue(), stats=client.system_stats())
        except SpriteworksError as error:
            logger.info("%s does not tell what it has: %s", server.name, error)
            return False
        self._catalogues.learn(server.name, known)
        return True


def plain(graph: Graph) -> Graph:
    """A copy in which references to assets are names, as servers see them."""
    return replaced(graph, lambda asset: asset)


def _parsed(workflow: Any) -> Graph:
    try:
        if form_of(workflow, "the workflow") is Form.CANVAS:
            raise RequestRefused(
                "workflow_format_ui",
                "this is a canvas file, as the editor saves it; export it with 'Export (API)'",
            )
        return dict(document_of(workflow, "").data)
    except GraphError as error:
        raise RequestRefused("invalid_workflow", str(error)) from error


def _not_valid(objection: Objection) -> RequestRefused:
    errors: dict[str, Any] = {}
    for problem in objection.problems:
        entry = errors.setdefault(
            problem.node_id,
            {"class_type": problem.class_type, "dependent_outputs": [], "errors": []},
        )
        entry["errors"].append(_told(problem))
    return RequestRefused("invalid_workflow", objection.message, details={"node_errors": errors})


def _told(problem: NodeProblem) -> dict[str, Any]:
    return {
        "type": problem.type,
        "message": problem.message,
        "details": problem.details,
        "extra_info": {},
    }


def checked_labels(labels: Mapping[str, str]) -> Mapping[str, str]:
    """Labels that are texts, few and short; raises RequestRefused for others."""
    if len(labels) > _MOST_LABELS:
        raise RequestRefused(
            "metadata_invalid", f"{len(labels)} labels are too many; {_MOST_LABELS} is the most"
        )
    for name, value in labels.items():
        if not isinstance(value, str) or "\0" in name + value:
            raise RequestRefused("metadata_invalid", f"the label {name[:64]!r} must be a text")
        if not 0 < len(name) <= _LONGEST_LABEL_NAME or len(value) > _LONGEST_LABEL:
            raise RequestRefused(
                "metadata_invalid",
                f"the label {name[:64]!r} is too long or empty; a name has 1 to "
                f"{_LONGEST_LABEL_NAME} characters, a value at most {_LONGEST_LABEL}",
            )
    return labels
