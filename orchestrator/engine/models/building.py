"""Networks from a config and weights: the part of loading that all file formats share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from comfy_nodes.errors import ModelUnreadable, PackError, UnsupportedModel
from comfy_nodes.weights.wholeness import check_numbers

# Gives the tensor that belongs to a name in the network's state dict, or None.
Find = Callable[[str], torch.Tensor | None]
Weights = dict[str, torch.Tensor]

# What to do about what the engine does not know.
ON_COMFYUI = "Run it on ComfyUI, which does: with --comfyui DIR or --server URL."


def check_plain(weights: Weights, where: str) -> None:
    """Raises UnsupportedModel, naming `where`, for weights that are not plain numbers.

    Quantised weights have their scales beside them (`to_q.scale_weight`, `to_q.weight_scale`,
    `to_q.weight.absmax`), and mean something else without. A layer that is not quantised has a
    weight and a bias.
    """
    for name in weights:
        layer, _, part = name.rpartition(".")
        beside = f"{layer}.weight" in weights and part not in ("weight", "bias")
        if beside or (layer in weights and layer.endswith(".weight")):
            raise UnsupportedModel(
                f"{where} holds {name} beside the layer's weight: its weights are quantised or "
                f"scaled, which the embedded engine does not read. {ON_COMFYUI}"
            )


def build_unet(config: Mapping[str, Any], find: Find, dtype: torch.dtype, where: str) -> nn.Module:
    """A diffusers UNet2DConditionModel. Raises ModelUnreadable, naming `where`."""
    from diffusers import UNet2DConditionModel

    return _build(lambda: UNet2DConditionModel.from_config(dict(config)), find, dtype, where)


def build_vae(config: Mapping[str, Any], find: Find, dtype: torch.dtype, where: str) -> nn.Module:
    """A diffusers AutoencoderKL. Raises ModelUnreadable, naming `where`."""
    from diffusers import AutoencoderKL

    return _build(lambda: AutoencoderKL.from_config(dict(config)), find, dtype, where)


def build_text_encoder(
    config: Mapping[str, Any], find: Find, dtype: torch.dtype, where: str
) -> nn.Module:
    """A transformers CLIPTextModel, with its projection where the config's class has one.

    `find` is asked for names with and without the prefix `text_model.`. Raises ModelUnreadable.
    """
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    projects = "CLIPTextModelWithProjection" in config.get("architectures", ())
    kind = CLIPTextModelWithProjection if projects else CLIPTextModel

    def in_file(name: str) -> torch.Tensor | None:
        # transformers 5 dropped the prefix of a plain CLIPTextModel; files come with and without.
        plain = name.removeprefix("text_model.")
        prefixed = find(f"text_model.{plain}")
        return find(plain) if prefixed is None else prefixed

    return _build(lambda: kind(CLIPTextConfig(**config)), in_file, dtype, where)


def _build(make: Callable[[], Any], find: Find, dtype: torch.dtype, where: str) -> nn.Module:
    """`make()` without memory for its own weights, then with those found."""
    try:
        with torch.device("meta"):
            network: nn.Module = make()
    except Exception as error:
        # Nobody lists what diffusers and transformers raise for a config that says nonsense.
        reason = " ".join(str(error).split())[:200]
        raise ModelUnreadable(f"the config of {where} is not usable: {reason}") from error
    wanted = network.state_dict()
    weights = {name: _fit(find(name), name, like, where) for name, like in wanted.items()}
    network.load_state_dict({name: t.to(dtype) for name, t in weights.items()}, assign=True)
    _fill_positions(network)
    return network.eval().requires_grad_(False)


def _fit(tensor: torch.Tensor | None, name: str, like: torch.Tensor, where: str) -> torch.Tensor:
    """The tensor in the network's shape; a 1x1 convolution may stand for a linear layer."""
    if tensor is None:
        raise ModelUnreadable(
            f"{where} has no weight {name}: it is incomplete, or no Stable Diffusion model; "
            "download it again"
        )
    if _without_ones(tensor) != _without_ones(like):
        raise ModelUnreadable(
            f"the weight {name} of {where} has the shape {list(tensor.shape)} where its config "
            f"says {list(like.shape)}: config and weights belong to different models"
        )
    if like.is_floating_point():
        if not tensor.is_floating_point():
            raise ModelUnreadable(
                f"the weight {name} of {where} holds {tensor.dtype}, no weights: download it again"
            )
        check_numbers(tensor, name, where)
    return tensor.reshape(like.shape)


def _without_ones(tensor: torch.Tensor) -> list[int]:
    return [side for side in tensor.shape if side != 1]


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Turns what reading a model that is none raises into ModelUnreadable, beginning with `name`.

    Files may hold anything under any name, so every place that looks into them may fail in its own
    way. What is out of memory stays so.
    """
    try:
        yield
    except (PackError, torch.OutOfMemoryError, MemoryError):
        raise
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, OSError) as error:
        raise _no_model(name, error) from error
    except RuntimeError as error:
        if "DefaultCPUAllocator" in str(error):
            raise
        raise _no_model(name, error) from error


def _no_model(name: str, error: Exception) -> ModelUnreadable:
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return ModelUnreadable(
        f"{name} cannot be loaded: what it holds does not belong together as a model does "
        f"({reason}). Download it again."
    )


def _fill_positions(network: nn.Module) -> None:
    """Give the text encoder's list 0, 1, 2... its values: files do not carry it."""
    for module in network.modules():
        for name, buffer in list(module.named_buffers(recurse=False)):
            if buffer.is_meta:
                positions = torch.arange(buffer.shape[-1]).expand(buffer.shape)
                module.register_buffer(name, positions, persistent=False)
