"""Subgraph blueprints, which the editor lists among its nodes: subgraphs/NAME.json.

ComfyUI reads them beside the pack's __init__.py and names them as their files. The form is that of
its own blueprints: a canvas file with one node, and the subgraph that it stands for.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from orchestrator.workflow.catalogue import Catalogue, NodeClass

from .canvas import classes, groups_of, links_of, nodes_of, slot_of
from .layout import GAP, Layout, laid_out
from .parts import finish, sheet
from .recipe import Group, Recipe

CATEGORY = "Spriteworks"
# The numbers that a subgraph's own inputs and outputs have among its links.
INPUTS, OUTPUTS = -10, -20
# px
_EDGE = 140
_WIDTH = 340
_ROW = 24


@dataclass(frozen=True)
class Port:
    """An input or output of the subgraph, and what inside it stands for."""

    name: str
    type: str
    # (node id, name of the input) of each, or (node id, name of the output) of the one
    inside: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Blueprint:
    """A subgraph as it is offered."""

    recipe: Recipe
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    # (node id, widget) that the node outside shows
    widgets: tuple[tuple[str, str], ...]


def finish_a_sprite() -> Blueprint:
    """A picture of fake pixels to a saved sprite."""
    recipe = Recipe(
        "Finish a sprite",
        "Finish a sprite",
        "True pixels, background away, outline closed where wanted, few colours.",
        (),
    )
    _, _, (snapped, cut, coloured) = finish(recipe, [OUTSIDE, 0])
    recipe.regions = [[Group([[snapped], [cut], [coloured]])]]
    return Blueprint(
        recipe,
        (
            Port("image", "IMAGE", ((snapped, "image"),)),
            Port("mask", "MASK", ((snapped, "mask"),)),
        ),
        (
            Port("IMAGE", "IMAGE", ((coloured, "IMAGE"),)),
            Port("MASK", "MASK", ((cut, "MASK"),)),
        ),
        (
            (snapped, "width"),
            (cut, "tolerance"),
            (cut, "outline"),
            (coloured, "colors"),
            (coloured, "palette"),
            (coloured, "shared"),
        ),
    )


def frames_to_sheet() -> Blueprint:
    """Frames of an animation to a saved sheet."""
    recipe = Recipe(
        "Frames to sheet",
        "Frames to sheet",
        "Frames on one grid, in one palette, on one ground, saved as a sheet for game engines.",
        (),
    )
    image, mask, (snapped, cut, coloured) = finish(recipe, [OUTSIDE, 0], shared=True, sequence=True)
    recipe.regions = []
    sheet(recipe, image, mask, pivot="ground", animation="walk")
    aligned, laid, saved = list(recipe.graph)[-3:]
    recipe.graph[saved]["inputs"]["filename_prefix"] = "sheet"
    recipe.regions = [[Group([[snapped], [cut], [coloured], [aligned], [laid], [saved]])]]
    return Blueprint(
        recipe,
        (
            Port("image", "IMAGE", ((snapped, "image"),)),
            Port("mask", "MASK", ((snapped, "mask"),)),
        ),
        (Port("IMAGE", "IMAGE", ((laid, "IMAGE"),)), Port("MASK", "MASK", ((laid, "MASK"),))),
        (
            (coloured, "colors"),
            (coloured, "palette"),
            (aligned, "pivot"),
            (laid, "animation"),
            (laid, "fps"),
            (saved, "filename_prefix"),
            (saved, "formats"),
        ),
    )


# What a recipe links to where the subgraph's own input is meant; no node has this number.
OUTSIDE = "0"
BLUEPRINTS: tuple[Callable[[], Blueprint], ...] = (finish_a_sprite, frames_to_sheet)


def blueprint_file(blueprint: Blueprint, catalogue: Catalogue, sizes: Any) -> dict[str, Any]:
    """The file of a blueprint."""
    recipe = blueprint.recipe
    key = str(uuid.uuid5(uuid.NAMESPACE_URL, f"spriteworks/subgraphs/{recipe.name}"))
    number = len(recipe.graph) + 1
    rows = max(len(blueprint.inputs), len(blueprint.outputs)) + len(blueprint.widgets)
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"spriteworks/blueprints/{recipe.name}")),
        "revision": 0,
        "last_node_id": number,
        "last_link_id": 0,
        "nodes": [
            {
                "id": number,
                "type": key,
                "pos": [0, 0],
                "size": [_WIDTH, _ROW * (rows + 1) + GAP],
                "flags": {},
                "order": 0,
                "mode": 0,
                "inputs": [
                    {"name": one.name, "type": one.type, "link": None} for one in blueprint.inputs
                ],
                "outputs": [
                    {"name": one.name, "type": one.type, "links": []} for one in blueprint.outputs
                ],
                "properties": {"proxyWidgets": [list(one) for one in blueprint.widgets]},
                "widgets_values": [],
                "title": recipe.name,
            }
        ],
        "links": [],
        "groups": [],
        "config": {},
        "definitions": {"subgraphs": [_subgraph(blueprint, key, catalogue, sizes)]},
        "extra": {},
        "version": 0.4,
    }


def _subgraph(blueprint: Blueprint, key: str, catalogue: Catalogue, sizes: Any) -> dict[str, Any]:
    recipe = blueprint.recipe
    infos, layout = classes(recipe.graph, catalogue), laid_out(recipe, sizes)
    inner = [link for link in links_of(_inside(recipe), infos)]
    links = [*inner, *_outer_links(blueprint, infos, len(inner))]
    nodes = nodes_of(recipe, infos, [link for link in links if link[3] > 0], layout)
    return {
        "id": key,
        "version": 1,
        "state": {
            "lastGroupId": 0,
            "lastNodeId": len(nodes),
            "lastLinkId": len(links),
            "lastRerouteId": 0,
        },
        "revision": 0,
        "config": {},
        "name": recipe.name,
        "inputNode": _edge(INPUTS, layout, len(blueprint.inputs), before=True),
        "outputNode": _edge(OUTPUTS, layout, len(blueprint.outputs), before=False),
        "inputs": _ports(blueprint.inputs, key, links, 1),
        "outputs": _ports(blueprint.outputs, key, links, 3),
        "widgets": [],
        "nodes": nodes,
        "groups": groups_of(layout),
        "links": [
            dict(
                zip(
                    ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type"),
                    link,
                    strict=True,
                )
            )
            for link in links
        ],
        "extra": {"workflowRendererVersion": "LG"},
        "category": CATEGORY,
        "description": recipe.description,
    }


def _inside(recipe: Recipe) -> dict[str, Any]:
    """The graph without what comes from outside."""
    return {
        key: {
            **node,
            "inputs": {
                name: value
                for name, value in node["inputs"].items()
                if not (isinstance(value, list) and value[0] == OUTSIDE)
            },
        }
        for key, node in recipe.graph.items()
    }


def _outer_links(blueprint: Blueprint, infos: dict[str, NodeClass], number: int) -> list[list[Any]]:
    links: list[list[Any]] = []
    for slot, port in enumerate(blueprint.inputs):
        for node, name in port.inside:
            to = slot_of(infos[node], name)
            links.append([0, INPUTS, slot, int(node), to, port.type])
    for slot, port in enumerate(blueprint.outputs):
        ((node, name),) = port.inside
        source = infos[node].output_names.index(name)
        links.append([0, int(node), source, OUTPUTS, slot, port.type])
    for count, link in enumerate(links, number + 1):
        link[0] = count
    return links


def _ports(
    ports: tuple[Port, ...], key: str, links: list[list[Any]], side: int
) -> list[dict[str, Any]]:
    """`side` is where a link names this end: 1 from the inputs, 3 to the outputs."""
    end = INPUTS if side == 1 else OUTPUTS
    return [
        {
            "id": str(uuid.uuid5(uuid.UUID(key), f"{side}/{port.name}")),
            "name": port.name,
            "type": port.type,
            "linkIds": [link[0] for link in links if link[side : side + 2] == [end, slot]],
            "pos": [0, 0],
        }
        for slot, port in enumerate(ports)
    ]


def _edge(number: int, layout: Layout, rows: int, *, before: bool) -> dict[str, Any]:
    left, top, width, _ = layout.bounds()
    x = left - 2 * _EDGE if before else left + width + _EDGE
    return {"id": number, "bounding": [x, top + GAP, _EDGE, 20 * rows + 40]}
