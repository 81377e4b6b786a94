"""Settings for a MODEL or VAE that another node has loaded: a tuned copy, the original as it was.

Copies share the weights whose format does not change. A MODEL in another precision takes its own
memory beside the original's for as long as both are used.
"""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from comfy_nodes.ops.dtypes import DTYPES
from comfy_nodes.settings import LoaderSettings

from ..handles.handles import Model, Part, Vae
from .devices import best_device
from .parts import placed, unet_part, vae_handle
from .storage import widen
from .tuning import compile_network, twin


def optimize_model(model: Model, settings: LoaderSettings) -> Model:
    """The model with these settings in place of its own. Raises UnsupportedSetting when strict."""
    device = best_device()
    placement = placed(settings, device, _count(model.unet.module))
    network = _copy(model.unet)
    widen(network, DTYPES[placement.unet.computed])
    unet = unet_part(network, placement, device)
    return replace(model, unet=unet, settings=placement.settings)


def optimize_vae(vae: Vae, settings: LoaderSettings) -> Vae:
    """The VAE with these settings in place of its own; it rests where it did.

    Raises UnsupportedSetting when strict.
    """
    device = best_device()
    placement = placed(settings, device, _count(vae.part.module))
    network = _copy(vae.part)
    widen(network, DTYPES[placement.vae.computed])
    tuned = vae_handle(network, placement, device)
    compile_network(network, placement.settings)
    return replace(tuned, part=replace(tuned.part, device=vae.part.device, home=vae.part.home))


def _copy(part: Part) -> nn.Module:
    # At home first, so that the weights that both have stay shared there.
    network: nn.Module = twin(part.module.to(part.home))
    return network


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
