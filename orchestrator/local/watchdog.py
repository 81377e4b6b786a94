"""Ends a server of ours when we die without a chance to: by kill -9, or with a crash.

A small process beside the server holds one end of a pipe; the other end is ours alone, so the
system closes it whenever and however we end.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress

# s that the watchdog gets to go when it is dismissed
_GRACE = 2.0
# Only what every Python has, as it runs without our packages. A word means that all is well.
_SOURCE = """
import os, signal, subprocess, sys
if not sys.stdin.buffer.read(1):
    number = int(sys.argv[1])
    if os.name == "nt":
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(number)], capture_output=True)
    else:
        try:
            os.killpg(number, signal.SIGKILL)
        except OSError:
            pass
"""


class Watchdog:
    """Kills the process `pid`, and on POSIX its whole group, should we end before `dismiss`."""

    def __init__(self, pid: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _SOURCE, str(pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Neither Ctrl-C nor the end of a terminal is for it.
            start_new_session=os.name == "posix",
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )

    def dismiss(self) -> None:
        """Let it go; the server has been stopped."""
        with suppress(OSError, subprocess.TimeoutExpired):
            self._process.communicate(b".", timeout=_GRACE)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
