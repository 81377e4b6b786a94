"""A seed for each picture of a batch, for whatever sampler ComfyUI is told to use."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import comfy.k_diffusion.sampling as host_sampling
import comfy.patcher_extension
import comfy.sample
import comfy.samplers
import torch

from ..ops.seeds import seed_list

_KEY = "spriteworks_seeds"

# Samplers whose noise is a Brownian path over all sigmas; the others draw fresh noise each step.
# Those ending in _gpu lay the path on the device, the others on the CPU.
_BROWNIAN = ("dpmpp_sde", "dpmpp_2m_sde", "dpmpp_2m_sde_heun", "dpmpp_3m_sde")


def with_seeds(model: Any, seed: int) -> Any:
    """A clone of the MODEL that samples picture i of a batch as a single run with seed + i does."""
    clone = model.clone()
    kind = comfy.patcher_extension.WrappersMP.OUTER_SAMPLE
    clone.remove_wrappers_with_key(kind, _KEY)  # of two seed batches in a row the last one counts
    clone.add_wrapper_with_key(kind, _KEY, _wrapper(seed))
    return clone


def _wrapper(first: int) -> Callable[..., Any]:
    def sample(
        executor: Any,
        noise: torch.Tensor,
        latent: torch.Tensor,
        sampler: Any,
        sigmas: torch.Tensor,
        denoise_mask: Any = None,
        callback: Any = None,
        disable_pbar: bool = False,
        seed: int | None = None,
        **newer: Any,
    ) -> Any:
        seeds = seed_list(first, noise.shape[0])
        if torch.count_nonzero(noise) > 0:  # a second pass without added noise stays without
            noise = _start_noise(latent, seeds).to(noise)
        return executor(
            noise,
            latent,
            _seeded_sampler(sampler, seeds),
            sigmas,
            denoise_mask,
            callback,
            disable_pbar,
            first,
            **newer,
        )

    return sample


def _start_noise(latent: torch.Tensor, seeds: Sequence[int]) -> torch.Tensor:
    singles = [comfy.sample.prepare_noise(latent[:1], seed) for seed in seeds]
    return torch.cat(singles)


def _seeded_sampler(sampler: Any, seeds: Sequence[int]) -> Any:
    """A copy of the sampler whose own noise has one seed a picture; others stay as they are."""
    function = getattr(sampler, "sampler_function", None)
    if function is None:
        return sampler
    redraws = sampler.inpaint_options.get("random", False)

    def run(
        model: Any,
        x: torch.Tensor,
        sigmas: torch.Tensor,
        extra_args: Any,
        callback: Any,
        disable: Any,
        **options: Any,
    ) -> Any:
        if redraws:  # ddim fills what is outside the mask with noise of the next seed
            model.noise = _start_noise(x.cpu(), seed_list(seeds[0] + 1, len(seeds))).to(x)
        if "noise_sampler" in inspect.signature(function).parameters and len(sigmas) > 1:
            options.setdefault("noise_sampler", _noise_sampler(function, x, sigmas, seeds))
        return function(
            model, x, sigmas, extra_args=extra_args, callback=callback, disable=disable, **options
        )

    return comfy.samplers.KSAMPLER(run, sampler.extra_options, sampler.inpaint_options)


def _noise_sampler(
    function: Callable[..., Any], x: torch.Tensor, sigmas: torch.Tensor, seeds: Sequence[int]
) -> Callable[[Any, Any], torch.Tensor]:
    """Noise for the steps of a batch: each picture's as the host makes it for that one alone."""
    name = function.__name__.removeprefix("sample_")
    on_device = name.endswith("_gpu")
    singles: list[Callable[[Any, Any], torch.Tensor]]
    if name.removesuffix("_gpu") in _BROWNIAN:
        lowest, highest = sigmas[sigmas > 0].min(), sigmas.max()
        singles = [
            host_sampling.BrownianTreeNoiseSampler(
                x[:1], lowest, highest, seed=seed, cpu=not on_device
            )
            for seed in seeds
        ]
    else:
        singles = [host_sampling.default_noise_sampler(x[:1], seed=_signed(seed)) for seed in seeds]
    return lambda sigma, sigma_next: torch.cat([one(sigma, sigma_next) for one in singles])


def _signed(seed: int) -> int:
    """The same seed to torch, as a number that the host can add one to: it does so on a CPU.

    torch takes 64 bits of either sign, and one above the largest unsigned number is too many.
    """
    return seed if seed < 2**63 else seed - 2**64
