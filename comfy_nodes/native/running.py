"""What a MODEL's settings do while it samples: kernel switches and the step cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import comfy.patcher_extension
import torch

from ..kernels import switched
from ..ops.step_cache import StepCache
from ..settings import SETTINGS, LoaderSettings, Toggle

KEY = "spriteworks_running"
# Where the run's own cache stands among the options that ComfyUI hands to the UNet.
_CACHE = "spriteworks_step_cache"


def set_running(model: Any, settings: LoaderSettings) -> None:
    """Wraps the sampling of this MODEL; takes out what an earlier call put there."""
    kinds = comfy.patcher_extension.WrappersMP
    for kind in (kinds.OUTER_SAMPLE, kinds.DIFFUSION_MODEL):
        model.remove_wrappers_with_key(kind, KEY)
    if _switches(settings) or settings.step_cache > 0:
        model.add_wrapper_with_key(kinds.OUTER_SAMPLE, KEY, _around_sampling(settings))
    if settings.step_cache > 0:
        model.add_wrapper_with_key(kinds.DIFFUSION_MODEL, KEY, _remembering)


def _switches(settings: LoaderSettings) -> bool:
    names = (name for name, setting in SETTINGS.items() if setting.process)
    return any(getattr(settings, name) is not Toggle.AUTO for name in names)


def _around_sampling(settings: LoaderSettings) -> Callable[..., Any]:
    def run(executor: Any, *args: Any, **options: Any) -> Any:
        if settings.step_cache > 0:
            # The guider's options are a copy made for this run, so the cache ends with it.
            handed_on = executor.class_obj.model_options.setdefault("transformer_options", {})
            handed_on[_CACHE] = StepCache(settings.step_cache)
        with switched(settings):
            return executor(*args, **options)

    return run


def _remembering(
    executor: Any,
    x: torch.Tensor,
    timesteps: Any,
    context: Any,
    y: Any,
    control: Any,
    transformer_options: dict[str, Any],
    **options: Any,
) -> Any:
    """Around one pass of the UNet: its answer, or its last one for the same texts."""

    def compute() -> Any:
        return executor(x, timesteps, context, y, control, transformer_options, **options)

    cache = transformer_options.get(_CACHE)
    if not isinstance(cache, StepCache):
        return compute()
    texts = tuple(transformer_options.get("uuids", ()))
    latent = x[:, :4]  # without the mask and the picture of an inpainting UNet, which stay
    return cache.answer((texts, control is None), latent, compute)
