"""The nodes that the engine serves: ComfyUI's core nodes that it knows, and this pack's.

Ids, inputs, defaults and ranges of the core nodes are those of ComfyUI 0.33.0, so `/object_info`
agrees with it; only the lists of samplers and schedulers are shorter, and the words under which a
canvas finds a node are left out.
"""

from __future__ import annotations

from ..host import ComfyNode, install
from .images import IMAGE_NODES
from .latents import LATENT_NODES
from .masks import MASK_NODES
from .models import MODEL_NODES
from .sampling import SAMPLING_NODES
from .vae import VAE_NODES

__all__ = ["all_nodes"]


def all_nodes() -> list[type[ComfyNode]]:
    """Every node class that can stand in a graph. Puts the host's `comfy_api` in place."""
    install()
    # The pack's modules import `comfy_api.latest`, which there is only now.
    from .pack import pack_nodes

    core = [*MODEL_NODES, *SAMPLING_NODES, *LATENT_NODES, *VAE_NODES, *IMAGE_NODES, *MASK_NODES]
    return [*core, *pack_nodes()]
