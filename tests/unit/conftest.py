"""Fixtures of the unit tests."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import torch

    from orchestrator.engine.handles.handles import Loaded

TINY_MODELS = Path(__file__).parent.parent / "contract" / "tiny_models.py"


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny random folders tiny-sd1, tiny-sd2, tiny-sdxl, and what diffusers makes of them."""
    folder = tmp_path_factory.mktemp("models")
    runpy.run_path(str(TINY_MODELS))["main"](folder)
    return folder


@pytest.fixture(scope="module")
def plain(tiny_models: Path) -> Loaded:
    """tiny-sd1 on the engine, in fp32 and with no other setting."""
    # Imported here: most tests need neither torch nor diffusers.
    from engine_pictures import load

    return load(tiny_models, precision="fp32")


@pytest.fixture(scope="module")
def baseline(plain: Loaded) -> torch.Tensor:
    """The picture that settings are compared with."""
    from engine_pictures import picture

    return picture(plain)
