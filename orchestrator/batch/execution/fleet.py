"""The servers of a batch: addresses that are given, and processes that we start and recycle."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

import psutil

from ...client.client import Client
from ...client.wire import Timeouts
from ...errors import ServerLost
from ...local.footprint import resident, room
from ...local.process import ServerProcess
from ...local.serving import Choice, Launcher
from ...local.succession import Successor
from ...protocol import SystemStats
from ..logic.pace import PaceBounds
from .growth import GROWTH, ServerGrowth
from .store.store import Store

# What is known of the processes that this batch has started, for the next run to end them.
_PROCESSES = "processes"
_MIB = 1 << 20
# How many times the memory of a server that has just started must be free for another beside it:
# ours have then read their libraries and no model yet.
_ROOM = 2.0
# Bytes of a GPU's memory that must be free for that; CUDA takes some hundred MiB for each process.
_VRAM = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Care:
    """How servers are looked after. Times are in s."""

    timeouts: Timeouts = field(default_factory=lambda: Timeouts(read=30.0, transfer=120.0))
    patience: PaceBounds = field(default_factory=PaceBounds)
    # for which a server that went away may come back to its jobs before others get them
    grace: float = 30.0
    # graphs after which a process of ours is started anew, which gives back all the memory that
    # it holds; 0 is never
    recycle: int = 0
    # MiB by which a process of ours, with its children, may grow after its first jobs; 0 is any
    recycle_growth: int = GROWTH
    # starts in a row that may fail
    starts: int = 3


class FleetServer:
    """A server that is there, at an address."""

    is_ours = False

    def __init__(self, name: str, care: Care) -> None:
        self.name = name
        self.care = care
        # times the server did not answer since this was last set to 0
        self.blinks = 0

    def connected(self) -> Client:
        """A client of it, to be closed; nothing is asked yet."""
        return Client(self.name, timeouts=self.care.timeouts, check=self._check)

    def start(self) -> None:
        """Bring it up, where that is ours to do."""

    def stop(self) -> None:
        """End it, where that is ours to do."""

    def prepare(self, client: Client) -> None:
        """Start the process that shall follow beside this one, where memory has room for both."""

    def retire(self) -> None:
        """End it as `stop` does, but for a process that was prepared, which `start` takes."""
        self.stop()

    def has_ended(self) -> bool:
        """Say whether it is known to be gone with all its jobs."""
        return False

    def worn_out(self, graphs: int) -> str:
        """Why it should be started anew after `graphs` graphs; "" where it should not."""
        return ""

    def _check(self) -> None:
        self.blinks += 1


class OwnServer(FleetServer):
    """A process that we start; its address changes with every start."""

    is_ours = True

    def __init__(
        self,
        name: str,
        care: Care,
        launcher: Launcher,
        processes: Processes,
    ) -> None:
        super().__init__(name, care)
        self._launcher = launcher
        self._processes = processes
        self._stack = ExitStack()
        self._process: ServerProcess | None = None
        self._successor: Successor | None = None
        # bytes that the process took when it had just started
        self._bare = 0
        self._growth = ServerGrowth(care.recycle_growth * _MIB)

    def connected(self) -> Client:
        """A client of the process, to be closed; raises ServerLost where there is none."""
        process = self._process
        if process is None:
            raise ServerLost(f"{self.name} is not running")
        return Client(process.url, timeouts=self.care.timeouts, check=self._check)

    def start(self) -> None:
        """Start the process unless it runs; raises ServerStartFailed."""
        if self._process is not None and not self.has_ended():
            return
        self.retire()
        successor, self._successor = self._successor, None
        if successor is not None:
            self._process, self._stack = successor.take()
        else:
            self._process = self._stack.enter_context(self._launcher())
            self._bare = resident(self._process.pid)
        self._processes.add(self._process.pid)
        self._growth = ServerGrowth(self.care.recycle_growth * _MIB)

    def stop(self) -> None:
        """End the process, and the one that was to follow."""
        successor, self._successor = self._successor, None
        if successor is not None:
            successor.end()
        self.retire()

    def prepare(self, client: Client) -> None:
        """Start the process that shall follow beside this one, where memory has room for both.

        It loads no model before its first job, when this one has ended.
        """
        if self._successor is None and self._has_room(client.system_stats()):
            self._successor = Successor(self._launcher)

    def retire(self) -> None:
        """End the process, but for one that was prepared, which `start` takes."""
        process, self._process = self._process, None
        self._stack.close()
        if process is not None:
            self._processes.remove(process.pid)

    def has_ended(self) -> bool:
        """Say whether the process has ended."""
        return self._process is None or not _is_alive(self._process.pid)

    def worn_out(self, graphs: int) -> str:
        """Why it should be started anew after `graphs` graphs; "" where it should not."""
        if self.care.recycle and graphs >= self.care.recycle:
            return f"it has run {graphs} graph{'' if graphs == 1 else 's'}"
        if self._process is not None and self._growth.is_due(graphs):
            self._growth.look(graphs, resident(self._process.pid))
        grown = self._growth.too_much
        return f"it has grown by {grown // _MIB} MiB" if grown else ""

    def _has_room(self, stats: SystemStats) -> bool:
        own = stats.device_type != "cpu"
        return room() >= _ROOM * self._bare and not (own and stats.vram_free < _VRAM)

    def _check(self) -> None:
        super()._check()
        if self._process is not None:
            self._process.check()


class Processes:
    """The processes of ours that run, kept in the store so that a later run can end them.

    Those of the one who holds the folder are kept under one name; others who work on the record
    keep theirs by themselves, see `of_this_process`.
    """

    def __init__(self, store: Store, fact: str = _PROCESSES) -> None:
        self._store = store
        self._fact = fact

    @classmethod
    def of_this_process(cls, store: Store) -> Processes:
        """Those that this process has started, which nobody ends while it lives."""
        return cls(store, f"{_here()}{os.getpid()} {_born(os.getpid()):.2f}")

    def add(self, pid: int) -> None:
        """Note a process."""
        self._change({str(pid): _born(pid)})

    def remove(self, pid: int) -> None:
        """Forget a process that has ended."""
        self._change({str(pid): None})

    def end_leftovers(self) -> int:
        """End what runs that were killed left behind; returns how many processes.

        For the one who holds the folder: nobody else keeps processes under this name now.
        """
        return self.end_orphans() + self._end_all()

    def end_orphans(self) -> int:
        """Do the same for those on this machine who kept theirs by themselves."""
        dead = [name for name in self._store.facts(_here()) if not _lives(name)]
        ended = sum(Processes(self._store, name)._end_all() for name in dead)
        for name in dead:
            self._store.set_fact(name, None)
        return ended

    def _end_all(self) -> int:
        found = self._read()
        # A number may by now belong to somebody else's process; its birth tells.
        left = [int(pid) for pid, born in found.items() if born and _born(int(pid)) == born]
        for pid in left:
            _end(pid)
        # Only now: where this run is killed meanwhile, the next one ends the rest.
        self._change(dict.fromkeys(found))
        return len(left)

    def _change(self, births: Mapping[str, float | None]) -> None:
        """Note when processes were born; None forgets one."""
        # Servers start and end on threads of their own. In one transaction nobody writes between
        # reading and writing, so that no entry is lost.
        with self._store.database.alone():
            found = {**self._read(), **births}
            known = {pid: born for pid, born in found.items() if born is not None}
            self._store.set_fact(self._fact, json.dumps(known))

    def _read(self) -> dict[str, float]:
        found: dict[str, float] = json.loads(self._store.fact(self._fact) or "{}")
        return found


def fleet(
    choice: Choice,
    care: Care,
    store: Store,
    processes: Processes | None = None,
    prefix: str = "",
) -> list[FleetServer]:
    """The servers of a choice, not started yet; `processes` notes those that are ours.

    Their names begin with `prefix`, where others have such servers, too.
    """
    processes = processes or Processes(store)
    own = (OwnServer(f"{prefix}{name}", care, start, processes) for name, start in choice.own())
    return [*(FleetServer(url, care) for url in choice.urls), *own]


def _here() -> str:
    """What the names of facts begin with that are about processes of this machine."""
    return f"{_PROCESSES} {platform.node()[:20]} "


def _lives(fact: str) -> bool:
    """Say whether the process lives that keeps its processes under this name."""
    pid, born = fact.removeprefix(_here()).split()
    # One that was killed keeps its number until its parent has asked how it ended.
    return f"{_born(int(pid)):.2f}" == born and _is_alive(int(pid))


def _is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _born(pid: int) -> float:
    """When a process began, s since the epoch; 0 where there is none that we may ask."""
    try:
        return float(psutil.Process(pid).create_time())
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0.0


def _end(pid: int) -> None:
    try:
        parent = psutil.Process(pid)
        family = [*parent.children(recursive=True), parent]
        for process in family:
            process.kill()
        psutil.wait_procs(family, timeout=5)
    except psutil.NoSuchProcess:
        # It ended by itself in the meantime.
        return
