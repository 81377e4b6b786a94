"""Fixtures of the tests that use a browser."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import requests

from orchestrator.local.launch import has_gpu, python_of
from orchestrator.local.process import Command, running

DATA = Path(__file__).resolve().parent.parent / "data"


@pytest.fixture(scope="session")
def canvas_editor() -> ModuleType:
    """The module that opens a browser and the editor, or a skip that says what it lacks."""
    pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install playwright")
    name = "canvas_editor"
    spec = importlib.util.spec_from_file_location(name, DATA / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    if module.browser() is None:
        pytest.skip(f"no browser: none of {', '.join(module.BROWSERS)} is installed")
    return module


@dataclass(frozen=True)
class Studio:
    """A ComfyUI with our pack in custom_nodes, and its output folder."""

    url: str
    output: Path

    def history(self) -> dict[str, Any]:
        found: dict[str, Any] = requests.get(f"{self.url}/history", timeout=60).json()
        return found


@pytest.fixture(scope="module")
def studio(
    comfyui_dir: Path,
    canvas_editor: Any,
    repository: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Studio]:
    work = tmp_path_factory.mktemp("studio")
    pack = work / "custom_nodes" / "spriteworks"
    for part in ("comfy_nodes", "workflows", "subgraphs", "locales"):
        shutil.copytree(repository / part, pack / part)
    shutil.copy(repository / "__init__.py", pack)
    for part in ("input", "output", "user"):
        (work / part).mkdir()
    paths = work / "paths.yaml"
    paths.write_text(json.dumps({"ours": {"custom_nodes": str(pack.parent)}}), encoding="utf-8")
    arguments = [python_of(comfyui_dir), "main.py", "--extra-model-paths-config", str(paths)]
    arguments += ["--database-url", f"sqlite:///{work / 'comfyui.db'}", "--disable-auto-launch"]
    for part, folder in (("input", "input"), ("output", "output"), ("user", "user"), ("temp", "")):
        arguments += [f"--{part}-directory", str(work / folder)]
    if not has_gpu():
        arguments.append("--cpu")
    if frontend := os.environ.get("SPRITEWORKS_FRONTEND"):
        arguments += ["--front-end-root", frontend]
    command = Command(
        name="ComfyUI",
        arguments=lambda port: [*arguments, "--port", str(port)],
        cwd=comfyui_dir,
        env={"PYTHONDONTWRITEBYTECODE": "1"},
    )
    with running(command, work / "server.log") as process:
        yield Studio(url=process.url, output=work / "output")
