"""How much memory a server uses while a job runs, by phase: watched from outside, on any server.

On an accelerator the server's own `/system_stats` tells what torch holds there, which does not
shrink by itself, so that a look now and then sees the peak. The server's process, where it runs on
this machine, is looked at directly. What is the system's (all programs together) is called so.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import psutil

from .client.wire import Timeouts, Wire, is_loopback
from .errors import SpriteworksError
from .protocol import Event, Executing, Graph, SystemStats
from .workflow.catalogue import Catalogue, NodeClass
from .workflow.graph import owner

# Between two looks, in s. A look at a process takes 20 us, a request 1 ms of the server's time.
PROCESS_INTERVAL = 0.02
SERVER_INTERVAL = 0.25

# Devices whose memory is the system's, of which torch keeps no count of its own.
_SHARED = ("cpu", "mps")


class Phase(str, Enum):
    """What a server is at, by the kind of node that runs."""

    LOAD = "load"  # gives models and takes none in
    ENCODE = "encode"  # texts or pictures into what a sampler takes
    SAMPLE = "sample"
    DECODE = "decode"  # latents into pictures
    OTHER = "other"


@dataclass(frozen=True, kw_only=True)
class Use:
    """Memory in use at one moment, or at most, in bytes; None: not known from here."""

    # held by torch on the accelerator for this server
    device: int | None = None
    # resident set of the server's process
    process: int | None = None
    # used in the whole system, by everything
    system: int | None = None

    def highest(self, other: Use) -> Use:
        """The larger of each."""
        return Use(
            device=_larger(self.device, other.device),
            process=_larger(self.process, other.process),
            system=_larger(self.system, other.system),
        )


@dataclass(frozen=True, kw_only=True)
class MemoryUse:
    """What was seen during one job."""

    before: Use
    peak: Use
    phases: Mapping[Phase, Use] = field(default_factory=dict)
    looks: int = 0

    def to_json(self) -> dict[str, Any]:
        """Shape for run.json, in bytes."""
        return {
            "before": vars(self.before),
            "peak": vars(self.peak),
            "phases": {phase.value: vars(use) for phase, use in self.phases.items()},
            "looks": self.looks,
        }


class Meter:
    """Watches one server from a thread of its own while the block runs; never fails the job.

    Hand it the job's events, so that it knows the phase.
    """

    def __init__(self, url: str, graph: Graph, catalogue: Catalogue, stats: SystemStats) -> None:
        self._phases = phases_of(graph, catalogue)
        self._has_device = stats.device_type not in _SHARED
        self._process = process_of(url)
        self._wire = Wire(url, Timeouts(connect=1.0, read=5.0, total=5.0, tries=1))
        # A process that is ours to see needs no answers of the server, which cost it time.
        asks = self._has_device or self._process is None
        self._interval = SERVER_INTERVAL if asks else PROCESS_INTERVAL
        self._asks = asks
        self._phase: Phase | None = None
        self._seen: dict[Phase, Use] = {}
        self._before = self._peak = Use()
        self._looks = 0
        self._wake = threading.Event()
        self._done = False
        self._thread = threading.Thread(target=self._watch, name="memory", daemon=True)

    def __enter__(self) -> Meter:
        self._before = self._peak = self._look()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Look no more; may be called again."""
        self._done = True
        self._wake.set()
        # A server that says nothing keeps nobody waiting.
        self._wire.bounds.abort()
        self._thread.join()
        self._wire.close()

    def observe(self, event: Event) -> None:
        """Note which node runs."""
        if not isinstance(event, Executing):
            return
        node = owner(self._phases, event.node, event.display_node)
        phase = Phase.OTHER if node is None else self._phases[node]
        self._phase = phase if event.node is not None else None
        self._wake.set()

    def use(self) -> MemoryUse:
        """What was seen; complete once the block has ended."""
        return MemoryUse(
            before=self._before, peak=self._peak, phases=dict(self._seen), looks=self._looks
        )

    def _watch(self) -> None:
        while not self._done:
            self._wake.wait(self._interval)
            self._wake.clear()
            phase = self._phase
            use = self._look()
            self._looks += 1
            self._peak = self._peak.highest(use)
            if phase is not None:
                self._seen[phase] = self._seen.get(phase, Use()).highest(use)

    def _look(self) -> Use:
        process = _resident(self._process)
        if not self._asks:
            return Use(process=process, system=_system_used())
        stats = None
        # A server that is busy or gone is for the job's own watch to judge.
        with suppress(SpriteworksError):
            stats = SystemStats.from_json(self._wire.json("GET", "/system_stats"))
        if stats is None:
            return Use(process=process)
        return Use(
            device=stats.torch_vram_total if self._has_device else None,
            process=process,
            system=stats.ram_total - stats.ram_free if stats.ram_total else None,
        )


def phases_of(graph: Graph, catalogue: Catalogue) -> dict[str, Phase]:
    """The phase that each node of a graph belongs to."""
    return {
        node_id: phase_of(catalogue.node_class(str(node["class_type"])))
        for node_id, node in graph.items()
    }


def phase_of(info: NodeClass) -> Phase:
    """The phase that a node class belongs to, from the types of its inputs and outputs."""
    taken = {kind for entry in info.inputs for kind in entry.type.split(",")}
    given = set(info.outputs)
    if "LATENT" in given and taken & {"MODEL", "GUIDER"} and taken & {"CONDITIONING", "GUIDER"}:
        return Phase.SAMPLE
    if "VAE" in taken and "IMAGE" in given:
        return Phase.DECODE
    if given & {"CONDITIONING", "LATENT"} and taken & {"CLIP", "VAE"}:
        return Phase.ENCODE
    if given & {"MODEL", "CLIP", "VAE"} and not taken & {"MODEL", "CLIP", "VAE"}:
        return Phase.LOAD
    return Phase.OTHER


def reports_in(outputs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What SpriteworksMemoryReport nodes told in the outputs of a history record, in bytes."""
    found = []
    for node_id, output in outputs.items():
        told = output.get("memory") if isinstance(output, dict) else None
        entries: Iterable[Any] = told if isinstance(told, list) else ()
        found += [{"node": node_id, **entry} for entry in entries if isinstance(entry, dict)]
    return found


def process_of(url: str) -> psutil.Process | None:
    """The Python process on this machine that listens at `url`; None where it cannot be known."""
    if not is_loopback(url):
        return None
    port = urlsplit(url).port
    with suppress(psutil.Error, OSError):
        for process in psutil.Process().children(recursive=True):
            if _listens(process, port):
                return process
    with suppress(psutil.Error, OSError):
        for entry in psutil.net_connections("tcp"):
            if _is_door(entry, port) and entry.pid:
                return _python(psutil.Process(entry.pid))
    return None


def _listens(process: psutil.Process, port: int | None) -> bool:
    # psutil 6 renamed it.
    connections = getattr(process, "net_connections", None) or process.connections
    with suppress(psutil.Error):
        return any(_is_door(entry, port) for entry in connections("tcp"))
    return False


def _is_door(entry: Any, port: int | None) -> bool:
    return entry.status == psutil.CONN_LISTEN and bool(entry.laddr) and entry.laddr.port == port


def _python(process: psutil.Process) -> psutil.Process | None:
    """The process itself, unless it only passes a port on, as ssh and docker do."""
    return process if "python" in process.name().lower() else None


def _resident(process: psutil.Process | None) -> int | None:
    if process is None:
        return None
    with suppress(psutil.Error):
        return int(process.memory_info().rss)
    return None


def _system_used() -> int:
    memory = psutil.virtual_memory()
    return int(memory.total - memory.available)


def _larger(one: int | None, other: int | None) -> int | None:
    known = [value for value in (one, other) if value is not None]
    return max(known, default=None)
