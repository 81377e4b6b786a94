"""What the wheel holds, and what it asks for."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=repository, check=True, capture_output=True, timeout=240)
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_node_pack_asks_for_nothing(wheel: zipfile.ZipFile) -> None:
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    metadata = Parser().parsestr(wheel.read(name).decode())
    asked = metadata.get_all("Requires-Dist") or []
    assert asked
    assert [one for one in asked if "extra ==" not in one] == []
    torches = {one.rpartition("extra == ")[2] for one in asked if one.startswith("torch>")}
    assert torches == {"'engine'", "'dev'"}


def test_every_workflow_and_the_model_are_in_it(wheel: zipfile.ZipFile, repository: Path) -> None:
    names = set(wheel.namelist())
    for path in (repository / "workflows").rglob("*"):
        if path.is_file():
            place = path.relative_to(repository / "workflows").as_posix()
            assert f"orchestrator/shipped/{place}" in names
    for path in (repository / "locales").rglob("*.json"):
        assert f"orchestrator/shipped/{path.relative_to(repository).as_posix()}" in names
    for path in (repository / "subgraphs").glob("*.json"):
        assert f"orchestrator/shipped/subgraphs/{path.name}" in names
    for folder in ("comfy_nodes/model_files", "comfy_nodes/web"):
        for path in (repository / folder).rglob("*"):
            assert path.is_dir() or path.relative_to(repository).as_posix() in names


def test_nothing_else_is_in_it(wheel: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "comfy_nodes",
        "orchestrator",
    }
    assert not [name for name in wheel.namelist() if "__pycache__" in name]
