"""Records what real ComfyUI's schedules and samplers give, for tests that run without it.

record.py runs it in ComfyUI's folder, with ComfyUI's own Python:
    .venv/bin/python <repository>/tests/data/make_sampler_reference.py <repository>/tests/data
Writes schedules.json and samplers.safetensors.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import torch
from safetensors.torch import save_file

sys.path.insert(0, ".")
sys.argv = [sys.argv[0], sys.argv[1]]
from comfy.cli_args import args  # noqa: E402

args.cpu = True
import comfy.model_sampling  # noqa: E402
import comfy.samplers  # noqa: E402

SCHEDULERS = ["simple", "sgm_uniform", "karras", "exponential", "ddim_uniform", "beta", "normal"]
SAMPLERS = [
    "euler",
    "euler_ancestral",
    "heun",
    "exp_heun_2_x0",
    "exp_heun_2_x0_sde",
    "dpmpp_2m",
    "dpmpp_2m_sde",
    "lcm",
    "ddim",
]
SEED, STEPS, SHAPE = 42, 6, (2, 4, 4, 4)


class Eps(comfy.model_sampling.ModelSamplingDiscrete, comfy.model_sampling.EPS):
    """ComfyUI's noise table of an epsilon model."""


class ToyModel:
    """A denoiser that both sides can compute: tanh towards a fixed picture."""

    def __init__(self, sampling: Eps, target: torch.Tensor) -> None:
        self.inner_model = SimpleNamespace(
            model_sampling=sampling, scale_latent_inpaint=self.scale_latent_inpaint
        )
        self.model_patcher = SimpleNamespace(get_model_object=lambda name: sampling, model=self)
        self.cfg = 1.0  # for the log
        self.sampling, self.target = sampling, target

    def scale_latent_inpaint(self, sigma, noise, latent_image, **kwargs):
        shaped = sigma.reshape([sigma.shape[0], 1, 1, 1])
        return self.sampling.noise_scaling(shaped, noise, latent_image)

    def __call__(self, x, sigma, model_options=None, seed=None):
        shaped = sigma.reshape([-1, 1, 1, 1])
        return torch.tanh(x / (1 + shaped**2) ** 0.5 + self.target) * 0.5


def schedules() -> dict[str, object]:
    tables = {"sd": Eps(), "zero_snr": Eps(zsnr=True)}
    model = SimpleNamespace()
    found: dict[str, object] = {}
    for table, sampling in tables.items():
        model.get_model_object = lambda name, sampling=sampling: sampling
        for scheduler in SCHEDULERS:
            for steps, denoise in [(1, 1.0), (4, 1.0), (20, 1.0), (25, 1.0), (12, 0.35)]:
                sampler = comfy.samplers.KSampler(
                    model, steps, "cpu", sampler="euler", scheduler=scheduler, denoise=denoise
                )
                found[f"{table} {scheduler} {steps} {denoise}"] = sampler.sigmas.tolist()
    return found


def samples() -> dict[str, torch.Tensor]:
    sampling = Eps()
    generator = torch.Generator().manual_seed(7)
    target = torch.randn(SHAPE, generator=generator)
    latent = torch.randn(SHAPE, generator=generator)
    mask = (torch.rand(SHAPE, generator=generator) > 0.4).float()
    noise = torch.randn(SHAPE, generator=torch.manual_seed(SEED))
    found = {"target": target, "latent": latent, "mask": mask}
    for scheduler in ("karras", "normal"):
        full = comfy.samplers.calculate_sigmas(sampling, scheduler, STEPS)
        runs = {"full": (full, None), "part": (full[2:-1], None), "masked": (full, mask)}
        for name in SAMPLERS:
            for run, (sigmas, denoise_mask) in runs.items():
                result = comfy.samplers.sampler_object(name).sample(
                    ToyModel(sampling, target),
                    sigmas,
                    {"seed": SEED},
                    None,
                    noise.clone(),
                    latent,
                    denoise_mask,
                    disable_pbar=True,
                )
                found[f"{name} {scheduler} {run}"] = result.contiguous()
    return found


if __name__ == "__main__":
    out = Path(sys.argv[1])
    text = json.dumps(schedules(), indent=0)
    (out / "schedules.json").write_text(text + "\n", encoding="utf-8")
    save_file(samples(), out / "samplers.safetensors")
