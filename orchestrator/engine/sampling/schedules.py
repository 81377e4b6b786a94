"""Schedules: the noise levels (sigmas) that a run walks down a model's table.

Every schedule gives a float32 tensor that falls to a final 0. The formulas are those that
ComfyUI 0.33.0 samples with, and so are their roundings. Sources: Karras et al. 2022
(arXiv 2206.00364, eq. 5) for `karras`, Lee et al. 2024 (arXiv 2407.12173) for `beta`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from ..handles.noise_table import NoiseTable


def karras(table: NoiseTable, steps: int, rho: float = 7.0) -> torch.Tensor:
    """Even steps in sigma^(1/rho)."""
    ramp = torch.linspace(0, 1, steps)
    low, high = table.sigma_min ** (1 / rho), table.sigma_max ** (1 / rho)
    return _then_zero((high + ramp * (low - high)) ** rho)


def exponential(table: NoiseTable, steps: int) -> torch.Tensor:
    """Even steps in log sigma."""
    logs = torch.linspace(math.log(table.sigma_max), math.log(table.sigma_min), steps)
    return _then_zero(logs.exp())


def normal(table: NoiseTable, steps: int) -> torch.Tensor:
    """Even steps in training time, the last at the table's least level."""
    start, end = _time_range(table)
    # A table that itself reaches 0 needs no 0 appended; one step more keeps the count.
    reaches_zero = math.isclose(float(table.sigma(end)), 0, abs_tol=1e-5)
    times = torch.linspace(float(start), float(end), steps + 1 if reaches_zero else steps)
    sigmas = _levels(table, times)
    return sigmas if reaches_zero else _then_zero(sigmas)


def sgm_uniform(table: NoiseTable, steps: int) -> torch.Tensor:
    """Even steps in training time that stop one step before the least level."""
    start, end = _time_range(table)
    times = torch.linspace(float(start), float(end), steps + 1)[:-1]
    return _then_zero(_levels(table, times))


def simple(table: NoiseTable, steps: int) -> torch.Tensor:
    """Every (T / steps)-th level of the table, from the top."""
    stride = len(table.sigmas) / steps
    return _then_zero(_pick(table, [-(1 + int(i * stride)) for i in range(steps)]))


def ddim_uniform(table: NoiseTable, steps: int) -> torch.Tensor:
    """Every (T // steps)-th level from the second up; may be more than `steps` of them."""
    reaches_zero = math.isclose(float(table.sigmas[1]), 0, abs_tol=1e-5)
    stride = max(len(table.sigmas) // (steps + 1 if reaches_zero else steps), 1)
    rising = _pick(table, list(range(1, len(table.sigmas), stride)))
    return rising.flip(0) if reaches_zero else _then_zero(rising.flip(0))


def beta(table: NoiseTable, steps: int, a: float = 0.6, b: float = 0.6) -> torch.Tensor:
    """Quantiles of a beta distribution over the table; repeated levels are taken once."""
    # Here, because scipy's statistics take 0.6 s to import and no other schedule needs them.
    from scipy.stats import beta as beta_distribution

    quantiles = 1 - np.linspace(0, 1, steps, endpoint=False)
    indices = np.rint(beta_distribution.ppf(quantiles, a, b) * (len(table.sigmas) - 1))
    distinct = [int(t) for i, t in enumerate(indices) if i == 0 or t != indices[i - 1]]
    return _then_zero(_pick(table, distinct))


# In the order in which ComfyUI lists them.
SCHEDULES: dict[str, Callable[[NoiseTable, int], torch.Tensor]] = {
    "simple": simple,
    "sgm_uniform": sgm_uniform,
    "karras": karras,
    "exponential": exponential,
    "ddim_uniform": ddim_uniform,
    "beta": beta,
    "normal": normal,
}


def sigmas_for(table: NoiseTable, scheduler: str, steps: int, denoise: float = 1.0) -> torch.Tensor:
    """Noise levels of a run of `steps` steps: float32, falling, usually steps + 1 of them.

    With `denoise` below 1 the schedule is drawn for int(steps / denoise) steps and its last
    `steps` are kept; with 0 or less there is nothing to do, and the tensor is empty.
    """
    if denoise > 0.9999:
        return SCHEDULES[scheduler](table, steps)
    if denoise <= 0:
        return torch.empty(0)
    return SCHEDULES[scheduler](table, int(steps / denoise))[-(steps + 1) :]


def _time_range(table: NoiseTable) -> tuple[torch.Tensor, torch.Tensor]:
    """Training time of the table's greatest and least level."""
    return table.timestep(table.sigmas[-1]), table.timestep(table.sigmas[0])


def _levels(table: NoiseTable, times: torch.Tensor) -> torch.Tensor:
    return torch.stack([table.sigma(t) for t in times]) if len(times) else torch.empty(0)


def _pick(table: NoiseTable, indices: list[int]) -> torch.Tensor:
    return table.sigmas[torch.tensor(indices, dtype=torch.long)]


def _then_zero(sigmas: torch.Tensor) -> torch.Tensor:
    return torch.cat([sigmas, sigmas.new_zeros(1)])
