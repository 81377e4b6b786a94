"""What the README's commands install, and when; with pip itself left out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(REPOSITORY))

from scripts import bootstrap  # noqa: E402

Installs = list[tuple[str, ...]]


@pytest.fixture
def installs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installs:
    """What pip was asked to install, in a copy of the lock and a machine without torch."""
    found: Installs = []
    for name in ("CONSTRAINTS", "TORCH_CONSTRAINTS"):
        path = tmp_path / f"{name}.txt"
        path.write_bytes(getattr(bootstrap, name).read_bytes())
        monkeypatch.setattr(bootstrap, name, path)
    environment = bootstrap.Environment
    monkeypatch.setattr(environment, "make", lambda self, share: self.folder.mkdir(exist_ok=True))
    monkeypatch.setattr(environment, "pip_install", lambda self, *asked: found.append(asked))
    monkeypatch.setattr(environment, "torch", lambda self: None)
    return found


@pytest.fixture
def environment(tmp_path: Path) -> bootstrap.Environment:
    return bootstrap.Environment(tmp_path / "environment")


def test_everything_is_installed_by_the_lock_and_once(
    installs: Installs, environment: bootstrap.Environment
) -> None:
    bootstrap.ensure_locked(environment, "dev")
    torch, builder, project = installs
    for asked in installs:
        assert asked[:2] == ("--constraint", str(bootstrap.CONSTRAINTS))
    assert torch[2:] == ("--constraint", str(bootstrap.TORCH_CONSTRAINTS), "torch")
    assert builder[2:] == ("hatchling", "editables")
    assert project[2:] == ("--no-build-isolation", "--editable", f"{REPOSITORY}[dev]")
    bootstrap.ensure_locked(environment, "dev")
    assert len(installs) == 3


@pytest.mark.parametrize("name", ["CONSTRAINTS", "TORCH_CONSTRAINTS"])
def test_a_lock_that_changed_is_installed(
    installs: Installs, environment: bootstrap.Environment, name: str
) -> None:
    bootstrap.ensure_locked(environment, "run")
    installs.clear()
    with getattr(bootstrap, name).open("a", encoding="utf-8") as lock:
        lock.write("another==1\n")
    bootstrap.ensure_locked(environment, "run")
    assert installs[-1][-1] == f"{REPOSITORY}[engine,service]"


@pytest.mark.parametrize(
    ("version", "kept"),
    [(None, False), ("2.3.1", False), ("2.4.0", True), ("2.13.0+cpu", True), ("3.0.0a1", True)],
)
def test_a_torch_that_is_there_and_new_enough_is_kept(
    installs: Installs,
    environment: bootstrap.Environment,
    monkeypatch: pytest.MonkeyPatch,
    version: str | None,
    kept: bool,
) -> None:
    monkeypatch.setattr(bootstrap.Environment, "torch", lambda self: version)
    bootstrap.ensure_locked(environment, "run")
    assert ("torch" not in [asked[-1] for asked in installs]) is kept


def test_an_environment_that_was_left_half_made_is_made_whole(tmp_path: Path) -> None:
    environment = bootstrap.Environment(tmp_path / "environment")
    command = [sys.executable, "-m", "venv", "--without-pip", str(environment.folder)]
    subprocess.run(command, check=True)
    (environment.folder / "rest").touch()
    environment.make()
    assert environment.answer("-m", "pip", "--version") is not None
    assert not (environment.folder / "rest").exists()
    # what is whole stays as it is
    (environment.folder / "rest").touch()
    environment.make()
    assert (environment.folder / "rest").exists()


def test_an_environment_that_was_ready_keeps_what_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[list[str]] = []
    monkeypatch.setattr(bootstrap, "checked_call", called.append)
    environment = bootstrap.Environment(tmp_path)
    (tmp_path / "spriteworks-run.stamp").touch()
    environment.make()
    assert called == [[sys.executable, "-m", "venv", str(tmp_path)]]


@pytest.mark.parametrize(
    ("arguments", "named", "count"),
    [
        ([], None, "2"),
        ([], "1", None),
        ([], "3", "3"),
        (["tests/unit/test_bootstrap.py", "-k", "torch"], None, None),
        (["tests/acceptance"], "2", "2"),
    ],
)
def test_the_whole_suite_runs_in_a_process_for_each_core(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], named: str | None, count: str | None
) -> None:
    monkeypatch.setattr(bootstrap.os, "cpu_count", lambda: 2)
    monkeypatch.delenv("SPRITEWORKS_TEST_PROCESSES", raising=False)
    if named:
        monkeypatch.setenv("SPRITEWORKS_TEST_PROCESSES", named)
    options = bootstrap.in_processes(arguments)
    assert options[:2] == (["-n", count] if count else [])


@pytest.mark.parametrize(
    ("status", "failed", "alone", "ends", "asked"),
    [
        (0, 0, 0, 0, False),
        (1, 2, 0, 0, True),
        (1, 2, 1, 1, True),
        (1, 9, 0, 1, False),
        (2, 1, 0, 2, False),  # it was stopped, or pytest itself is at fault
    ],
)
def test_a_few_tests_that_failed_beside_others_are_run_alone(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    status: int,
    failed: int,
    alone: int,
    ends: int,
    asked: bool,
) -> None:
    names = tmp_path / "lastfailed"
    names.write_text(
        json.dumps({f"test_a.py::test_it[{number}]": True for number in range(failed)})
    )
    monkeypatch.setattr(bootstrap, "LAST_FAILED", names)
    monkeypatch.setattr(bootstrap, "in_processes", lambda arguments: ["-n", "2"])
    run: list[list[str]] = []

    def run_check(name: str, command: list[str]) -> int:
        run.append(command)
        if "--last-failed" in command:
            return alone
        return status if name == "tests" else 0

    monkeypatch.setattr(bootstrap, "run_check", run_check)
    assert bootstrap.run_tests(bootstrap.Environment(tmp_path), []) == ends
    assert ("--last-failed" in run[-1]) == asked
    told = capsys.readouterr().out
    assert told.count("unsteady: ") == (failed if asked and alone == 0 else 0)


@pytest.mark.parametrize("name", ["gw0", "tests/unit/test_it.py"])
def test_what_was_not_collected_is_no_chance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    names = tmp_path / "lastfailed"
    names.write_text(json.dumps({name: True}))
    monkeypatch.setattr(bootstrap, "LAST_FAILED", names)
    monkeypatch.setattr(bootstrap, "run_check", lambda name, command: 0)
    assert bootstrap.run_alone(bootstrap.Environment(tmp_path), 1) == 1
