"""scripts/deploy.sh and monitor.sh, as shellcheck and their bats tests judge them."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
SCRIPTS = HERE.parent.parent / "scripts"


def bats(file: str, *options: str, **environment: str) -> None:
    """Run a file of bats tests; each that fails is told with its output."""
    done = subprocess.run(
        ["bats", "--timing", *options, str(HERE / file)],
        env={**os.environ, "PYTHON": sys.executable, **environment},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\nnot ok" not in done.stdout


@pytest.mark.parametrize("script", ["as-service.sh", "deploy.sh", "monitor.sh"])
def test_shellcheck_has_nothing_to_say(script: str, needs: Callable[..., None]) -> None:
    needs("shellcheck")
    done = subprocess.run(
        ["shellcheck", "--severity=style", str(SCRIPTS / script)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.timeout(900)
def test_monitor(needs: Callable[..., None]) -> None:
    needs("bats", "curl", "openssl")
    bats("monitor.bats")


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("all_of_it", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_deploy(all_of_it: bool, tmp_path: Path, needs: Callable[..., None]) -> None:
    needs("bats", "curl", "flock")
    pytest.importorskip("hatchling", reason="pip install hatchling")
    pytest.importorskip("pip", reason="python -m ensurepip")
    packages = Path(sysconfig.get_paths()["purelib"])
    if (packages / "orchestrator" / "__init__.py").exists():
        pytest.skip("needs Spriteworks installed as editable: pip install -e '.[dev]'")
    subprocess.run([sys.executable, str(HERE / "wheels.py"), str(tmp_path)], check=True)
    options = [] if all_of_it else ["--filter-tags", "!slow"]
    bats("deploy.bats", *options, WHEELS=str(tmp_path))
