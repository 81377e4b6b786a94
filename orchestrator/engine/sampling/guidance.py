"""Predicting the clean latent: the UNet under classifier-free guidance.

CONDITIONING travels as ComfyUI's does: a list of [text states [1, T, D], {options}], where the
options may hold `pooled_output` [1, P], `concat_latent_image` [B, 4, h, w] and `concat_mask`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from comfy_nodes.models import Family, Prediction
from comfy_nodes.ops.step_cache import StepCache

from ..handles.handles import LATENT_FACTOR, Model
from ..pictures.resizing import repeat_to, resize, spread_to
from ..tuning.tuning import runs_in_graphs

Conditioning = list[tuple[torch.Tensor, dict[str, Any]]]

# What an all-grey picture is in Stable Diffusion's latents: an inpainting model's "nothing here".
_GREY_LATENT = (0.8223, -0.6876, 0.6364, 0.1380)


@dataclass(frozen=True, eq=False)
class Condition:
    """One text, ready for the UNet and repeated to the batch."""

    states: torch.Tensor  # [B, T, D]
    pooled: torch.Tensor | None  # [B, P], SDXL only
    sizes: torch.Tensor | None  # [B, 6], SDXL only
    extra_channels: torch.Tensor | None  # [B, 5, h, w], inpainting models only


class Guide:
    """A function of (latent, sigma) that gives the clean latent that the model sees.

    Made anew for each run: it remembers the UNet's answers where the model's settings say so.
    """

    def __init__(
        self,
        model: Model,
        unet: Any,
        positive: Conditioning,
        negative: Conditioning,
        cfg: float,
        latent: torch.Tensor,
        mask: torch.Tensor | None,
    ) -> None:
        """`latent` [B, 4, h, w] and `mask` [B, 4, h, w] are what an inpainting model is shown."""
        self._model, self._unet, self._cfg = model, unet, cfg
        texts = [positive] if math.isclose(cfg, 1.0) else [negative, positive]
        self._conditions = [_condition(model, unet, text, latent, mask) for text in texts]
        self._dtype = model.unet.dtype
        self._cache = StepCache(model.settings.step_cache)
        self._overwrites = runs_in_graphs(model.settings)

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """Clean latent [B, 4, h, w] for the noisy `x` at `sigma` (0-dim)."""
        table = self._model.table
        scaled = x / (sigma**2 + 1.0) ** 0.5
        time = table.timestep(sigma.reshape(1)).float()
        outputs = self._predict(scaled, time)
        cleans = [_to_clean(table.prediction, x, output, sigma) for output in outputs]
        if len(cleans) == 1:
            return cleans[0]
        without, wanted = cleans
        return without + (wanted - without) * self._cfg

    def _predict(self, scaled: torch.Tensor, time: torch.Tensor) -> list[torch.Tensor]:
        """The UNet's output for each condition, in one pass where their shapes agree."""
        shapes = {condition.states.shape for condition in self._conditions}
        groups = [self._conditions] if len(shapes) == 1 else [[c] for c in self._conditions]
        outputs: list[torch.Tensor] = []
        for index, group in enumerate(groups):
            run = partial(self._run, scaled, time, group)
            outputs += self._cache.answer(index, scaled, run).chunk(len(group))
        return outputs

    def _run(
        self, scaled: torch.Tensor, time: torch.Tensor, group: list[Condition]
    ) -> torch.Tensor:
        """The UNet's output for the conditions, one after another along the batch."""
        x = torch.cat([scaled] * len(group))
        extra = _joined([c.extra_channels for c in group])
        if extra is not None:
            x = torch.cat([x, extra], dim=1)
        pooled, sizes = _joined([c.pooled for c in group]), _joined([c.sizes for c in group])
        added = None if pooled is None else {"text_embeds": self._cast(pooled), "time_ids": sizes}
        if self._overwrites:
            torch.compiler.cudagraph_mark_step_begin()
        output: torch.Tensor = self._unet(
            self._cast(x),
            time.expand(len(x)),
            encoder_hidden_states=self._cast(torch.cat([c.states for c in group])),
            added_cond_kwargs=added,
            return_dict=False,
        )[0]
        return output.clone().float() if self._overwrites else output.float()

    def _cast(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(self._dtype)


def _to_clean(
    prediction: Prediction, x: torch.Tensor, output: torch.Tensor, sigma: torch.Tensor
) -> torch.Tensor:
    """Clean latent from a UNet output (Karras et al. 2022, table 1; v: Salimans and Ho 2022)."""
    if prediction is Prediction.EPSILON:
        return x - output * sigma
    return x / (sigma**2 + 1.0) - output * sigma / (sigma**2 + 1.0) ** 0.5


def _condition(
    model: Model, unet: Any, text: Conditioning, latent: torch.Tensor, mask: torch.Tensor | None
) -> Condition:
    states, options = text[0]
    batch = latent.shape[0]
    pooled, sizes = None, None
    if model.family is Family.SDXL:
        pooled = repeat_to(options["pooled_output"].to(latent.device), batch)
        sizes = _sizes(latent).expand(batch, -1)
    return Condition(
        states=repeat_to(states.to(latent.device), batch),
        pooled=pooled,
        sizes=sizes,
        extra_channels=_extra_channels(model, options, latent, mask)
        if unet.config.in_channels == 9
        else None,
    )


def _sizes(latent: torch.Tensor) -> torch.Tensor:
    """SDXL's size conditioning [1, 6]: original size, crop corner, target size, each y before x."""
    height, width = (side * LATENT_FACTOR for side in latent.shape[-2:])
    return latent.new_tensor([[height, width, 0, 0, height, width]])


def _extra_channels(
    model: Model, options: dict[str, Any], latent: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    """Mask and masked picture that a 9-channel model sees beside the noise, [B, 5, h, w]."""
    height, width = latent.shape[-2:]
    mask = options.get("concat_mask", mask)
    if mask is None:
        grey = latent.new_tensor(_GREY_LATENT).reshape(1, 4, 1, 1).expand_as(latent)
        return torch.cat([torch.ones_like(latent[:, :1]), grey], dim=1)
    picture = options.get("concat_latent_image")
    picture = latent if picture is None else picture.to(latent.device) * model.latent_scale
    if picture.shape[-2:] != latent.shape[-2:]:
        picture = resize(picture, width, height, "bilinear", "center")
    mask = mask[:, :1] if mask.ndim == 4 else mask.reshape(-1, 1, *mask.shape[-2:])
    if mask.shape[-2:] != latent.shape[-2:]:
        mask = resize(mask, width, height, "bilinear", "center")
    batch = latent.shape[0]
    shown = spread_to(mask.round().to(latent.device), batch)
    return torch.cat([shown, spread_to(picture, batch)], dim=1)


def _joined(parts: list[torch.Tensor | None]) -> torch.Tensor | None:
    present = [part for part in parts if part is not None]
    return torch.cat(present) if present else None
