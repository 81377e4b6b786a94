"""Changes a graph so that a server with little memory can run it. Pure.

`retry.py` says when; here is what: the settings of our loaders, and ComfyUI's tiled VAE decoding
where the model comes from another loader.
"""

from __future__ import annotations

import copy
from typing import Any

from ...protocol import Graph
from ...workflow.catalogue import Catalogue
from ...workflow.core_nodes import TILED
from .retry import Degradation, Rung

# What the settings of a loader become; whoever has both, with these to choose, is one.
_EASED = {"vae_tiling": "on", "offload": "model"}


def rungs(graph: Graph, catalogue: Catalogue, *, together: int = 1) -> tuple[Rung, ...]:
    """The rungs of the ladder that would change something; `together` pictures are in the graph."""
    found = [Rung.FREE]
    if together > 1:
        found.append(Rung.SMALLER_BATCH)
    loaders = _loaders(graph, catalogue)
    if loaders or _decoders(graph, catalogue):
        found.append(Rung.VAE_TILING)
    if loaders:
        found.append(Rung.OFFLOAD)
    return tuple(found)


def eased(graph: Graph, degradation: Degradation, catalogue: Catalogue) -> Graph:
    """A copy of the graph with tiles and offloading as `degradation` says."""
    result = copy.deepcopy(graph)
    wanted = {"vae_tiling": degradation.vae_tiling, "offload": degradation.offload}
    settings = {name: value for name, value in _EASED.items() if wanted[name]}
    loaders = _loaders(result, catalogue)
    for node_id in loaders:
        result[node_id]["inputs"].update(settings)
    if degradation.vae_tiling and not loaders:
        for node_id in _decoders(result, catalogue):
            _tile(result[node_id], catalogue)
    return result


def _loaders(graph: Graph, catalogue: Catalogue) -> list[str]:
    found = {node_id: catalogue.find(node["class_type"]) for node_id, node in graph.items()}
    return [node_id for node_id, one in found.items() if one is not None and one.offers(_EASED)]


def _decoders(graph: Graph, catalogue: Catalogue) -> list[str]:
    return [
        node_id for node_id, node in graph.items() if TILED.get(node["class_type"], "") in catalogue
    ]


def _tile(node: dict[str, Any], catalogue: Catalogue) -> None:
    """Turn a decoder into the one in tiles, with the server's own defaults."""
    node["class_type"] = TILED[node["class_type"]]
    for entry in catalogue.node_class(node["class_type"]).inputs:
        if entry.required and entry.has_default:
            node["inputs"].setdefault(entry.name, entry.default)
