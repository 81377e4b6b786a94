"""The core samplers."""

from __future__ import annotations

from typing import Any

import torch

from ..handles.handles import Model
from ..host import CoreNode, context, io
from ..sampling.guidance import Conditioning
from ..sampling.noise import SEED_LIMIT
from ..sampling.samplers import SAMPLERS
from ..sampling.sampling import Latent, SamplingRequest, run_sigmas, sample
from ..sampling.schedules import SCHEDULES

_STEPS: dict[str, Any] = {"default": 20, "min": 1, "max": 10000}
_CFG: dict[str, Any] = {"default": 8.0, "min": 0.0, "max": 100.0, "step": 0.1, "round": 0.01}
_SEED: dict[str, Any] = {
    "default": 0,
    "min": 0,
    "max": SEED_LIMIT - 1,
    "control_after_generate": True,
}
_STEP: dict[str, Any] = {"min": 0, "max": 10000, "advanced": True}


class KSampler(CoreNode):
    """Sampling from start to end."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="KSampler",
            display_name="KSampler",
            category="model/sampling",
            description="Makes a picture, as a latent, out of noise, guided by two texts.",
            inputs=[
                io.Model.Input("model", tooltip="The model that takes out the noise."),
                io.Int.Input("seed", tooltip="Decides the noise.", **_SEED),
                io.Int.Input("steps", tooltip="In how many steps.", **_STEPS),
                io.Float.Input(
                    "cfg",
                    tooltip="How strictly the texts are followed; too high a value costs quality.",
                    **_CFG,
                ),
                io.Combo.Input("sampler_name", options=list(SAMPLERS), tooltip="How to step."),
                io.Combo.Input(
                    "scheduler", options=list(SCHEDULES), tooltip="How the noise falls over time."
                ),
                io.Conditioning.Input("positive", tooltip="What the picture should show."),
                io.Conditioning.Input("negative", tooltip="What it should not show."),
                io.Latent.Input("latent_image", tooltip="Where to start."),
                io.Float.Input(
                    "denoise",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="How much of the start is replaced; below 1 it shows through.",
                ),
            ],
            outputs=[io.Latent.Output(tooltip="The latent without noise.")],
        )

    @classmethod
    def execute(
        cls,
        model: Model,
        seed: int,
        steps: int,
        cfg: float,
        sampler_name: str,
        scheduler: str,
        positive: Conditioning,
        negative: Conditioning,
        latent_image: Latent,
        denoise: float = 1.0,
    ) -> io.NodeOutput:
        """LATENT."""
        request = SamplingRequest(
            seed=seed,
            steps=steps,
            cfg=cfg,
            sampler=sampler_name,
            scheduler=scheduler,
            denoise=denoise,
        )
        return _run(model, positive, negative, latent_image, request)


class KSamplerAdvanced(CoreNode):
    """Sampling over a part of the steps."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="KSamplerAdvanced",
            display_name="KSampler (Advanced)",
            category="model/sampling",
            inputs=[
                io.Model.Input("model"),
                io.Combo.Input("add_noise", options=["enable", "disable"], advanced=True),
                io.Int.Input("noise_seed", **_SEED),
                io.Int.Input("steps", **_STEPS),
                io.Float.Input("cfg", **_CFG),
                io.Combo.Input("sampler_name", options=list(SAMPLERS)),
                io.Combo.Input("scheduler", options=list(SCHEDULES)),
                io.Conditioning.Input("positive"),
                io.Conditioning.Input("negative"),
                io.Latent.Input("latent_image"),
                io.Int.Input("start_at_step", default=0, **_STEP),
                io.Int.Input("end_at_step", default=10000, **_STEP),
                io.Combo.Input(
                    "return_with_leftover_noise", options=["disable", "enable"], advanced=True
                ),
            ],
            outputs=[io.Latent.Output()],
        )

    @classmethod
    def execute(
        cls,
        model: Model,
        add_noise: str,
        noise_seed: int,
        steps: int,
        cfg: float,
        sampler_name: str,
        scheduler: str,
        positive: Conditioning,
        negative: Conditioning,
        latent_image: Latent,
        start_at_step: int,
        end_at_step: int,
        return_with_leftover_noise: str,
    ) -> io.NodeOutput:
        """LATENT."""
        request = SamplingRequest(
            seed=noise_seed,
            steps=steps,
            cfg=cfg,
            sampler=sampler_name,
            scheduler=scheduler,
            add_noise=add_noise == "enable",
            start_step=start_at_step,
            end_step=end_at_step,
            finish=return_with_leftover_noise == "disable",
        )
        return _run(model, positive, negative, latent_image, request)


def _run(
    model: Model,
    positive: Conditioning,
    negative: Conditioning,
    latent: dict[str, Any],
    request: SamplingRequest,
) -> io.NodeOutput:
    """Sample, telling the host about every step; the host may stop the run there."""
    host = context()
    host.check_interrupted()
    total = max(0, len(run_sigmas(model.table, request)) - 1)
    previewer = model.previewer

    def report(step: int, clean: torch.Tensor) -> None:
        preview = None if previewer is None else lambda: previewer.picture(clean)
        host.progress(step + 1, total, preview)

    return io.NodeOutput(sample(model, positive, negative, latent, request, report))


SAMPLING_NODES = [KSampler, KSamplerAdvanced]
