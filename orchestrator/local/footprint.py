"""How much memory a process with all its descendants takes, and how much there is still to have."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psutil

# Where Linux tells of control groups, version 2, and of the one that this process is in.
_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUP = Path("/proc/self/cgroup")


def resident(pid: int) -> int:
    """Bytes of memory that a process and its descendants hold; 0 where there is none.

    It is the sum of their resident sets, so that what two of them share counts twice.
    """
    with suppress(psutil.Error):
        parent = psutil.Process(pid)
        return sum(map(_resident, [parent, *parent.children(recursive=True)]))
    return 0


def room() -> int:
    """Bytes of memory that may be taken without another program having to give some up.

    A container or a unit of systemd may have less than the machine: what the control groups leave
    counts, the own one and those above it.
    """
    return min([int(psutil.virtual_memory().available), *_left_in_groups(_GROUPS, _OWN_GROUP)])


def _left_in_groups(groups: Path, own: Path) -> list[int]:
    found: list[int] = []
    for folder in _own_groups(groups, own):
        # A group without a limit says "max", the topmost of a machine says nothing.
        with suppress(OSError, ValueError):
            limit = int((folder / "memory.max").read_text(encoding="ascii"))
            used = int((folder / "memory.current").read_text(encoding="ascii"))
            found.append(max(0, limit - used + _cache(folder)))
    return found


def _own_groups(groups: Path, own: Path) -> list[Path]:
    """The folder of the group that this process is in, and those above it."""
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    path = next((line[3:] for line in lines if line.startswith("0::")), None)
    if path is None:
        return []
    mine = groups / path.strip("/")
    return [one for one in (mine, *mine.parents) if one == groups or groups in one.parents]


def _cache(folder: Path) -> int:
    """Bytes of files that a group keeps in memory and gives up when others need them."""
    for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(" ")
        if name == "inactive_file":
            return int(value)
    return 0


def _resident(process: psutil.Process) -> int:
    with suppress(psutil.Error):
        return int(process.memory_info().rss)
    return 0
