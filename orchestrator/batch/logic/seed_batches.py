"""Makes one graph of jobs that differ in nothing but their seeds. Pure.

It is done only where every picture stays what a run of its own would have given: one KSampler on
one empty latent, with a sampler that treats the pictures of a batch apart, and behind it nothing
but nodes that do so, too. SpriteworksSeedBatch then gives picture i the seed + i.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise

from ...protocol import Graph
from ...workflow.catalogue import Catalogue
from ...workflow.core_nodes import PER_PICTURE_SAMPLERS, SEED_BATCH, SEEDED_LATENT, SEEDED_SAMPLER
from ...workflow.graph import ancestors, is_link, links

# Pictures of one graph, as many as a manifest may ask for.
_MOST = 4096


def can_batch(graph: Graph, catalogue: Catalogue) -> bool:
    """Say whether pictures of several seeds may come from one graph and stay what they are."""
    if SEED_BATCH not in catalogue:
        return False
    sampler = _sampler(graph)
    return (
        sampler is not None
        and graph[sampler]["inputs"].get("sampler_name") in PER_PICTURE_SAMPLERS
        and _has_latent_of_its_own(graph, sampler)
        and _is_apart_after(graph, sampler, catalogue)
    )


def batched(graph: Graph, seeds: Sequence[int]) -> Graph:
    """The graph that gives one picture for each of `seeds`, which follow on each other."""
    if any(second != first + 1 for first, second in pairwise(seeds)):
        raise ValueError(f"these seeds do not follow on each other: {list(seeds)}")
    result = copy.deepcopy(graph)
    sampler = _sampler(result)
    assert sampler is not None, "ask can_batch first"
    inputs = result[sampler]["inputs"]
    latent = inputs["latent_image"][0]
    size = result[latent]["inputs"]
    # The empty latent gives way to the node that knows the seeds, under its id.
    result[latent] = {
        "class_type": SEED_BATCH,
        "inputs": {
            "model": inputs["model"],
            "width": size["width"],
            "height": size["height"],
            "seed": seeds[0],
            "batch_size": len(seeds),
        },
    }
    inputs["model"], inputs["latent_image"] = [latent, 0], [latent, 1]
    return result


def apart(graph: Graph) -> list[Graph]:
    """The graphs whose pictures `batched` put into one, in order; none for any other graph."""
    sampler = _sampler(graph)
    if sampler is None:
        return []
    latent = graph[sampler]["inputs"]["latent_image"][0]
    if graph.get(latent, {}).get("class_type") != SEED_BATCH:
        return []
    given = graph[latent]["inputs"]
    first, count = given.get("seed"), given.get("batch_size")
    if not (isinstance(first, int) and isinstance(count, int) and 0 < count <= _MOST):
        return []
    single = copy.deepcopy(graph)
    size = {name: given.get(name) for name in ("width", "height")}
    single[latent] = {"class_type": SEEDED_LATENT, "inputs": {**size, "batch_size": 1}}
    single[sampler]["inputs"].update(model=given.get("model"), latent_image=[latent, 0])
    return [_seeded(single, sampler, first + index) for index in range(count)]


def _seeded(graph: Graph, sampler: str, seed: int) -> Graph:
    node = graph[sampler]
    return {**graph, sampler: {**node, "inputs": {**node["inputs"], "seed": seed}}}


def _sampler(graph: Graph) -> str | None:
    """The one node that samples; None where there are several, or one of another class."""
    found = [key for key, node in graph.items() if is_link(node["inputs"].get("latent_image"))]
    if len(found) != 1 or graph[found[0]]["class_type"] != SEEDED_SAMPLER:
        return None
    return found[0]


def _has_latent_of_its_own(graph: Graph, sampler: str) -> bool:
    latent = graph[sampler]["inputs"]["latent_image"][0]
    users = [key for key in graph for _, (source, _) in links(graph, key) if source == latent]
    node = graph.get(latent)
    return (
        node is not None
        and node["class_type"] == SEEDED_LATENT
        and node["inputs"].get("batch_size") == 1
        and users == [sampler]
    )


def _is_apart_after(graph: Graph, sampler: str, catalogue: Catalogue) -> bool:
    after = [key for key in graph if key != sampler and sampler in ancestors(graph, key)]
    classes = {key: catalogue.find(graph[key]["class_type"]) for key in after}
    known = {key: one for key, one in classes.items() if one is not None}
    return (
        len(known) == len(classes)
        and any(one.is_output for one in known.values())
        and all(one.treats_singly(graph[key]["inputs"]) for key, one in known.items())
    )
