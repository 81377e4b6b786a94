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

import hashlib
import importlib.metadata
import os
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent
REPOSITORY = SCRIPTS.parent
CONSTRAINTS = SCRIPTS / "constraints.txt"
# For machines that have no torch. Any from the oldest on will do.
TORCH_CONSTRAINTS = SCRIPTS / "constraints-torch.txt"
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
        return subprocess.call([str(environment.python), str(script), *rest], cwd=REPOSITORY)
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
        """Make it where it is not yet; `share`: with what this Python has installed."""
        if self.python.is_file():
            return
        note = " on top of the torch that this Python has" if share else ""
        print(f"First use: making {self.folder}{note}.", file=sys.stderr, flush=True)
        venv.create(self.folder, with_pip=True, system_site_packages=share)

    def pip_install(self, *arguments: str) -> None:
        """Run pip; what it prints goes to stderr, so that `--json` output stays clean."""
        # A person gets pip's progress bars, a log does not.
        quiet = [] if sys.stderr.isatty() else ["--quiet"]
        options = ["--disable-pip-version-check", *quiet]
        command = [str(self.python), "-m", "pip", *options, "install", *arguments]
        subprocess.run(command, check=True, stdout=sys.stderr)

    def torch(self) -> str | None:
        """The version of the torch that it has, or None."""
        code = "import importlib.metadata as m; print(m.version('torch'))"
        answer = subprocess.run([str(self.python), "-c", code], capture_output=True, text=True)
        return None if answer.returncode else answer.stdout.strip()


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
    # pip would build with the newest setuptools of the day if it isolated the build
    environment.pip_install(*locked, "setuptools")
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
    return f"{REPOSITORY}[dev]" if extra == "dev" else str(REPOSITORY)


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
    if os.name != "nt":
        # Replace this process, so that signals reach the command itself.
        os.execv(command[0], command)
    try:
        return subprocess.call(command)
    except KeyboardInterrupt:
        # The console sent Ctrl-C to the command too, which has answered it.
        return 130


def run_tests(environment: Environment, arguments: list[str]) -> int:
    """Run every check, then every test; the first that fails ends it."""
    for name, command in checks(environment, arguments):
        status = run_check(name, command)
        if status:
            return status
    return 0


def test_newest(environment: Environment, arguments: list[str]) -> int:
    """Run every check and every test, then say which of them fail and what the lock is behind."""
    failed = [name for name, command in checks(environment, arguments) if run_check(name, command)]
    print("== newest versions", flush=True)
    subprocess.run(
        [str(environment.python), str(SCRIPTS / "moved.py"), CONSTRAINTS, TORCH_CONSTRAINTS],
        check=True,
    )
    verdict = f"fails: {', '.join(failed)}" if failed else "everything passes"
    print(f"With the newest versions, {verdict}.", flush=True)
    return 1 if failed else 0


def checks(environment: Environment, arguments: list[str]) -> Iterator[tuple[str, list[str]]]:
    for name, check in CHECKS:
        yield name, [str(environment.bin / check[0]), *check[1:]]
    yield "tests", [str(environment.python), "-m", "pytest", *arguments]


def run_check(name: str, command: list[str]) -> int:
    print(f"== {name}: {' '.join([Path(command[0]).stem, *command[1:]])}", flush=True)
    return subprocess.call(command, cwd=REPOSITORY)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
