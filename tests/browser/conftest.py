"""Fixtures of the tests that drive ComfyUI's own editor."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).resolve().parent.parent / "data"


@pytest.fixture(scope="module")
def recorder(comfyui_dir: Path) -> Any:
    """The module that opens the editor, or a skip that says what it lacks."""
    # wanted first, so that a machine without ComfyUI says that and nothing else
    pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install playwright")
    spec = importlib.util.spec_from_file_location("record_canvas", DATA / "record_canvas.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if module.browser() is None:
        pytest.skip(f"no browser: none of {', '.join(module.BROWSERS)} is installed")
    return module
