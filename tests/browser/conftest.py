"""Fixtures of the tests that use a browser."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

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
