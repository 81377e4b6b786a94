"""Tools that check what is deployed, and what they are told."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

_PACKAGES = {"systemd-analyze": "systemd"}
# s for a tool that only reads files, on a slow and loaded machine
PATIENCE = 120.0


@pytest.fixture(scope="session")
def deploy() -> Path:
    """scripts/deploy."""
    return Path(__file__).resolve().parents[2] / "scripts" / "deploy"


@pytest.fixture(scope="session")
def tool() -> Callable[[str, str], str]:
    """Finds a program on PATH or beside this Python, or skips and says how it is installed."""

    def found(name: str, how: str) -> str:
        path = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
        if path is None:
            pytest.skip(f"{name} is missing: {how}")
        return path

    return found


@pytest.fixture(scope="session")
def said() -> Callable[..., str]:
    """Runs a tool that must succeed; what it printed."""

    def run(
        *command: object,
        env: Mapping[str, str] | None = None,
        stdin: str | None = None,
        cwd: Path | None = None,
    ) -> str:
        done = subprocess.run(
            list(map(str, command)),
            env=env,
            input=stdin,
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def needs() -> Callable[..., None]:
    """Skips a test of the scripts where one of these programs is missing."""

    def check(*programs: str) -> None:
        if sys.platform != "linux":
            pytest.skip("deploys to Linux with systemd")
        for program in programs:
            if shutil.which(program) is None:
                package = _PACKAGES.get(program, program)
                pytest.skip(f"no {program}: apt-get install {package}")

    return check
