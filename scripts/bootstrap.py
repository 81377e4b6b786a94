"""Makes `.venv` on first use and runs a command in it; needs nothing but Python 3.10 and pip.

    python scripts/bootstrap.py spriteworks run workflows/sprite.json --out out
    python scripts/bootstrap.py test [pytest arguments]

`scripts/spriteworks` and `scripts/test` (and their .cmd twins on Windows) call this file.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import subprocess
import sys
import time
import venv
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
ENVIRONMENT = REPOSITORY / ".venv"
BIN = ENVIRONMENT / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")

# The torch that the test suite ran with, for machines that have none. Any from 2.4 on will do.
TORCH = "torch==2.13.0"
OLDEST_TORCH = (2, 4)

CHECKS = (
    ("format", ["ruff", "format", "--check", "."]),
    ("lint", ["ruff", "check", "."]),
    ("types", ["mypy"]),
    ("layers", ["lint-imports"]),
)


def main(arguments: list[str]) -> int:
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
    try:
        ensure_environment("dev" if command == "test" else "run")
    except subprocess.CalledProcessError as error:
        print(
            f"Setting up {ENVIRONMENT} failed (exit status {error.returncode}); what pip said "
            "stands above. Run the command again once it is mended: it goes on from here.",
            file=sys.stderr,
        )
        return 1
    return run_tests(rest) if command == "test" else run_spriteworks(rest)


def run_spriteworks(arguments: list[str]) -> int:
    command = [str(PYTHON), "-m", "orchestrator.cli", *arguments]
    if os.name != "nt":
        # Replace this process, so that signals reach the command itself.
        os.execv(command[0], command)
    try:
        return subprocess.call(command)
    except KeyboardInterrupt:
        # The console sent Ctrl-C to the command too, which has answered it.
        return 130


def run_tests(arguments: list[str]) -> int:
    """Run every check, then every test; the first that fails ends it."""
    for name, check in CHECKS:
        print(f"== {name}: {' '.join(check)}", flush=True)
        status = subprocess.call([str(BIN / check[0]), *check[1:]], cwd=REPOSITORY)
        if status:
            return status
    print("== tests", flush=True)
    return subprocess.call([str(PYTHON), "-m", "pytest", *arguments], cwd=REPOSITORY)


def ensure_environment(extra: str) -> None:
    """Bring `.venv` up to what pyproject.toml asks for; quick where it already is."""
    stamp = ENVIRONMENT / f"spriteworks-{extra}.stamp"
    wanted = hashlib.sha256((REPOSITORY / "pyproject.toml").read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return
    begun = time.monotonic()
    if not PYTHON.is_file():
        share = has_torch(None)
        note = " on top of the torch that this Python has" if share else ""
        print(f"First use: making {ENVIRONMENT}{note}.", file=sys.stderr, flush=True)
        venv.create(ENVIRONMENT, with_pip=True, system_site_packages=share)
    if not has_torch(PYTHON):
        print(f"Installing {TORCH}; this is the large part.", file=sys.stderr, flush=True)
        pip("install", TORCH)
    print("Installing Spriteworks and what it needs.", file=sys.stderr, flush=True)
    pip("install", "--editable", f"{REPOSITORY}[dev]" if extra == "dev" else str(REPOSITORY))
    stamp.write_text(wanted, encoding="utf-8")
    print(f"Ready after {time.monotonic() - begun:.0f} s.", file=sys.stderr, flush=True)


def pip(*arguments: str) -> None:
    """Run pip in `.venv`; what it prints goes to stderr, so that `--json` output stays clean."""
    # A person gets pip's progress bars, a log does not.
    quiet = [] if sys.stderr.isatty() else ["--quiet"]
    command = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", *quiet, *arguments]
    subprocess.run(command, check=True, stdout=sys.stderr)


def has_torch(python: Path | None) -> bool:
    """Say whether a Python (None: this one) has a torch that is new enough."""
    if python is None:
        try:
            version = importlib.metadata.version("torch")
        except importlib.metadata.PackageNotFoundError:
            return False
    else:
        code = "import importlib.metadata as m; print(m.version('torch'))"
        answer = subprocess.run([str(python), "-c", code], capture_output=True, text=True)
        if answer.returncode:
            return False
        version = answer.stdout.strip()
    major, minor = version.split(".")[:2]
    return (int(major), int(minor)) >= OLDEST_TORCH


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
