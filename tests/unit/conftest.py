"""Fixtures of the unit tests."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

TINY_MODELS = Path(__file__).parent.parent / "contract" / "tiny_models.py"


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny random folders tiny-sd1, tiny-sd2, tiny-sdxl, and what diffusers makes of them."""
    folder = tmp_path_factory.mktemp("models")
    runpy.run_path(str(TINY_MODELS))["main"](folder)
    return folder
