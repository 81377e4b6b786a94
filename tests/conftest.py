"""Fixtures that every kind of test shares.

Starting real ComfyUI takes 10 to 20 s, so tests that only send prompts share one, and one engine.
Such a test finds other tests' history and files there, and stops no server.
"""

from __future__ import annotations

import importlib.util
import json
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from orchestrator.local import launch
from orchestrator.local.process import ServerProcess

# torch's threads spin while they wait for each other; where the cores are shared that made tests
# fifty times slower. Set before anything imports torch, and inherited by the servers we start.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Where several processes run tests (pytest-xdist), each has its share of the cores.
_processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if _processes > 1:
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // _processes)))

# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile(
    "spriteworks", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("spriteworks")

REPOSITORY = Path(__file__).resolve().parent.parent
TESTS = REPOSITORY / "tests"
# Compiling all that ComfyUI imports takes 10 s and more. Its byte code goes into a folder of ours:
# not into the user's ComfyUI, but kept for the next process.
BYTE_CODE = Path(tempfile.gettempdir()) / "spriteworks-comfyui-pycache"


def find_comfyui() -> Path | None:
    """Real ComfyUI: COMFYUI_PATH, else where comfy-cli installs it by default."""
    named = os.environ.get("COMFYUI_PATH")
    folder = Path(named) if named else Path.home() / "comfy" / "ComfyUI"
    return folder if (folder / "main.py").is_file() else None


@pytest.fixture(scope="session", autouse=True)
def _no_kept_engine(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Let nothing here find an engine that its user keeps running."""
    os.environ["SPRITEWORKS_RUNTIME"] = str(tmp_path_factory.mktemp("runtime") / "spriteworks")


@pytest.fixture(scope="session", autouse=True)
def _told_already(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Let what is said to a user once be said, and nothing be written into this user's folder."""
    state = tmp_path_factory.mktemp("state")
    (state / "told-of-larger-models").touch()
    os.environ["SPRITEWORKS_STATE"] = str(state)


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
def comfyui_environment() -> dict[str, str]:
    """The environment for a process in ComfyUI's Python."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": str(BYTE_CODE)}


@pytest.fixture(scope="session")
def measured_on_comfyui(
    comfyui_dir: Path, comfyui_environment: dict[str, str]
) -> Callable[..., dict[str, Any]]:
    """Runs a script of tests/contract in ComfyUI's Python; what it printed as JSON.

    The script is told ComfyUI's folder, the repository's, and then the further arguments.
    """

    def run(script: str, *arguments: object) -> dict[str, Any]:
        python = launch.python_of(comfyui_dir)
        command = [python, TESTS / "contract" / script, comfyui_dir, REPOSITORY, *arguments]
        done = subprocess.run(
            list(map(str, command)),
            env=comfyui_environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        measured: dict[str, Any] = json.loads(done.stdout)
        return measured

    return run


@pytest.fixture(scope="session")
def imitation() -> ModuleType:
    """The module of a model hub on loopback, tests/data/imitation_hub.py."""
    name = "imitation_hub"
    spec = importlib.util.spec_from_file_location(name, TESTS / "data" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny random folders tiny-sd1, tiny-sd2, tiny-sdxl, and what diffusers makes of them."""
    folder = tmp_path_factory.mktemp("models")
    runpy.run_path(str(TESTS / "contract" / "tiny_models.py"))["main"](folder)
    return folder


@dataclass(frozen=True)
class Supplies:
    """Where the shared servers find models; a test adds its own, under names of its own."""

    models: Path  # laid out as ComfyUI's
    hub: Any  # an imitation, with no repository yet
    cache: Path  # of downloads from it

    def announce(self, patch: pytest.MonkeyPatch) -> None:
        """Tell of the hub and its cache in the environment."""
        patch.setenv("HF_ENDPOINT", self.hub.url)
        patch.setenv("HF_HOME", str(self.cache.parent))
        for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE"):
            patch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def supplies(imitation: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supplies]:
    root = tmp_path_factory.mktemp("supplies")
    for kind in ("checkpoints", "diffusers", "loras"):
        (root / "models" / kind).mkdir(parents=True)
    with imitation.serving(imitation.Hub()) as hub:
        yield Supplies(root / "models", hub, root / "hf" / "hub")


@pytest.fixture(scope="session")
def comfyui(comfyui_dir: Path, supplies: Supplies) -> Iterator[ServerProcess]:
    """A real ComfyUI with our pack, started once for all tests that want one."""
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            supplies.announce(patch)
            patch.setenv("PYTHONPYCACHEPREFIX", str(BYTE_CODE))
            patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
            server = launch.comfyui(comfyui_dir, models=supplies.models)
            process = stack.enter_context(server)
        yield process


@pytest.fixture(scope="session")
def comfyui_url(comfyui: ServerProcess) -> str:
    return comfyui.url


@pytest.fixture(scope="session")
def engine_url(supplies: Supplies) -> Iterator[str]:
    """The embedded engine, started once for all tests that want it."""
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            supplies.announce(patch)
            process = stack.enter_context(launch.engine(models=supplies.models))
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
