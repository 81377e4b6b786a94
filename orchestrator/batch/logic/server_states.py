"""The servers of a run as they stand: which are open, what they hold, whose pictures were wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from .scheduler import ServerState


@dataclass(kw_only=True)
class ServerCounts:
    """What one server did in this run."""

    pictures: int = 0
    failures: int = 0
    # s that it ran our jobs, and that it waited for us while there was work, by its own clock
    busy: float = 0.0
    idle: float = 0.0
    now: str = ""
    words: str = ""


class ServerStates:
    """The servers of a run, by their names; for one thread at a time."""

    def __init__(self, wrong_in_a_row: int) -> None:
        """After so many wrong pictures in a row a server gets no more jobs, see `came_wrong`."""
        self.states: dict[str, ServerState] = {}
        # of all that ever were of the run
        self.counts: dict[str, ServerCounts] = {}
        self._most_wrong = wrong_in_a_row
        # by server, wrong pictures since the last right one
        self._wrong: Counter[str] = Counter()
        # servers that get no more jobs for it, and the last of what came
        self._distrusted: dict[str, str] = {}

    def join(self, server: str, is_open: bool) -> None:
        """A server belongs to the run from now on; also in the middle, and once more."""
        self.states[server] = ServerState(url=server, open=is_open)
        self.counts_of(server).words = ""
        self._distrusted.pop(server, None)
        self._wrong.pop(server, None)

    def leave(self, server: str) -> None:
        """A server will not come back."""
        self.states.pop(server, None)

    def set_open(self, server: str, is_open: bool, words: str) -> bool:
        """Set a server aside for what `words` say, or take it back; False where it is none."""
        if server not in self.states:
            return False
        self.states[server] = replace(self.states[server], open=is_open)
        self.counts[server].words = "" if is_open else words
        return True

    def others_open(self, server: str) -> bool:
        """Say whether another server could take a job of this one."""
        return any(state.open for name, state in self.states.items() if name != server)

    def is_idle(self, server: str) -> bool:
        """Say whether a server of the run could work and has nothing to do."""
        state = self.states[server]
        return state.open and not state.held

    def takes_jobs(self, server: str) -> bool:
        """Say whether a server is of the run and trusted; it may be set aside."""
        return server in self.states and server not in self._distrusted

    def distrust_of(self, server: str) -> str:
        """Why a server gets no more jobs, in words; "" where it does."""
        return self._distrusted.get(server, "")

    def took(self, server: str, model: str) -> None:
        """A server holds one more attempt, with this model; it need not be of the run."""
        state = self.states.get(server)
        if state is not None:
            self.states[server] = replace(state, held=state.held + 1, model=model)

    def let_go(self, server: str) -> None:
        """A server is done with an attempt; it need not be of the run."""
        state = self.states.get(server)
        if state is not None:
            self.states[server] = replace(state, held=max(0, state.held - 1))

    def came_right(self, server: str) -> None:
        """A server's picture was right."""
        self._wrong.pop(server, None)

    def came_wrong(self, server: str, error: str) -> None:
        """Charge a wrong picture to its server; the only one that is open goes on all the same."""
        self._wrong[server] += 1
        times = self._wrong[server]
        if times >= self._most_wrong and self.others_open(server):
            words = f"its pictures were wrong {times} times in a row ({error})"
            # What it had made by then may come home behind it.
            self._distrusted.setdefault(server, words)

    def counts_of(self, server: str) -> ServerCounts:
        """What a server did, to be added to."""
        return self.counts.setdefault(server, ServerCounts())
