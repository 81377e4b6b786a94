"""Makes `.venv` on first use and runs a command in it; needs nothing but Python 3.10 and pip.

    python scripts/bootstrap.py spriteworks run workflows/sprite.json --out out
    python scripts/bootstrap.py test [pytest arguments]
    python scripts/bootstrap.py test --newest [pytest arguments]
    python scripts/bootstrap.py test --coverage [pytest arguments]

`scripts/spriteworks` and `scripts/test` (and their .cmd twins on Windows) call this file. It
installs the versions that `lock.py` wrote into `constraints.txt`; with `--newest`, the newest of
everything into `.venv-newest`, torch included, and says what differs from the lock.
"""

from __future__ import annotations

import signal
import sys

# What ends us, where the system has it, and which of them came.
SIGNALS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    if hasattr(signal, name)
]
RECEIVED: list[int] = []

if __name__ == "__main__":
    # Before anything else is loaded, and never as an exception, which could come anywhere: whatever
    # takes long here is a program that `call` runs, and it looks at what came ten times a second.
    for _number in SIGNALS:
        signal.signal(_number, lambda number, frame: RECEIVED.append(number))

import hashlib
import importlib.metadata
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# s that a program gets to end after a signal, before it is killed; all ends within 5 s
GRACE = 4.5

SCRIPTS = Path(__file__).resolve().parent
REPOSITORY = SCRIPTS.parent
CONSTRAINTS = SCRIPTS / "constraints.txt"
# For machines that have no torch. Any from the oldest on will do.
TORCH_CONSTRAINTS = SCRIPTS / "constraints-torch.txt"
OLDEST_TORCH = (2, 4)

# Of tests at once. Each may have torch, an engine and a ComfyUI: 3 GB.
MOST_PROCESSES = 4
# Of tests that failed beside others and get another chance, alone. More of them are no chance.
MOST_UNSTEADY = 3
# Where pytest keeps the names of the tests that failed last.
LAST_FAILED = REPOSITORY / ".pytest_cache/v/cache/lastfailed"

CHECKS = (
    ("format", ["ruff", "format", "--check", "."]),
    ("lint", ["ruff", "check", "."]),
    ("types", ["mypy"]),
    ("layers", ["lint-imports"]),
)


class ProgramStopped(Exception):
    """A signal came, and the program that ran has ended."""

    def __init__(self, *, has_spoken: bool = False) -> None:
        super().__init__()
        # whether the program has told so itself
        self.has_spoken = has_spoken


def main(arguments: list[str]) -> int:
    try:
        return run(arguments)
    except ProgramStopped as stopped:
        if not stopped.has_spoken:
            print("error: stopped; the same command goes on from here", file=sys.stderr, flush=True)
        # as shells report it
        return 128 + RECEIVED[0]


def run(arguments: list[str]) -> int:
    if sys.version_info < (3, 10):  # noqa: UP036  (this file runs before any requirement is checked)
        print(
            f"Spriteworks needs Python 3.10 or newer, and this is {sys.version.split()[0]}.",
            file=sys.stderr,
        )
        return 2
    if not arguments or arguments[0] not in ("spriteworks", "test"):
        print(__doc__, file=sys.stderr)
        return 2
    command, rest = arguments[0], arguments[1:]
    newest = command == "test" and "--newest" in rest
    environment = Environment(REPOSITORY / (".venv-newest" if newest else ".venv"))
    try:
        if newest:
            ensure_newest(environment)
        else:
            ensure_locked(environment, "dev" if command == "test" else "run")
    except subprocess.CalledProcessError as error:
        print(
            f"Setting up {environment.folder} failed (exit status {error.returncode}); what pip "
            "said stands above. Run the command again once it is mended: it goes on from here.",
            file=sys.stderr,
        )
        return 1
    if command == "spriteworks":
        return run_spriteworks(environment, rest)
    if newest:
        rest.remove("--newest")
        return test_newest(environment, rest)
    if "--coverage" in rest:
        rest.remove("--coverage")
        script = SCRIPTS / "measure_coverage.py"
        return call([str(environment.python), str(script), *rest], cwd=REPOSITORY)
    return run_tests(environment, rest)


@dataclass(frozen=True)
class Environment:
    """A virtual environment of this repository."""

    folder: Path

    @property
    def bin(self) -> Path:
        return self.folder / ("Scripts" if os.name == "nt" else "bin")

    @property
    def python(self) -> Path:
        return self.bin / ("python.exe" if os.name == "nt" else "python")

    def make(self, share: bool = False) -> None:
        """Make it where it is not yet whole; `share`: with what this Python has installed."""
        begun = self.folder.is_dir()
        if self.python.is_file() and self.answer("-m", "pip", "--version") is not None:
            return
        note = " on top of the torch that this Python has" if share else ""
        what = "Making anew, as it is not whole:" if begun else "First use: making"
        print(f"{what} {self.folder}{note}.", file=sys.stderr, flush=True)
        options = ["--system-site-packages"] if share else []
        # What was never ready holds nothing to keep, and half a pip may be in the way of a whole.
        if begun and not any(self.folder.glob("spriteworks-*.stamp")):
            options.append("--clear")
        checked_call([sys.executable, "-m", "venv", *options, str(self.folder)])

    def pip_install(self, *arguments: str) -> None:
        """Run pip; what it prints goes to stderr, so that `--json` output stays clean."""
        # A person gets pip's progress bars, a log does not.
        quiet = [] if sys.stderr.isatty() else ["--quiet"]
        options = ["--disable-pip-version-check", *quiet]
        checked_call([str(self.python), "-m", "pip", *options, "install", *arguments])

    def torch(self) -> str | None:
        """The version of the torch that it has, or None."""
        return self.answer("-c", "import importlib.metadata as m; print(m.version('torch'))")

    def answer(self, *arguments: str) -> str | None:
        """What its Python prints, a line or so; None where it fails."""
        process = start(
            [str(self.python), *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        status = wait(process)
        assert process.stdout is not None
        with process.stdout as output:
            return None if status else output.read().decode().strip()


def checked_call(command: list[str]) -> None:
    """Run a part of the setup, whose words go to stderr; raises CalledProcessError."""
    # It asks nothing, and a terminal that is not its own would let it wait for ever.
    if status := call(command, stdin=subprocess.DEVNULL, stdout=sys.stderr):
        raise subprocess.CalledProcessError(status, command)


def call(command: list[str], *, is_gentle: bool = False, **options: Any) -> int:
    """Run a program and return its exit status; a signal to us ends it and raises Stopped.

    `is_gentle`: it knows what to do with the signal itself, and says so. Others get SIGTERM, at
    which a Python goes without a traceback.
    """
    return wait(start(command, **options), is_gentle=is_gentle)


def start(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start a program, unless a signal came."""
    if RECEIVED:
        raise ProgramStopped
    # In a session of its own it hears of a Ctrl-C in the terminal from us only, and it ends with
    # all that it started. A Windows console tells all of us at once.
    return subprocess.Popen(command, start_new_session=os.name == "posix", **options)


def wait(process: subprocess.Popen[bytes], *, is_gentle: bool = False) -> int:
    """Wait for a program; a signal to us ends it and raises Stopped."""
    status = None
    while status is None and not RECEIVED:
        with suppress(subprocess.TimeoutExpired):
            status = process.wait(timeout=0.1)
    if not RECEIVED:
        assert status is not None
        return status
    raise ProgramStopped(has_spoken=end(process, is_gentle) and is_gentle)


def end(process: subprocess.Popen[bytes], is_gentle: bool) -> bool:
    """End a program and all that it started; False where it had to be killed."""
    if os.name == "posix":
        with suppress(ProcessLookupError, PermissionError):
            if is_gentle:
                process.send_signal(RECEIVED[0])
            else:
                os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=GRACE)
    except subprocess.TimeoutExpired:
        kill(process)
        return False
    return True


def kill(process: subprocess.Popen[bytes]) -> None:
    if os.name == "posix":
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        # The Python of an environment is a starter there, and the one that works is its child.
        command = ["taskkill", "/F", "/T", "/PID", str(process.pid)]
        subprocess.run(command, capture_output=True, check=False)
    process.wait()


def ensure_locked(environment: Environment, extra: str) -> None:
    """Bring it up to pyproject.toml and the lock; quick where it already is."""
    stamp = environment.folder / f"spriteworks-{extra}.stamp"
    asked = (REPOSITORY / "pyproject.toml", CONSTRAINTS, TORCH_CONSTRAINTS)
    wanted = hashlib.sha256(b"".join(path.read_bytes() for path in asked)).hexdigest()
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return
    begun = time.monotonic()
    environment.make(share=new_enough(own_torch()))
    locked = ["--constraint", str(CONSTRAINTS)]
    if not new_enough(environment.torch()):
        print("Installing torch; this is the large part.", file=sys.stderr, flush=True)
        environment.pip_install(*locked, "--constraint", str(TORCH_CONSTRAINTS), "torch")
    print("Installing Spriteworks and what it needs.", file=sys.stderr, flush=True)
    # pip would build with the newest hatchling of the day if it isolated the build
    environment.pip_install(*locked, "hatchling", "editables")
    environment.pip_install(*locked, "--no-build-isolation", "--editable", project(extra))
    stamp.write_text(wanted, encoding="utf-8")
    print(f"Ready after {time.monotonic() - begun:.0f} s.", file=sys.stderr, flush=True)


def ensure_newest(environment: Environment) -> None:
    """Bring everything in it up to the newest version that pip finds."""
    environment.make()
    print("Installing the newest version of everything.", file=sys.stderr, flush=True)
    eager = ["--upgrade", "--upgrade-strategy", "eager"]
    environment.pip_install(*eager, "--editable", project("dev"))


def project(extra: str) -> str:
    # A checkout runs every command; what `serve` needs besides is small.
    return f"{REPOSITORY}[{'dev' if extra == 'dev' else 'engine,service'}]"


def own_torch() -> str | None:
    """The version of the torch that this Python has, or None."""
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return None


def new_enough(torch: str | None) -> bool:
    if torch is None:
        return False
    major, minor = torch.split(".")[:2]
    return (int(major), int(minor)) >= OLDEST_TORCH


def run_spriteworks(environment: Environment, arguments: list[str]) -> int:
    command = [str(environment.python), "-m", "orchestrator", *arguments]
    if os.name != "posix":
        return call(command, is_gentle=True)
    # Replace this process, so that signals reach the command itself. Those that come until it can
    # answer them are held back; its first line lets them through.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
    if RECEIVED:
        raise ProgramStopped
    os.execv(command[0], command)


def run_tests(environment: Environment, arguments: list[str]) -> int:
    """Run every check, then every test; the first that fails ends it.

    Tests against real servers share their cores with those of the other process. A few that failed
    so are run once more, alone, and are named as unsteady where they pass then.
    """
    for name, command in checks(environment, arguments):
        status = run_check(name, command)
        if status and name == "tests" and in_processes(arguments):
            status = run_alone(environment, status)
        if status:
            return status
    return 0


def run_alone(environment: Environment, status: int) -> int:
    """Run what failed beside others once more, where it is little enough to be chance."""
    try:
        known = json.loads(LAST_FAILED.read_text(encoding="utf-8"))
        # What is no test could not be collected, and no chance is at work there.
        failed = sorted(name for name in known if "::" in name)
    except (OSError, ValueError):
        return status
    if status != 1 or len(failed) < len(known) or not 0 < len(failed) <= MOST_UNSTEADY:
        return status
    pytest = [str(environment.python), "-m", "pytest", "--last-failed"]
    if run_check("tests that failed beside others, alone", pytest):
        return status
    for name in failed:
        print(f"unsteady: {name} failed beside others and passed alone", flush=True)
    return 0


def test_newest(environment: Environment, arguments: list[str]) -> int:
    """Run every check and every test, then say which of them fail and what the lock is behind."""
    failed = [name for name, command in checks(environment, arguments) if run_check(name, command)]
    print("== newest versions", flush=True)
    moved = [str(SCRIPTS / "moved.py"), str(CONSTRAINTS), str(TORCH_CONSTRAINTS)]
    if status := call([str(environment.python), *moved]):
        return status
    verdict = f"fails: {', '.join(failed)}" if failed else "everything passes"
    print(f"With the newest versions, {verdict}.", flush=True)
    return 1 if failed else 0


def checks(environment: Environment, arguments: list[str]) -> Iterator[tuple[str, list[str]]]:
    for name, check in CHECKS:
        yield name, [str(environment.bin / check[0]), *check[1:]]
    pytest = [str(environment.python), "-m", "pytest"]
    yield "tests", [*pytest, *in_processes(arguments), *arguments]


def in_processes(arguments: list[str]) -> list[str]:
    """The options of pytest-xdist, where tests are to run in several processes.

    As many as SPRITEWORKS_TEST_PROCESSES says; else, of the whole suite, one a core. What is asked
    for by arguments runs in one process, as pytest runs it anywhere.
    """
    named = os.environ.get("SPRITEWORKS_TEST_PROCESSES")
    cores = min(os.cpu_count() or 1, MOST_PROCESSES)
    count = named or str(1 if arguments else cores)
    if count == "1":
        return []
    # Tests of a file share what it has started. Files go out in the order of their names, by which
    # those whose tests take long come first and none is left for the end.
    return ["-n", count, "--dist", "loadfile", "--no-loadscope-reorder"]


def run_check(name: str, command: list[str]) -> int:
    print(f"== {name}: {' '.join([Path(command[0]).stem, *command[1:]])}", flush=True)
    # At Ctrl-C pytest ends its tests in good order. pytest-xdist takes ten seconds to end its
    # workers and is killed before; the servers that they started end with them.
    return call(command, cwd=REPOSITORY, is_gentle=name.startswith("tests"))


if __name__ == "__main__":
    exit_status = main(sys.argv[1:])
    if RECEIVED:
        # While Python ends it would answer another signal in its own way.
        sys.stdout.flush()
        os._exit(exit_status)
    sys.exit(exit_status)
