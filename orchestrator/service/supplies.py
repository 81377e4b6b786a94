"""What requests bring along and leave behind, where they are sent and collected."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import BadValue, InputError, NotFound, StoreError
from ..protocol import Graph
from ..workflow.catalogue import Catalogue
from .assets import Assets, checked_name, output_id
from .prompting import Workflows
from .recipe import Output
from .requests import Requests
from .views import trace_in

# Graphs that are kept in memory.
_GRAPHS = 512


class Supplies:
    """Graphs, logins and files of requests: `recipe.Order` and `recipe.Files` of the service."""

    def __init__(
        self,
        requests: Requests,
        assets: Assets,
        workflows: Workflows,
        about_to_send: Callable[[str, str, Graph], None],
        logins_of: Callable[[str], Mapping[str, str]] = lambda key: {},
    ) -> None:
        """`about_to_send` is told (request, server, graph) before a graph is sent.

        `logins_of` looks up logins that came with a request that another process took.
        """
        self._requests = requests
        self._assets = assets
        self._workflows = workflows
        self._about_to_send = about_to_send
        self._logins_of = logins_of
        self._lock = threading.Lock()
        self._graphs: OrderedDict[str, Graph] = OrderedDict()
        # logins for nodes that ask other services, in memory only
        self._secrets: dict[str, Mapping[str, str]] = {}

    def keep(self, key: str, graph: Graph, secrets: Mapping[str, str]) -> None:
        """Keep what came with a request that is about to be taken."""
        self._keep_graph(key, graph)
        if secrets:
            self._secrets[key] = dict(secrets)

    def forget(self, key: str) -> None:
        """A request is alive no more."""
        self._secrets.pop(key, None)
        with self._lock:
            self._graphs.pop(key, None)

    def graph(self, key: str) -> Graph:
        """The graph of a request, as it was posted; not to be changed."""
        graph = self._graphs.get(key)
        if graph is None:
            graph = self._requests.graph(key)
            self._keep_graph(key, graph)
        return graph

    def extra_data(self, key: str, graph: Graph, catalogue: Catalogue) -> dict[str, Any]:
        """What goes along with its graph, as it is sent to a server with this catalogue."""
        canvas = self._requests.extra_data(key).get("canvas")
        drawn = self._workflows.drawn(canvas, graph, catalogue) if canvas else None
        trace = trace_in(self._requests.notes(key), key)
        headers = {} if trace is None else {"traceparent": trace.header, "tracestate": trace.state}
        return {
            **({} if drawn is None else {"extra_pnginfo": {"workflow": drawn}}),
            **{name: value for name, value in headers.items() if value},
            **(self._secrets.get(key) or self._logins_of(key)),
        }

    def sent(self, key: str, server: str, graph: Graph) -> None:
        """A graph is about to be sent to a server for a request."""
        self._about_to_send(key, server, graph)

    def open_input(self, job_id: str, asset_id: str) -> tuple[str, str, bytes]:
        """The (hash, name, content) of an asset that a request may use; raises InputError."""
        try:
            view = self._requests.get(job_id)
            asset = self._assets.get(view.owner if view else "", asset_id)
            return asset.hash, asset.name, self._assets.storage.read(asset.hash)
        except NotFound as error:
            raise InputError(f"the asset {asset_id} is no longer there") from error

    def take_output(
        self,
        job_id: str,
        content: bytes,
        *,
        name: str,
        content_type: str,
        node_id: str,
        place: int,
    ) -> Output:
        """Take a file that a request made; raises OutputError."""
        view = self._requests.get(job_id)
        if view is None:
            raise StoreError(f"there is no request {job_id}")
        with ExitStack() as stack:
            part = stack.enter_context(self._assets.receive())
            part.write(content)
            # What takes long is done before the transaction.
            self._assets.prepare(part)
            keep = partial(
                self._assets.add_output,
                view.owner,
                part,
                _shown_as(name, place),
                content_type,
                job_id=job_id,
                node_id=node_id,
                place=place,
                expires_at=view.expires_at,
            )
            return Output(id=output_id(job_id, place), keep=keep, drop=stack.pop_all().close)

    def _keep_graph(self, key: str, graph: Graph) -> None:
        with self._lock:
            self._graphs[key] = graph
            while len(self._graphs) > _GRAPHS:
                self._graphs.popitem(last=False)


def _shown_as(name: str, place: int) -> str:
    """A name that an asset may have; servers and graphs name files as they like."""
    try:
        return checked_name(name)
    except BadValue:
        suffix = Path(name).suffix
        plain = suffix if suffix.isascii() and suffix[1:].isalnum() and len(suffix) < 16 else ""
        return f"output_{place:05}{plain}"
