"""The samplers: each walks a latent down a list of noise levels.

A sampler gets a function that predicts the clean latent, the noisy latent `x` [B, C, H, W], the
falling float32 `sigmas` [N + 1], the seeds for noise that it adds on its way, and `report`,
which it calls once a step with (step, clean latent); `report` may raise to stop the run.
It returns the latent at the last noise level.

The formulas: Euler and Heun, Karras et al. 2022 (arXiv 2206.00364, algorithm 2 without churn);
ancestral steps, Song et al. 2021 (arXiv 2010.02502, eta 1) written in sigma; DPM-Solver++(2M)
and its SDE form, Lu et al. 2022 (arXiv 2211.01095); LCM, Luo et al. 2023 (arXiv 2310.04378);
exponential Heun, Gonzalez et al. 2023 (arXiv 2305.14267, two stages a whole step apart).
The order of operations is that of ComfyUI 0.33.0, so that the roundings agree too.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch

from .noise import Seeds, StepNoise, brownian_steps, gaussian_steps

# (latent, sigma as a 0-dim tensor) -> predicted clean latent
Denoise = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Report = Callable[[int, torch.Tensor], None]
Sampler = Callable[[Denoise, torch.Tensor, torch.Tensor, Seeds, Report], torch.Tensor]


def euler(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, seeds: Seeds, report: Report
) -> torch.Tensor:
    """First-order steps along the probability flow."""
    for i, (sigma, next_sigma) in enumerate(pairwise(sigmas)):
        clean = denoise(x, sigma)
        report(i, clean)
        x = x + (x - clean) / sigma * (next_sigma - sigma)
    return x


def euler_ancestral(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, seeds: Seeds, report: Report
) -> torch.Tensor:
    """Steps below the next level, then fresh noise up to it."""
    noise = gaussian_steps(x, seeds)
    for i, (sigma, next_sigma) in enumerate(pairwise(sigmas)):
        clean = denoise(x, sigma)
        report(i, clean)
        down, up = _ancestral_split(sigma, next_sigma)
        if down == 0:
            x = clean
        else:
            x = x + (x - clean) / sigma * (down - sigma) + noise(sigma, next_sigma) * up
    return x


def heun(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, seeds: Seeds, report: Report
) -> torch.Tensor:
    """Second-order steps: two predictions a step, one for the last."""
    for i, (sigma, next_sigma) in enumerate(pairwise(sigmas)):
        clean = denoise(x, sigma)
        report(i, clean)
        slope, step = (x - clean) / sigma, next_sigma - sigma
        if next_sigma != 0:
            ahead = x + slope * step
            slope = (slope + (ahead - denoise(ahead, next_sigma)) / next_sigma) / 2
        x = x + slope * step
    return x


def exp_heun_2_x0(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, seeds: Seeds, report: Report
) -> torch.Tensor:
    """Second-order steps in log sigma: two predictions a step, one for the last."""
    return _exponential_heun(denoise, x, sigmas, report, None)


def exp_heun_2_x0_sde(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, seeds: Seeds, report: Report
) -> torch.Tensor:
    """The same with fresh noise at each step (eta 1)."""
    return _exponential_heun(denoise, x, sigmas, report, gaussian_steps(x, seeds))


def dpmpp_2m(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, seeds: Seeds, report: Report
) -> torch.Tensor:
    """Second-order multistep in log sigma, one prediction a step."""
    # lambda = -log sigma; the last level, 0, is at infinity
    lambdas = sigmas.log().neg()
    last_clean: torch.Tensor | None = None
    for i in range(len(sigmas) - 1):
        clean = denoise(x, sigmas[i])
        report(i, clean)
        h = lambdas[i + 1] - lambdas[i]
        target = clean
        if last_clean is not None and sigmas[i + 1] != 0:
            r = (lambdas[i] - lambdas[i - 1]) / h
            target = (1 + 1 / (2 * r)) * clean - (1 / (2 * r)) * last_clean
        ratio = lambdas[i + 1].neg().exp() / lambdas[i].neg().exp()
        x = ratio * x - (-h).expm1() * target
        last_clean = clean
    return x


def dpmpp_2m_sde(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, seeds: Seeds, report: Report
) -> torch.Tensor:
    """DPM-Solver++(2M) with noise from a Brownian path (eta 1, midpoint)."""
    noise = brownian_steps(x, sigmas, seeds) if (sigmas > 0).sum() > 1 else None
    last_clean: torch.Tensor | None = None
    last_h = torch.zeros(())
    for i, (sigma, next_sigma) in enumerate(pairwise(sigmas)):
        clean = denoise(x, sigma)
        report(i, clean)
        if next_sigma == 0 or noise is None:
            x = clean
            continue
        level = next_sigma.log().neg()
        h = level - sigma.log().neg()
        reach = next_sigma * level.exp() * (-h * 2).expm1().neg()
        x = next_sigma / sigma * (-h).exp() * x + reach * clean
        if last_clean is not None:
            x = x + 0.5 * reach * (1 / (last_h / h)) * (clean - last_clean)
        x = x + noise(sigma, next_sigma) * next_sigma * (-2 * h).expm1().neg().sqrt()
        last_clean, last_h = clean, h
    return x


def lcm(
    denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, seeds: Seeds, report: Report
) -> torch.Tensor:
    """Jumps to the clean latent and noises it again to the next level."""
    noise = gaussian_steps(x, seeds)
    for i, (sigma, next_sigma) in enumerate(pairwise(sigmas)):
        x = denoise(x, sigma)
        report(i, x)
        if next_sigma > 0:
            x = noise(sigma, next_sigma) * next_sigma + x
    return x


def _exponential_heun(
    denoise: Denoise,
    x: torch.Tensor,
    sigmas: torch.Tensor,
    report: Report,
    noise: StepNoise | None,
) -> torch.Tensor:
    eta = 0.0 if noise is None else 1.0
    for i, (sigma, next_sigma) in enumerate(pairwise(sigmas)):
        clean = denoise(x, sigma)
        report(i, clean)
        if next_sigma == 0:
            x = clean
            continue
        level = next_sigma.log().neg()
        h = level - sigma.log().neg()
        reach = -h * (eta + 1)
        # The next level by way of its logarithm, one rounding away from `next_sigma`.
        ahead_sigma = level.neg().exp()
        shrink, grow = (-h * eta).exp(), level.exp()
        ahead = ahead_sigma / sigma * shrink * x - ahead_sigma * grow * reach.expm1() * clean
        added: torch.Tensor | None = None
        if noise is not None:
            added = (-2 * h * eta).expm1().neg().sqrt() * noise(sigma, ahead_sigma)
            ahead = ahead + added * ahead_sigma
        last = denoise(ahead, ahead_sigma)
        weight = (reach.expm1() - reach) / reach
        slope = (reach.expm1() - weight) * clean + weight * last
        x = next_sigma / sigma * shrink * x - next_sigma * grow * slope
        if noise is not None and added is not None:
            # The second stage, of no length, has a draw of its own that counts nothing.
            noise(ahead_sigma, next_sigma)
            x = x + added * next_sigma
    return x


def _ancestral_split(
    sigma: torch.Tensor, next_sigma: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(level to step down to, noise to add) whose squares sum to the next level's."""
    variance = next_sigma**2 * (sigma**2 - next_sigma**2) / sigma**2
    up = torch.minimum(next_sigma, variance**0.5)
    return (next_sigma**2 - up**2) ** 0.5, up


# In the order in which ComfyUI lists them. `ddim` at eta 0 is Euler in sigma (its own noise for
# masked latents is the caller's matter, see sampling.py).
SAMPLERS: dict[str, Sampler] = {
    "euler": euler,
    "euler_ancestral": euler_ancestral,
    "heun": heun,
    "exp_heun_2_x0": exp_heun_2_x0,
    "exp_heun_2_x0_sde": exp_heun_2_x0_sde,
    "dpmpp_2m": dpmpp_2m,
    "dpmpp_2m_sde": dpmpp_2m_sde,
    "lcm": lcm,
    "ddim": euler,
}
