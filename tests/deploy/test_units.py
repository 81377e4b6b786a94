"""The units of systemd: as its own tools judge them, and as the scripts and docs use them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import typer.main

from orchestrator.cli import app

SCRIPTS = Path(__file__).resolve().parent.parent.parent / "scripts"
API, WORKER = "spriteworks.service", "spriteworks-worker@.service"
SLICE = "spriteworks-workers.slice"
PROGRAM = "/opt/spriteworks/current/bin/spriteworks"


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """A folder of the units, with a program that is there."""
    for name in (API, WORKER, SLICE):
        text = (SCRIPTS / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text.replace(PROGRAM, str(shutil.which("true"))))
    return tmp_path


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize("name", [API, WORKER, SLICE])
def test_systemd_understands_every_line(units: Path, name: str, needs: Callable[..., None]) -> None:
    needs("systemd-analyze")
    done = analyze("verify", "--man=no", str(units / name))
    ours = [line for line in done.stderr.splitlines() if "spriteworks" in line]
    assert (done.returncode, ours) == (0, []), done.stderr


@pytest.mark.parametrize(("name", "most"), [(API, 2.5), (WORKER, 2.5)])
def test_how_exposed_it_is(units: Path, name: str, most: float, needs: Callable[..., None]) -> None:
    needs("systemd-analyze")
    done = analyze("security", "--offline=true", str(units / name))
    if "unrecognized option" in done.stderr:
        pytest.skip("systemd is older than 250, and judges no unit that does not run")
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) <= most


@pytest.mark.parametrize(("name", "command"), [(API, "serve"), (WORKER, "worker")])
def test_it_starts_a_command_that_there_is(name: str, command: str) -> None:
    text = (SCRIPTS / name).read_text(encoding="utf-8")
    (start,) = re.findall(r"(?m)^ExecStart=(.*)$", text)
    program, given, *options = start.split()
    assert (program, given) == (PROGRAM, command)
    known = typer.main.get_command(app).commands[command]  # type: ignore[attr-defined]
    names = {option for one in known.params for option in one.opts}
    assert {word for word in options if word.startswith("--")} <= names


def test_a_worker_has_longer_to_end_than_it_drains() -> None:
    text = (SCRIPTS / WORKER).read_text(encoding="utf-8")
    (patience,) = re.findall(r"(?m)^TimeoutStopSec=(\d+)$", text)
    deploy = (SCRIPTS / "deploy.sh").read_text(encoding="utf-8")
    (drain,) = re.findall(r"SPRITEWORKS_WORKER_OPTIONS=.*--drain (\d+)", deploy)
    assert int(drain) < int(patience)
