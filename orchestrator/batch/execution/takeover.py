"""What becomes of attempts that their owners left: adopted where a server still has them.

Owners die, freeze, or lose the network; then nobody renews what they hold, and whoever is at work
takes it over. Before that an orchestrator that begins does so with what its predecessor left. Both
look at the server first: what it has is waited for and brought home, the rest waits again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress

from ...client.client import Client
from ...errors import SpriteworksError
from ..logic.assignments import Assignment
from ..logic.jobs import Attempt
from ..logic.retry import FailureKind
from .adopting_worker import AdoptingWorker
from .collecting import Collector
from .dispatcher import Dispatcher
from .fleet import Care, FleetServer
from .server_worker import Recipe, ServerWorker

# s that a server which is not of the fleet has to let go of what was left on it
_PARTING = 3.0
# s for which the record must have been there before what others hold is taken over
_CALM = 3.0
# s between two looks at those who are to end
_TICK = 0.2


class Takeover:
    """Takes over what was left, for one dispatcher."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        servers: Iterable[FleetServer],
        recipe_for: Callable[[str], Recipe],
        collector: Collector,
        *,
        care: Care | None = None,
        adopted: Callable[[Attempt], None] = lambda attempt: None,
    ) -> None:
        """`servers` are those of the fleet; `adopted` is told of what is waited for.

        `recipe_for` gives the recipe of a server, also of one that is not of the fleet.
        """
        self._dispatcher = dispatcher
        self._fleet = {server.name: server for server in servers}
        self._recipe_for = recipe_for
        self._collector = collector
        self._care = care or Care()
        self._adopted = adopted
        self._lock = threading.Lock()
        self._adopting: list[AdoptingWorker] = []

    def begin(
        self, *, all: bool = False, dead: Collection[str] = ()
    ) -> dict[str, list[Assignment]]:
        """Take over what was left before this dispatcher began, see `Store.take_over`.

        Returns what servers of the fleet may still have, by server, for their workers to adopt.
        What processes of ours had, or servers that are not of the fleet, is written off.
        """
        found: dict[str, list[Assignment]] = {}
        for name, left in _by_server(self._dispatcher.take_over(all=all, dead=dead)).items():
            server = self._fleet.get(name)
            if server is None or server.is_ours:
                self._write_off(name, left)
                continue
            found[name] = left
            for one in left:
                self._adopted(one.attempt)
        return found

    def look(self) -> None:
        """Take over what has run out meanwhile; called again and again. Raises StoreError.

        Nothing of it before the record has been there for a while: whoever could not renew in an
        outage is given the time to.
        """
        lease = self._dispatcher.settings.lease
        if lease is None or self._dispatcher.outages.calm() < min(_CALM, lease):
            return
        for name, assignments in _by_server(self._dispatcher.take_over()).items():
            if "://" in name:
                self._bring_home(name, assignments)
            else:
                # It was a process of its owner's, and has ended with it, or serves nobody.
                for one in assignments:
                    words = f"{name} was another orchestrator's, which let it go"
                    self._dispatcher.failed(one, FailureKind.JOB_LOST, words)

    @property
    def adopting(self) -> list[ServerWorker]:
        """The threads that wait for what was taken over, as far as they live."""
        with self._lock:
            self._adopting = [one for one in self._adopting if one.is_alive()]
            return [*self._adopting]

    def end(self) -> None:
        """Leave what is not home yet to whoever comes next; after the last `look`."""
        self._dispatcher.stop(hurry=True)
        late = time.monotonic() + _PARTING
        while (alive := self.adopting) and time.monotonic() < late:
            for worker in alive:
                worker.abandon()
            alive[0].join(_TICK)

    def _bring_home(self, name: str, assignments: Sequence[Assignment]) -> None:
        care = self._fleet[name].care if name in self._fleet else self._care
        for one in assignments:
            self._adopted(one.attempt)
        worker = AdoptingWorker(
            FleetServer(name, care),
            self._dispatcher,
            self._recipe_for(name),
            self._collector,
            adopted=assignments,
        )
        with self._lock:
            self._adopting.append(worker)
            worker.start()

    def _write_off(self, name: str, left: Sequence[Assignment]) -> None:
        """Close attempts whose server is not there any more, or is not to be used; they wait."""
        attempts = [one.attempt for one in left]
        is_there = "://" in name and name not in self._fleet and _took_back(name, attempts)
        reason = "its server is no longer " + ("one of ours" if is_there else "there")
        for one in left:
            self._dispatcher.give_back(one, reason)
        self._dispatcher.say(f"{len(left)} jobs that {name} had are sent anew: {reason}")


def _took_back(name: str, attempts: Iterable[Attempt]) -> bool:
    """Take jobs from a server that is not of the fleet; False where it does not answer."""
    with suppress(SpriteworksError), Client(name) as client, client.at_most(_PARTING):
        client.system_stats()
        for attempt in attempts:
            client.cancel(attempt.prompt_id)
        return True
    return False


def _by_server(assignments: Iterable[Assignment]) -> Mapping[str, list[Assignment]]:
    found: dict[str, list[Assignment]] = {}
    for one in assignments:
        found.setdefault(one.attempt.server, []).append(one)
    return found
