"""Which machine this is, for those who ask whether a process that they know by its number lives."""

from __future__ import annotations

import os
import platform
import uuid
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

# anew at each start of Linux; copies of a machine, which share their names, differ in it
_BOOT = Path("/proc/sys/kernel/random/boot_id")
# containers on one machine, which number their processes each for itself, differ in it
_PROCESSES = Path("/proc/self/ns/pid")


def identity() -> str:
    """64 hexadecimal digits that only processes share which see each other by their numbers.

    On Linux they are others after each start; elsewhere they stay, and come from the name and the
    network card.
    """
    known = [platform.node()]
    with suppress(OSError):
        known.append(_BOOT.read_text(encoding="ascii").strip())
    with suppress(OSError):
        known.append(os.readlink(_PROCESSES))
    if len(known) == 1:
        known.append(f"{uuid.getnode():x}")
    return sha256("\n".join(known).encode()).hexdigest()
