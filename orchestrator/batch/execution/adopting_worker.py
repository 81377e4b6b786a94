"""Brings home what another orchestrator left on a server, beside whoever feeds that server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...client.client import Client
from ...errors import ServerFrozen, SpriteworksError
from ..logic.assignments import Assignment
from ..logic.retry import FailureKind
from .collecting import Collector
from .dispatcher import Dispatcher
from .fleet import FleetServer
from .server_worker import Recipe, ServerWorker

# s within which a server must say that it is there: nobody knows what its jobs are about meanwhile
_CONNECT, _ANSWER = 2.0, 3.0


class AdoptingWorker(ServerWorker):
    """Waits for attempts that were taken over, sends nothing, and ends when they have.

    What their server does not have, or cannot bring, waits again at once.
    """

    def __init__(
        self,
        server: FleetServer,
        dispatcher: Dispatcher,
        recipe: Recipe,
        collector: Collector,
        *,
        adopted: Sequence[Assignment],
    ) -> None:
        super().__init__(
            server,
            dispatcher,
            recipe,
            collector,
            adopted=adopted,
            whose="of an orchestrator that let it go",
        )
        self.name = f"{server.name} adopting"
        self._retired = True
        # Nothing is sent, so nothing need be there to run it.
        self._fit = True

    def _come_back(self, client: Client) -> None:
        timeouts = replace(
            self.server.care.timeouts, connect=_CONNECT, read=_ANSWER, total=_ANSWER, tries=1
        )
        with Client(self.server.name, timeouts=timeouts) as quick:
            quick.system_stats()
        super()._come_back(client)

    def _set_aside(self, error: SpriteworksError) -> None:
        self._take_returned()
        if self._dispatcher.stopping:
            # It stays open, for whoever comes next.
            self._held = []
            return
        if isinstance(error, ServerFrozen):
            self._interrupt(error)
        self._release(FailureKind.JOB_LOST, f"{self.server.name} cannot be visited: {error}")

    def _rest(self, seconds: float) -> bool:
        return False

    def _give_up_server(self, error: SpriteworksError) -> None:
        self._set_aside(error)

    def _release(self, kind: FailureKind, error: str, *, all_guilty: bool = False) -> None:
        # Of what brought its owner and its server down nobody knows anything.
        super()._release(FailureKind.JOB_LOST, error, all_guilty=all_guilty)

    def _part(self) -> None:
        """The server is another worker's, or nobody's."""
