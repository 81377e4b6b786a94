"""How the ComfyUI at hand behaves where versions differ."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from orchestrator.engine.sampling.noise import gaussian_steps


@pytest.fixture(scope="session")
def same_noise(measured_on_comfyui: Callable[..., dict[str, Any]]) -> bool:
    """Whether this ComfyUI's samplers draw the noise of their steps as the engine's do."""
    theirs = torch.tensor(measured_on_comfyui("step_noise.py", 7)["drawn"])
    draw = gaussian_steps(torch.zeros(1, 1, 2, 2), 7)
    return torch.equal(draw(torch.tensor(2.0), torch.tensor(1.0)).flatten(), theirs)
