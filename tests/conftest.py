"""Fixtures that every kind of test shares."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.local import launch

# torch's threads spin while they wait for each other; where the cores are shared that made tests
# fifty times slower. Set before anything imports torch, and inherited by the servers we start.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

REPOSITORY = Path(__file__).resolve().parent.parent


def find_comfyui() -> Path | None:
    """Real ComfyUI: COMFYUI_PATH, else where comfy-cli installs it by default."""
    named = os.environ.get("COMFYUI_PATH")
    folder = Path(named) if named else Path.home() / "comfy" / "ComfyUI"
    return folder if (folder / "main.py").is_file() else None


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def comfyui_dir() -> Path:
    """The folder of a real ComfyUI, or a skip that says how to get one."""
    folder = find_comfyui()
    if folder is None:
        pytest.skip("no real ComfyUI: set COMFYUI_PATH, or install it with comfy-cli")
    return folder


@pytest.fixture(scope="session")
def comfyui_url(comfyui_dir: Path) -> Iterator[str]:
    """A real ComfyUI with our pack, started once for all tests that want one."""
    with launch.comfyui(comfyui_dir) as process:
        yield process.url


@pytest.fixture(scope="session")
def engine_url() -> Iterator[str]:
    """The embedded engine, started once for all tests that want it."""
    with launch.engine() as process:
        yield process.url


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only a request by name (`-m slow`) should run."""
    if config.option.markexpr:
        return
    for item in items:
        for name in ("slow", "gpu", "benchmark"):
            if item.get_closest_marker(name):
                item.add_marker(pytest.mark.skip(reason=f"only with -m {name}"))


def pytest_report_header() -> str:
    folder = find_comfyui()
    return f"real ComfyUI: {folder or 'not found, its tests are skipped'}"
