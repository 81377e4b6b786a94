"""Settings for a MODEL or VAE that another node has loaded: a tuned copy, the original as it was.

Copies share the weights whose format does not change. A MODEL in another precision takes its own
memory beside the original's for as long as both are used.
"""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from comfy_nodes.settings import LoaderSettings

from ..handles.handles import Model, Part, Vae
from .placing import Placement
from .storage import widen
from .tuning import compile_network, twin


def optimize_model(model: Model, settings: LoaderSettings) -> Model:
    """The model with these settings in place of its own. Raises UnsupportedSetting when strict."""
    place = Placement.of(settings, _count(model.unet.module))
    network = _copy(model.unet)
    widen(network, place.dtype)
    return replace(model, unet=place.unet(network), settings=place.settings)


def optimize_vae(vae: Vae, settings: LoaderSettings) -> Vae:
    """The VAE with these settings in place of its own; it rests where it did.

    Raises UnsupportedSetting when strict.
    """
    place = Placement.of(settings, _count(vae.part.module))
    network = _copy(vae.part)
    widen(network, place.vae_dtype)
    tuned = place.vae(network)
    compile_network(network, place.settings)
    return replace(tuned, part=replace(tuned.part, device=vae.part.device, home=vae.part.home))


def _copy(part: Part) -> nn.Module:
    # At home first, so that the weights that both have stay shared there.
    network: nn.Module = twin(part.module.to(part.home))
    return network


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
