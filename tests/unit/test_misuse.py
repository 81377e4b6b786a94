"""What a person means by what they typed is said where it is not understood."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator import connect
from orchestrator.__main__ import run
from orchestrator.errors import UsageError


@pytest.mark.parametrize("role", ["prompt", "seed", "steps", "model", "batch-size"])
@pytest.mark.parametrize("command", [["run", "sprite"], ["validate", "sprite"]])
def test_a_role_is_no_option(capsys: Any, role: str, command: list[str]) -> None:
    assert run([*command, f"--{role}", "x"]) == 2
    assert f"write --set {role.replace('-', '_')}=VALUE" in capsys.readouterr().err


def test_of_a_batch_the_manifest_says_it(capsys: Any) -> None:
    assert run(["batch", "run", "m.yaml", "--steps", "4"]) == 2
    assert "write defaults: {steps: VALUE} into the manifest" in capsys.readouterr().err
    assert run(["batch", "plan", "m.yaml", "--seed", "4"]) == 2
    assert "write seeds: [VALUE] into the manifest" in capsys.readouterr().err


def test_an_option_that_is_none_anywhere(capsys: Any) -> None:
    assert run(["run", "sprite", "--lenght", "4"]) == 2
    assert "--set" not in capsys.readouterr().err.split("Possible")[0]


def test_a_version_of_a_similar_name_is_named(capsys: Any) -> None:
    assert run(["models", "path", "sdxll"]) == 2
    assert "Did you mean 'sdxl'?" in capsys.readouterr().err


def test_halves_of_characters_in_a_setting(capsys: Any) -> None:
    assert run(["run", "sprite", "--set", "prompt=\udcff"]) == 2
    assert "no UTF-8 text" in capsys.readouterr().err


def test_a_name_that_no_system_takes(capsys: Any, tmp_path: Path) -> None:
    name = "a" * 5000
    assert run(["run", name, "--out", str(tmp_path / "out")]) == 2
    found = capsys.readouterr().err
    assert "there is no such file" in found
    assert len(found) < 500


def test_no_address_at_all() -> None:
    nothing: Any = None
    with pytest.raises(UsageError, match="start_engine"):
        connect(nothing)
