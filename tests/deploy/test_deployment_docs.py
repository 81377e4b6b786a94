"""docs/DEPLOYMENT.md: what can be pasted runs, and what is named is there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer.main

from orchestrator.cli import app

REPOSITORY = Path(__file__).resolve().parent.parent.parent
PAGE = (REPOSITORY / "docs" / "DEPLOYMENT.md").read_text(encoding="utf-8")
# what stands in a code block or between backticks
CODE = re.findall(r"```\w*\n(.*?)```|`([^`\n]+)`", PAGE, re.DOTALL)
LINES = [line for pair in CODE for line in "".join(pair).replace("\\\n", " ").splitlines()]


def block(name: str) -> str:
    """The commands that stand after `<!-- test: NAME -->`."""
    found = re.search(rf"<!-- test: {name} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert found, name
    return found[1]


def options_in(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*", text))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_is_pasted_by_hand_makes_a_sprite(tmp_path: Path, needs: Callable[..., None]) -> None:
    needs("bash", "curl")
    programs = tmp_path / "bin"
    programs.mkdir()
    command = programs / "spriteworks"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m orchestrator "$@"\n')
    command.chmod(0o755)
    done = subprocess.run(
        # -m: jobs have numbers, as in a shell that somebody types into
        ["bash", "-m", "-e", "-c", block("by hand")],
        cwd=tmp_path,
        env={
            **os.environ,
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
        },
        capture_output=True,
        text=True,
        timeout=800,
    )
    assert "Traceback" not in done.stderr, done.stderr
    job, _ = json.JSONDecoder().raw_decode(done.stdout, done.stdout.index('{"job_id"'))
    assert job["status"] == "succeeded", done.stdout + done.stderr
    assert re.search(r"(?m)^left +live", done.stdout), done.stdout
    assert re.search(r"(?m)^right +live", done.stdout), done.stdout


def test_every_command_and_option_is_there() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    seen = 0
    for line in LINES:
        for name, rest in re.findall(r"(?:^|[ /])spriteworks ([a-z]+)\b([^;&|]*)", line):
            if name == "env":
                continue
            assert name in commands, line
            one = commands[name]
            if hasattr(one, "commands"):
                one = one.commands[rest.split()[0]]
            known = {option for each in one.params for option in each.opts}
            assert options_in(rest) <= known, line
            seen += 1
    assert seen > 10


@pytest.mark.parametrize("script", ["deploy.sh", "monitor.sh"])
def test_every_option_of_a_script_is_there(script: str) -> None:
    source = (REPOSITORY / "scripts" / script).read_text(encoding="utf-8")
    told = source.partition("\nset -")[0]
    lines = [line for line in LINES if script in line]
    assert lines
    for line in lines:
        rest = line.partition(script)[2].partition("#")[0].partition(")")[0]
        assert options_in(rest) <= {*options_in(told), "--help"}, line
    # and what the head tells is read
    for option in options_in(told):
        assert re.search(rf"(?m)^ +(?:[-\w |]*\| )?{option}\b.*\)|{option} [|)]", source), option


def test_every_file_that_is_named_is_there() -> None:
    named = {name for line in LINES for name in re.findall(r"\bscripts/[\w@./-]+", line)}
    assert {"scripts/deploy.sh", "scripts/monitor.sh", "scripts/spriteworks.service"} <= named
    missing = [name for name in named if not (REPOSITORY / name.rstrip(".")).exists()]
    assert missing == []


def test_scores_are_those_of_the_units(needs: Callable[..., None], tmp_path: Path) -> None:
    needs("systemd-analyze")
    row = re.search(r"`systemd-analyze security`[^|]*\| ([\d.]+) \| ([\d.]+) \|", PAGE)
    assert row
    for name, told in zip(
        ("spriteworks.service", "spriteworks-worker@.service"), row.groups(), strict=True
    ):
        copy = tmp_path / name
        shutil.copy(REPOSITORY / "scripts" / name, copy)
        done = subprocess.run(
            ["systemd-analyze", "security", "--offline=true", str(copy)],
            capture_output=True,
            text=True,
        )
        found = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
        if found is None:
            pytest.skip("systemd is older than 250, and judges no unit that does not run")
        # versions of systemd differ by some checks
        assert abs(float(found[1]) - float(told)) <= 0.5
