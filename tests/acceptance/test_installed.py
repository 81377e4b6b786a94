"""From an empty environment in an empty folder: the wheel with an extra does what it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.testing import FakeServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

Installed = Callable[[str], Path]


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("a dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=repository, check=True, capture_output=True, timeout=240)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Makes an environment with the wheel and extras ("" for none); gives its programs' folder."""

    def install(extras: str) -> Path:
        folder = tmp_path_factory.mktemp("environment")
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=120)
        programs = folder / ("Scripts" if os.name == "nt" else "bin")
        wanted = f"spriteworks{extras} @ {wheel.as_uri()}"
        locks = ("constraints.txt", "constraints-torch.txt")
        limits = [f"--constraint={repository / 'scripts' / name}" for name in locks]
        command = [str(programs / "python"), "-m", "pip", "install", "--quiet", *limits, wanted]
        process = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1500)
        if process.returncode and "Could not find a version" in process.stderr:
            pytest.skip("no package index is at hand")
        assert process.returncode == 0, process.stderr
        return programs

    return install


def run(programs: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    # Nothing of the environment of these tests may help.
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [str(programs / "spriteworks"), *arguments]
    return subprocess.run(
        command, cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=300
    )


def test_without_an_extra_it_says_the_one_line(installed: Installed, tmp_path: Path) -> None:
    process = run(installed(""), "--help", cwd=tmp_path)
    assert process.returncode == 2
    assert process.stderr.count("\n") == 1
    assert '-m pip install "spriteworks[orchestrator] @ file:' in process.stderr


def test_the_client_works_without_torch(installed: Installed, tmp_path: Path) -> None:
    programs = installed("[orchestrator]")
    command = [str(programs / "python"), "-m", "pip", "list", "--format=json"]
    listed = subprocess.run(command, capture_output=True, check=True, timeout=60)
    names = {one["name"] for one in json.loads(listed.stdout)}
    assert not names & {"torch", "diffusers", "transformers", "fastapi"}
    graph = {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 255},
        },
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "b"}},
    }
    (tmp_path / "graph.json").write_text(json.dumps(graph))
    with FakeServer() as fake:
        process = run(programs, "run", "graph.json", "--server", fake.url, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert len(list((tmp_path / "out").glob("*.png"))) == 1


def test_the_engine_makes_a_sprite(installed: Installed, tmp_path: Path) -> None:
    process = run(
        installed("[engine]"), "run", "sprite", "--set", "prompt=a red potion", cwd=tmp_path
    )
    assert process.returncode == 0, process.stderr
    (made,) = (tmp_path / "out").glob("*.png")
    assert made.stat().st_size > 100
