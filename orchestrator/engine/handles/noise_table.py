"""The noise levels (sigmas) that a model was trained on.

The roundings are those of ComfyUI 0.33.0: float64 betas, a float32 table, interpolation in log
sigma. Source: Lin et al. 2023 (arXiv 2305.08891) for zero terminal SNR.
"""

from __future__ import annotations

from dataclasses import dataclass

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
