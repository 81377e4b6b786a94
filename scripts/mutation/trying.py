"""Runs tests in a copy of the tree, in a process that has what they import loaded already."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.mutation.targets import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# Loaded once, before any process for tests is forked; nothing of ours, which a mutant changes.
PRELOADED = [
    "pytest",
    "hypothesis",
    "coverage",
    "numpy",
    "PIL.Image",
    "requests",
    "pydantic",
    "sqlalchemy.orm",
    "alembic.command",
    "typer",
    "yaml",
    "torch",
]
OPTIONS = ["-q", "-x", "--tb=short", "-p", "no:cacheprovider", "-p", "no:xdist"]

# Set when a person stops the call: what runs is killed at once.
STOPPED = threading.Event()


@dataclass(eq=False)
class Observed:
    """What pytest told: its exit status (None: it died), the first failure, s for each test.

    It is a plugin of pytest, which wants those hashable.
    """

    status: int | None = None
    failed: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    cpu: float = 0.0
    timed_out: bool = False

    def pytest_runtest_logreport(self, report: Any) -> None:
        passed = self.seconds.get(report.nodeid, 0.0)
        self.seconds[report.nodeid] = round(passed + report.duration, 3)
        if report.failed and not self.failed:
            self.failed = report.nodeid

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid

    @property
    def passed(self) -> bool:
        return self.status == 0


class Copy:
    """A copy of the working tree, in which modules are changed and tests run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tree = folder / "tree"
        self.log = folder / "log"
        self._changes = 0
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
        for name in filter(None, listed.decode().split("\0")):
            # one that is deleted and not yet committed is still listed
            if (ROOT / name).is_file():
                (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.tree / name)

    @contextmanager
    def changed(self, path: str, code: str) -> Iterator[None]:
        """With other text in one module."""
        file = self.tree / path
        original, times = file.read_bytes(), file.stat()
        self._changes += 1
        file.write_text(code, encoding="utf-8")
        # Python takes compiled code of the same second and length for that of this text.
        os.utime(file, (times.st_atime, times.st_mtime + self._changes))
        try:
            yield
        finally:
            file.write_bytes(original)
            os.utime(file, (times.st_atime, times.st_mtime))

    def run(
        self, arguments: Sequence[str], limit: float, environment: Mapping[str, str] | None = None
    ) -> Observed:
        """Run pytest for at most `limit` s, then kill it with all that it started."""
        ours, theirs = _CONTEXT.Pipe(duplex=False)
        settings = {"PYTHONPATH": str(self.tree), **(environment or {})}
        temporary = self.folder / "temporary"
        options = [*OPTIONS, f"--basetemp={temporary}", "--hypothesis-seed=0", *arguments]
        process = _CONTEXT.Process(
            target=_run_pytest, args=(self.tree, self.log, options, settings, theirs)
        )
        process.start()
        theirs.close()
        observed = Observed()
        try:
            end = time.monotonic() + limit
            while not ours.poll(0.1) and time.monotonic() < end and not STOPPED.is_set():
                pass
            if ours.poll():
                observed = Observed(*ours.recv())
            else:
                observed.timed_out = True
        except EOFError:
            # a mutant can end the interpreter itself
            observed.failed = "the interpreter"
        finally:
            _kill(process)
            ours.close()
        return observed


if sys.platform == "win32":
    _CONTEXT = multiprocessing.get_context("spawn")
else:
    _CONTEXT = multiprocessing.get_context("forkserver")
    _CONTEXT.set_forkserver_preload(PRELOADED)


def _kill(process: BaseProcess) -> None:
    assert process.pid is not None
    if os.name == "posix":
        # the tests may have left servers, which are of its group
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        command = ["taskkill", "/F", "/T", "/PID", str(process.pid)]
        subprocess.run(command, capture_output=True, check=False)
    process.kill()
    process.join()


def _run_pytest(
    tree: Path, log: Path, arguments: list[str], settings: dict[str, str], answer: Connection
) -> None:
    """In a process of its own: run pytest in `tree`, and send what it told."""
    if os.name == "posix":
        os.setsid()
    with log.open("w", encoding="utf-8") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    os.chdir(tree)
    os.environ.update(settings)
    # The copy stays the same but for one module, and is compiled once.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    ours = {ROOT, ROOT / "scripts" / "mutation"}
    others = [one for one in sys.path if one and Path(one).resolve() not in ours]
    sys.path[:] = [str(tree), *others]
    # `scripts` was found in the checkout, and tests import it from the copy
    for name in [name for name in sys.modules if name.partition(".")[0] == "scripts"]:
        del sys.modules[name]

    import pytest

    observed = Observed()
    status = int(pytest.main(arguments, plugins=[observed]))
    sys.stdout.flush()
    answer.send((status, observed.failed, observed.seconds, sum(os.times()[:4])))
    answer.close()
    # threads of a test that failed may go on for ever
    os._exit(0)
