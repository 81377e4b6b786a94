"""The machine itself: Python, torch and its devices, memory, disks, programs, ports."""

from __future__ import annotations

import errno
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil

from ..extras import install_line
from .findings import Finding, FindingState, absent

GIB = 2**30
# GiB of memory below which SDXL does not load beside the system, and of a disk for one such model
# with its environment (docs/optimization-guide.md has what models need)
_LITTLE_MEMORY, _LITTLE_DISK = 12, 15
# s for torch to be imported, which takes a minute on a cold network disk, and for nvidia-smi
_PATIENCE, _SHORT = 180, 20

# In a process of its own: torch takes seconds and hundreds of MB, and may crash with its driver.
_ASK_TORCH = """
import json, torch
devices = [
    {"name": one.name, "memory": one.total_memory, "capability": [one.major, one.minor]}
    for one in map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
] if torch.cuda.is_available() else []
print(json.dumps({
    "version": torch.__version__, "cuda": torch.version.cuda, "hip": torch.version.hip,
    "devices": devices, "mps": torch.backends.mps.is_available(),
}))
"""


def python() -> Finding:
    """The Python that runs this."""
    words = f"Python {platform.python_version()} in {sys.prefix}, on {platform.platform()}"
    return Finding(name="python", state=FindingState.FINE, text=words)


def torch(*, asked: bool) -> Iterator[Finding]:
    """torch, and the devices that it can use; `asked`: a GPU is."""
    card = _driver()
    try:
        done = subprocess.run(
            [sys.executable, "-c", _ASK_TORCH], capture_output=True, text=True, timeout=_PATIENCE
        )
    except subprocess.TimeoutExpired:
        yield Finding(
            name="torch",
            state=FindingState.MISSING,
            text=f"torch was not imported within {_PATIENCE} s",
            remedy="see whether the driver of the GPU hangs (nvidia-smi)",
        )
        return
    if done.returncode:
        yield _no_torch(done.stderr)
        yield from _cards(card, asked)
        return
    # Some libraries greet on standard output.
    told = json.loads(done.stdout.strip().splitlines()[-1])
    yield Finding(name="torch", state=FindingState.FINE, text=f"torch {told['version']}")
    yield _device(told, card, asked)


def _no_torch(words: str) -> Finding:
    last = (words.strip().splitlines() or ["no reason given"])[-1]
    if "No module named 'torch'" in last:
        text = "no torch: the embedded engine cannot run here, ComfyUI has its own"
        return Finding(
            name="torch", state=FindingState.ABSENT, text=text, remedy=install_line("engine")
        )
    return Finding(
        name="torch",
        state=FindingState.MISSING,
        text=f"torch cannot be imported: {last}",
        remedy="install it again, as pytorch.org says for this machine",
    )


def _cards(card: str, asked: bool) -> Iterator[Finding]:
    if card:
        yield Finding(name="gpu", state=FindingState.FINE, text=f"{card}, for servers with a torch")
    else:
        yield absent("gpu", "no GPU was found", "install its driver (nvidia-smi)", asked=asked)


def _device(told: dict[str, Any], card: str, asked: bool) -> Finding:
    if told["devices"]:
        kind = f"ROCm {told['hip']}" if told["hip"] else f"CUDA {told['cuda']}"
        words = ", ".join(
            f"{one['name']} ({one['memory'] / GIB:.0f} GiB)" for one in told["devices"]
        )
        return Finding(name="gpu", state=FindingState.FINE, text=f"{kind}: {words}")
    if told["mps"]:
        return Finding(name="gpu", state=FindingState.FINE, text=f"Metal on {platform.machine()}")
    if card:
        return Finding(
            name="gpu",
            state=FindingState.MISSING,
            text=f"{card} is here, and this torch cannot use it ({told['version']})",
            remedy="install the torch for its driver, as pytorch.org says",
        )
    text = "no GPU that torch can use: everything runs on the CPU"
    return absent("gpu", text, "install the driver of the GPU, if there is one", asked=asked)


def _driver() -> str:
    """The GPUs that the driver knows, as people call them; "" where there are none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return "an AMD GPU" if Path("/dev/kfd").exists() else ""
    command = [program, "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SHORT)
    except (subprocess.TimeoutExpired, OSError):
        return ""
    return ", ".join(done.stdout.split("\n")).strip(", ") if done.returncode == 0 else ""


def memory() -> Finding:
    """The system's memory."""
    found = psutil.virtual_memory()
    text = f"{found.total / GIB:.1f} GiB of memory, {found.available / GIB:.1f} GiB free"
    if found.total >= _LITTLE_MEMORY * GIB:
        return Finding(name="memory", state=FindingState.FINE, text=text)
    remedy = f"SD 1.5 runs in it; SDXL wants {_LITTLE_MEMORY} GiB, or the loader's `offload`"
    return Finding(name="memory", state=FindingState.POOR, text=text, remedy=remedy)


def disks(folders: Iterable[Path]) -> Iterator[Finding]:
    """The disks of folders, each named once."""
    seen = set()
    for folder in folders:
        # one that is yet to be made lies on the disk of the next above it
        there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
        device = os.stat(there).st_dev
        if device in seen:
            continue
        seen.add(device)
        free = shutil.disk_usage(there).free
        is_little = free < _LITTLE_DISK * GIB
        yield Finding(
            name="disk",
            state=FindingState.POOR if is_little else FindingState.FINE,
            text=f"{free / GIB:.1f} GiB free at {there}",
            remedy=f"make room: SDXL and its environment take {_LITTLE_DISK} GiB"
            if is_little
            else "",
        )


def program(name: str, what_for: str, remedy: str, *, asked: bool = False) -> Finding:
    """A program on PATH."""
    path = shutil.which(name)
    if path:
        return Finding(name=name, state=FindingState.FINE, text=f"{path}, for {what_for}")
    return absent(name, f"no {name}, which {what_for} takes", remedy, asked=asked)


def port(number: int) -> Finding:
    """Whether a program may listen at a port of this machine."""
    name = f"port {number}"
    with socket.socket() as listener:
        if os.name != "nt":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", number))
        except OSError as error:
            is_taken = error.errno == errno.EADDRINUSE
            text = "another program listens there" if is_taken else str(error.strerror)
            remedy = "take another --port, or end that program"
            return Finding(name=name, state=FindingState.MISSING, text=text, remedy=remedy)
    return Finding(name=name, state=FindingState.FINE, text="free")
