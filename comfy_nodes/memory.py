"""Memory of this process and of its device: snapshots, their difference, and the peak of a block.

    before = snapshot()
    with peak() as highest:
        picture = decode(latent)
    print(highest.device, (snapshot() - before).allocated)

All figures are bytes. On a CPU the device's memory is the system's, and what is allocated there is
the process's resident set, since torch keeps no count of it.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import torch

# Between two looks at memory that nobody counts the peak of, in s. One look takes 10 to 20 us.
INTERVAL = 0.005


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Memory at one moment, in bytes."""

    # as torch names it: "cpu", "cuda:0", "mps"
    device: str
    # held by tensors on the device
    allocated: int
    # taken from the device's driver by torch, tensors and what is kept for the next ones
    reserved: int
    device_free: int
    device_total: int
    # resident set of this process
    process: int
    system_free: int
    system_total: int

    def __sub__(self, before: Snapshot) -> Change:
        """What changed since `before`."""
        return Change(
            allocated=self.allocated - before.allocated,
            reserved=self.reserved - before.reserved,
            device_free=self.device_free - before.device_free,
            process=self.process - before.process,
            system_free=self.system_free - before.system_free,
        )


@dataclass(frozen=True, kw_only=True)
class Change:
    """The difference of two snapshots, in bytes; what grew is positive."""

    allocated: int
    reserved: int
    device_free: int
    process: int
    system_free: int


def current_device() -> torch.device:
    """The accelerator that this process would use, else the CPU."""
    import torch

    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def snapshot(device: torch.device | str | None = None) -> Snapshot:
    """Memory now; `device` None is the one of `current_device`."""
    import torch

    where = current_device() if device is None else torch.device(device)
    process, system = psutil.Process().memory_info().rss, psutil.virtual_memory()
    if where.type == "cuda":
        free, total = torch.cuda.mem_get_info(where)
        allocated = torch.cuda.memory_allocated(where)
        reserved = torch.cuda.memory_reserved(where)
    elif where.type == "mps":
        allocated = torch.mps.current_allocated_memory()
        reserved = torch.mps.driver_allocated_memory()
        free, total = system.available, system.total
    else:
        allocated = reserved = process
        free, total = system.available, system.total
    return Snapshot(
        device=str(where),
        allocated=allocated,
        reserved=reserved,
        device_free=free,
        device_total=total,
        process=process,
        system_free=system.available,
        system_total=system.total,
    )


def lifetime_peak() -> int:
    """The most that was ever resident of this process, in bytes."""
    info = psutil.Process().memory_info()
    if sys.platform == "win32":
        return int(info.peak_wset)
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts KiB, macOS bytes.
    return max(info.rss, most if sys.platform == "darwin" else most * 1024)


@dataclass
class Peak:
    """The most memory that was held at once; complete when its block has ended."""

    # on the device, by tensors; the process's resident set on a CPU
    device: int = 0
    # resident set of the process
    process: int = 0


@contextmanager
def peak(device: torch.device | str | None = None) -> Iterator[Peak]:
    """Measure the peak of a block; blocks may be nested.

    CUDA counts its own exactly; its counter (`torch.cuda.max_memory_allocated`) is set back for
    it. Everything else is looked at every INTERVAL by a thread.
    """
    import torch

    where = current_device() if device is None else torch.device(device)
    found = Peak()
    with _watched(where, found):
        if where.type != "cuda":
            yield found
        else:
            with _COUNTERS.open(where, found):
                yield found


class _Counters:
    """Shares the one counter that CUDA has for each device between nested blocks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: list[tuple[torch.device, Peak]] = []

    @contextmanager
    def open(self, device: torch.device, found: Peak) -> Iterator[None]:
        self._settle(device)
        with self._lock:
            self._open.append((device, found))
        try:
            yield
        finally:
            self._settle(device)
            with self._lock:
                self._open = [entry for entry in self._open if entry[1] is not found]

    def _settle(self, device: torch.device) -> None:
        """Give what was counted so far to all open blocks, and count anew."""
        import torch

        with self._lock:
            highest = torch.cuda.max_memory_allocated(device)
            for where, found in self._open:
                if where == device:
                    found.device = max(found.device, highest)
            torch.cuda.reset_peak_memory_stats(device)


_COUNTERS = _Counters()


@contextmanager
def _watched(device: torch.device, found: Peak) -> Iterator[None]:
    """Note what no counter counts, until the block ends."""
    process = psutil.Process()
    done = threading.Event()

    def look() -> None:
        found.process = max(found.process, process.memory_info().rss)
        if device.type == "cpu":
            found.device = found.process
        elif device.type == "mps":
            import torch

            found.device = max(found.device, torch.mps.current_allocated_memory())

    def watch() -> None:
        while not done.wait(INTERVAL):
            look()

    look()
    thread = threading.Thread(target=watch, name="memory", daemon=True)
    thread.start()
    try:
        yield
    finally:
        look()
        done.set()
        thread.join()
