"""Noise levels (sigmas): a model's table of them, and the schedules that walk it.

Every schedule gives a float32 tensor that falls to a final 0. The formulas are those that
ComfyUI 0.3.64 samples with, and so are their roundings: float64 betas, a float32 table,
interpolation in log sigma. Sources: Karras et al. 2022 (arXiv 2206.00364, eq. 5) for `karras`,
Lin et al. 2023 (arXiv 2305.08891) for zero terminal SNR, Lee et al. 2024 (arXiv 2407.12173)
for `beta`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from comfy_nodes.models import Prediction

# What stands for alpha-bar 0 at the last step of a zero-SNR model: sigma 4518.76 in place of
# infinity. ComfyUI's number, so that its pictures are met.
ZERO_SNR_ALPHA_BAR = 4.8973451890853435e-08


@dataclass(frozen=True, eq=False)
class NoiseTable:
    """The noise levels that a model was trained on."""

    # float32 [T], rising; T is 1000 for every Stable Diffusion
    sigmas: torch.Tensor
    # their natural logarithms, float32 [T], rounded once: taken in float64
    log_sigmas: torch.Tensor
    prediction: Prediction = Prediction.EPSILON

    @property
    def sigma_min(self) -> float:
        """The least noise level of the table."""
        return float(self.sigmas[0])

    @property
    def sigma_max(self) -> float:
        """The greatest noise level of the table."""
        return float(self.sigmas[-1])

    def timestep(self, sigma: torch.Tensor) -> torch.Tensor:
        """Index of the table's nearest level in log sigma: int64, shaped as `sigma`."""
        distances = sigma.log() - self.log_sigmas.to(sigma.device)[:, None]
        return distances.abs().argmin(dim=0).view(sigma.shape)

    def sigma(self, timestep: torch.Tensor) -> torch.Tensor:
        """Noise level at a fractional index, interpolated in log sigma."""
        t = timestep.float().clamp(0, len(self.sigmas) - 1)
        part = t.frac()
        logs = self.log_sigmas
        low, high = logs[t.floor().long()], logs[t.ceil().long()]
        return ((1 - part) * low + part * high).exp()


def noise_table(
    *,
    beta_start: float = 0.00085,
    beta_end: float = 0.012,
    beta_schedule: str = "scaled_linear",
    timesteps: int = 1000,
    zero_terminal_snr: bool = False,
    prediction: Prediction = Prediction.EPSILON,
) -> NoiseTable:
    """The table of a model with these betas; the defaults are every Stable Diffusion's.

    Raises ValueError for a beta schedule other than `scaled_linear` and `linear`.
    """
    if beta_schedule == "scaled_linear":
        betas = torch.linspace(beta_start**0.5, beta_end**0.5, timesteps, dtype=torch.float64) ** 2
    elif beta_schedule == "linear":
        betas = torch.linspace(beta_start, beta_end, timesteps, dtype=torch.float64)
    else:
        raise ValueError(f"beta schedule {beta_schedule!r} is neither scaled_linear nor linear")
    alpha_bar = torch.cumprod(1.0 - betas, dim=0)
    sigmas = ((1 - alpha_bar) / alpha_bar) ** 0.5
    if zero_terminal_snr:
        sigmas = _zero_terminal_snr(sigmas)
    return NoiseTable(sigmas.float(), sigmas.log().float(), prediction)


def _zero_terminal_snr(sigmas: torch.Tensor) -> torch.Tensor:
    """Shift and stretch sqrt(alpha-bar) so that it ends at 0 and begins where it did."""
    root = (1 / (sigmas * sigmas + 1)).sqrt()
    first, last = root[0].clone(), root[-1].clone()
    root = (root - last) * (first / (first - last))
    alpha_bar = root**2
    alpha_bar[-1] = ZERO_SNR_ALPHA_BAR
    return ((1 - alpha_bar) / alpha_bar) ** 0.5


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
