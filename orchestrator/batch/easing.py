"""Changes a graph so that a server with little memory can run it. Pure.

`retry.py` says when; here is what: the settings of our loaders, and ComfyUI's tiled VAE decoding
where the model comes from another loader.
"""

from __future__ import annotations

import copy
from typing import Any

from ..protocol import Graph
from ..workflow.catalogue import Catalogue
from .retry import Degradation, Rung

_LOADERS = frozenset({"SpriteworksDiffusersLoader", "SpriteworksCheckpointLoader"})
_DECODE, _TILED = "VAEDecode", "VAEDecodeTiled"


def rungs(graph: Graph, catalogue: Catalogue, *, together: int = 1) -> tuple[Rung, ...]:
    """The rungs of the ladder that would change something; `together` pictures are in the graph."""
    found = [Rung.FREE]
    if together > 1:
        found.append(Rung.SMALLER_BATCH)
    if _loaders(graph) or _decoders(graph, catalogue):
        found.append(Rung.VAE_TILING)
    if _loaders(graph):
        found.append(Rung.OFFLOAD)
    return tuple(found)


def eased(graph: Graph, degradation: Degradation, catalogue: Catalogue) -> Graph:
    """A copy of the graph with tiles and offloading as `degradation` says."""
    result = copy.deepcopy(graph)
    settings: dict[str, Any] = {}
    if degradation.vae_tiling:
        settings["vae_tiling"] = "on"
    if degradation.offload:
        settings["offload"] = "model"
    loaders = _loaders(result)
    for node_id in loaders:
        result[node_id]["inputs"].update(settings)
    if degradation.vae_tiling and not loaders:
        for node_id in _decoders(result, catalogue):
            _tile(result[node_id], catalogue)
    return result


def _loaders(graph: Graph) -> list[str]:
    return [node_id for node_id, node in graph.items() if node["class_type"] in _LOADERS]


def _decoders(graph: Graph, catalogue: Catalogue) -> list[str]:
    if _TILED not in catalogue:
        return []
    return [node_id for node_id, node in graph.items() if node["class_type"] == _DECODE]


def _tile(node: dict[str, Any], catalogue: Catalogue) -> None:
    """Turn a VAEDecode into a VAEDecodeTiled with the server's own defaults."""
    node["class_type"] = _TILED
    for entry in catalogue.node_class(_TILED).inputs:
        if entry.required and "default" in entry.extra:
            node["inputs"].setdefault(entry.name, entry.extra["default"])
