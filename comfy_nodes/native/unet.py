"""A diffusers UNet as ComfyUI's own model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import comfy.latent_formats
import comfy.model_base
import comfy.model_management
import comfy.supported_models
import comfy.utils
import torch

from ..errors import UnsupportedModel
from ..models import Family, Prediction, family_of
from ..weights.files import Weights
from .loaded_weights import mismatch, shape_mismatch
from .ratio import multipliers

# What ComfyUI's UNet has built in: a model that was trained otherwise would load and draw noise.
_BUILT_IN: Mapping[str, Sequence[Any]] = {
    "norm_num_groups": (32,),
    "norm_eps": (1e-5,),
    "act_fn": ("silu",),
    "flip_sin_to_cos": (True,),
    "freq_shift": (0,),
    "downsample_padding": (1,),
    "mid_block_type": ("UNetMidBlock2DCrossAttn",),
    "mid_block_scale_factor": (1, 1.0),
    "resnet_time_scale_shift": ("default",),
    "time_embedding_type": ("positional",),
    "center_input_sample": (False,),
    "class_embed_type": (None,),
    "encoder_hid_dim_type": (None,),
    "dual_cross_attention": (False,),
    "only_cross_attention": (False,),
    "conv_in_kernel": (3,),
    "conv_out_kernel": (3,),
    "out_channels": (4,),
    "in_channels": (4, 9),
    "addition_embed_type": (None, "text_time"),
}
_DOWN = {"CrossAttnDownBlock2D": True, "DownBlock2D": False}  # block type -> has attention
_UP = {"CrossAttnUpBlock2D": True, "UpBlock2D": False}

# diffusers' names of noise schedules -> ComfyUI's.
_SCHEDULES = {
    "scaled_linear": "linear",
    "linear": "sqrt_linear",
    "squaredcos_cap_v2": "squaredcos_cap_v2",
}

_HOST_CONFIGS: Mapping[Family, type] = {
    Family.SD1: comfy.supported_models.SD15,
    Family.SD2: comfy.supported_models.SD20,
    Family.SDXL: comfy.supported_models.SDXL,
}


def build_unet(
    config: Mapping[str, Any],
    *,
    scheduler: Mapping[str, Any],
    prediction: Prediction,
    latent_scale: float,
    dtype: torch.dtype,
) -> Any:
    """ComfyUI's model (a BaseModel or SDXL) for a diffusers UNet, without weights: see `fill`.

    `config` is unet/config.json, `scheduler` is scheduler_config.json, `latent_scale` is the
    VAE's scaling_factor. Raises UnsupportedModel.
    """
    host = _HOST_CONFIGS[family_of(config)](unet_config(config))
    # The host's class sets the heads of its published version over ours, and guesses what the
    # UNet predicts from weights that a smaller model has not.
    host.unet_config.update(_heads(config))
    kind = comfy.model_base.ModelType
    host_type = kind.V_PREDICTION if prediction is Prediction.V else kind.EPS
    host.model_type = lambda state_dict, prefix="": host_type
    host.sampling_settings.update(sampling_settings(scheduler))
    host.latent_format.scale_factor = latent_scale
    device = comfy.model_management.get_torch_device()
    cast = comfy.model_management.unet_manual_cast(dtype, device, host.supported_inference_dtypes)
    host.set_inference_dtype(dtype, cast)
    model = host.get_model({}, "")
    if host.unet_config.get("num_classes"):
        model.embedder = type(model.embedder)(config.get("addition_time_embed_dim") or 256)
    return model


def fill(model: Any, weights: Weights, *, assign: bool) -> None:
    """Gives what build_unet made the weights of the diffusers UNet; `assign`: these very tensors.

    Raises ModelUnreadable where they do not fit.
    """
    network = model.diffusion_model
    _load(network, _renamed(model.model_config.unet_config, weights), assign=assign)


def unet_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of ComfyUI's UNetModel for a diffusers UNet config.

    Raises UnsupportedModel, naming the entry, for what ComfyUI's UNet cannot be.
    """
    _check_built_in(config)
    channels = list(config["block_out_channels"])
    layers = _per_level(config.get("layers_per_block", 2), len(channels))
    sizes_added = config.get("addition_embed_type") == "text_time"
    return {
        "image_size": config.get("sample_size") or 32,
        "in_channels": config.get("in_channels", 4),
        "out_channels": config.get("out_channels", 4),
        "model_channels": channels[0],
        "channel_mult": multipliers(channels),
        "num_res_blocks": layers,
        **_transformer_depths(config, layers),
        "context_dim": _single(config, "cross_attention_dim"),
        "use_linear_in_transformer": bool(config.get("use_linear_projection")),
        "num_classes": "sequential" if sizes_added else None,
        "adm_in_channels": config["projection_class_embeddings_input_dim"] if sizes_added else None,
        "use_spatial_transformer": True,
        "use_temporal_attention": False,
        "use_temporal_resblock": False,
        "use_checkpoint": False,
        "legacy": False,
        **_heads(config),
    }


def sampling_settings(scheduler: Mapping[str, Any]) -> dict[str, Any]:
    """ComfyUI's sampling settings for a diffusers scheduler config; its defaults where silent."""
    name = scheduler.get("beta_schedule", "scaled_linear")
    if name not in _SCHEDULES:
        known = ", ".join(_SCHEDULES)
        raise UnsupportedModel(
            f"The model's scheduler has beta_schedule {name!r}; supported are {known}."
        )
    return {
        "beta_schedule": _SCHEDULES[name],
        "linear_start": scheduler.get("beta_start", 0.00085),
        "linear_end": scheduler.get("beta_end", 0.012),
        "timesteps": scheduler.get("num_train_timesteps", 1000),
        "zsnr": bool(scheduler.get("rescale_betas_zero_snr", False)),
    }


def _check_built_in(config: Mapping[str, Any]) -> None:
    for key, allowed in _BUILT_IN.items():
        if key in config and config[key] not in allowed:
            wanted = " or ".join(repr(value) for value in allowed)
            raise UnsupportedModel(
                f"The UNet has {key} {config[key]!r}; ComfyUI's UNet can only be {wanted}."
            )


def _has_attention(kinds: Mapping[str, bool], name: str) -> bool:
    if name not in kinds:
        raise UnsupportedModel(f"The UNet has a block {name!r}; supported are {', '.join(kinds)}.")
    return kinds[name]


def _per_level(value: Any, levels: int) -> list[int]:
    """One whole number for each level, from one number for all or a list."""
    values = [value] * levels if isinstance(value, int) else list(value)
    if len(values) != levels or not all(isinstance(one, int) for one in values):
        raise UnsupportedModel(
            f"The UNet's layers are given as {value!r}; supported is a number for each of its "
            f"{levels} levels."
        )
    return values


def _transformer_depths(config: Mapping[str, Any], layers: list[int]) -> dict[str, Any]:
    """Transformer blocks behind each of the `layers` of every level, down, up and in the middle."""
    levels = range(len(layers))
    attends = [_has_attention(_DOWN, name) for name in config["down_block_types"]]
    attends_up = [_has_attention(_UP, name) for name in reversed(config["up_block_types"])]
    depth = _per_level(config.get("transformer_layers_per_block", 1), len(layers))
    back = config.get("reverse_transformer_layers_per_block")
    depth_up = list(reversed(back)) if back else depth
    return {
        "transformer_depth": [
            depth[i] if attends[i] else 0 for i in levels for _ in range(layers[i])
        ],
        "transformer_depth_output": [
            depth_up[i] if attends_up[i] else 0 for i in levels for _ in range(layers[i] + 1)
        ],
        "transformer_depth_middle": depth[-1],
    }


def _single(config: Mapping[str, Any], key: str) -> int:
    """A number that diffusers lets differ from level to level and ComfyUI does not."""
    value = config[key]
    values = {value} if isinstance(value, int) else set(value)
    if len(values) != 1:
        raise UnsupportedModel(f"The UNet has {key} {value!r}; it must be one number.")
    return int(values.pop())


def _heads(config: Mapping[str, Any]) -> dict[str, int]:
    """num_heads or num_head_channels, the other -1.

    What diffusers calls attention_head_dim is the *number* of heads in this family, a mistake
    that it keeps for the published configs' sake; num_attention_heads overrides it.
    """
    channels = list(config["block_out_channels"])
    given = config.get("num_attention_heads") or config.get("attention_head_dim", 8)
    heads = _per_level(given, len(channels))
    if len(set(heads)) == 1:
        return {"num_heads": heads[0], "num_head_channels": -1}
    widths = {width // count for width, count in zip(channels, heads, strict=True)}
    if len(widths) != 1:
        raise UnsupportedModel(
            f"The UNet has {heads} attention heads for {channels} channels; they must be equally "
            "many or equally wide on all levels."
        )
    return {"num_heads": -1, "num_head_channels": widths.pop()}


def _renamed(config: Mapping[str, Any], weights: Weights) -> Weights:
    """The weights under ComfyUI's names. Raises ModelUnreadable for one that has no place."""
    names = comfy.utils.unet_to_diffusers(config)
    unknown = [key for key in weights if key not in names]
    if unknown:
        raise mismatch("UNet", f"{unknown[0]} and {len(unknown) - 1} more have no place")
    return {names[key]: tensor for key, tensor in weights.items()}


def _load(network: torch.nn.Module, weights: Weights, *, assign: bool) -> None:
    try:
        lacking, _ = network.load_state_dict(weights, strict=False, assign=assign)
    except RuntimeError as error:
        # One line of torch's for each weight whose shape is another.
        raise mismatch("UNet", str(error).splitlines()[1].strip()) from error
    if lacking:
        raise mismatch("UNet", f"{min(lacking)} and {len(lacking) - 1} more are missing")
    wrong = shape_mismatch(network)
    if wrong:
        raise mismatch("UNet", wrong)
