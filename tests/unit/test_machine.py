"""Processes know whether they share a machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.local import machine
from orchestrator.local.process import python_environment


def test_processes_of_one_machine_agree() -> None:
    program = "from orchestrator.local.machine import identity; print(identity())"
    command = [sys.executable, "-c", program]
    other = subprocess.run(command, env=python_environment(), capture_output=True, check=True)
    assert other.stdout.decode().strip() == machine.identity()


def test_a_copy_that_was_started_for_itself_is_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here = machine.identity()
    (tmp_path / "boot_id").write_text("7ad2c1f0-0000-0000-0000-000000000000\n")
    monkeypatch.setattr(machine, "_BOOT", tmp_path / "boot_id")
    assert machine.identity() != here


def test_where_the_system_says_nothing_the_network_card_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(machine, "_BOOT", tmp_path / "nothing")
    monkeypatch.setattr(machine, "_PROCESSES", tmp_path / "nothing")
    found = machine.identity()
    monkeypatch.setattr(machine.uuid, "getnode", lambda: 1)
    assert machine.identity() != found
