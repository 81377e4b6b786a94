"""Fixtures of the unit tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import torch

    from orchestrator.engine.handles.handles import Loaded
    from orchestrator.workflow.catalogue import Catalogue


@pytest.fixture(scope="session")
def info(repository: Path) -> Catalogue:
    """The node classes that the workflows use, as a real server declares them."""
    from orchestrator.workflow.catalogue import Catalogue

    path = repository / "tests" / "data" / "canvas" / "object_info.json"
    return Catalogue(json.loads(path.read_text(encoding="utf-8")))


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
