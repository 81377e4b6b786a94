"""The canvas form of a workflow, schema 0.4, as ComfyUI's editor saves it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

from orchestrator.protocol import Graph
from orchestrator.workflow.catalogue import Catalogue, NodeClass
from orchestrator.workflow.graph import is_link, order
from orchestrator.workflow.inputs import NodeInput

from .layout import Box, Layout, laid_out
from .recipe import NOTE, Recipe

# px; the part of a usual window in which an editor shows the canvas. Newer editors zoom a template
# to their own.
WINDOW = (1600, 860)


def canvas(recipe: Recipe, catalogue: Catalogue, sizes: Any) -> dict[str, Any]:
    """The canvas file of a recipe."""
    layout = laid_out(recipe, sizes)
    infos = classes(recipe.graph, catalogue)
    links = list(links_of(recipe.graph, infos))
    nodes = nodes_of(recipe, infos, links, layout)
    nodes.append(_note(recipe, len(nodes) + 1, layout.nodes[NOTE]))
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"spriteworks/workflows/{recipe.name}")),
        "revision": 0,
        "last_node_id": len(nodes),
        "last_link_id": len(links),
        "nodes": nodes,
        "links": links,
        "groups": groups_of(layout),
        "config": {},
        "extra": {"ds": _view(layout.bounds()), "spriteworks": _about(recipe)},
        "version": 0.4,
    }


def classes(graph: Graph, catalogue: Catalogue) -> dict[str, NodeClass]:
    """The class of each node of a graph, by the node's id."""
    return {key: catalogue.node_class(node["class_type"]) for key, node in graph.items()}


def nodes_of(
    recipe: Recipe, infos: dict[str, NodeClass], links: list[list[Any]], layout: Layout
) -> list[dict[str, Any]]:
    """The nodes of a recipe as a canvas file has them, in the order of their numbers."""
    nodes = [
        _node(recipe, key, infos[key], links, rank, layout.nodes[key])
        for rank, key in enumerate(order(recipe.graph))
    ]
    return sorted(nodes, key=lambda node: int(node["id"]))


def groups_of(layout: Layout) -> list[dict[str, Any]]:
    """The groups as a canvas file has them."""
    return [
        {
            "id": number,
            "title": group.title,
            "bounding": list(box),
            "color": group.colour,
            "font_size": 24,
            "flags": {},
        }
        for number, (group, box) in enumerate(layout.groups, 1)
    ]


def links_of(graph: Graph, infos: dict[str, NodeClass]) -> Iterator[list[Any]]:
    """[link id, from node, from slot, to node, to slot, type], in the order of the nodes."""
    number = 0
    for key, info in infos.items():
        for slot, entry in enumerate(_slots(info)):
            value = graph[key]["inputs"].get(entry.name)
            if is_link(value):
                number += 1
                source, out = value
                yield [number, int(source), out, int(key), slot, infos[source].outputs[out]]


def slot_of(info: NodeClass, name: str) -> int:
    """At which place the editor has an input of that name."""
    return next(index for index, entry in enumerate(_slots(info)) if entry.name == name)


def _view(bounds: Box) -> dict[str, Any]:
    """Scale and offset with which all of it is seen."""
    left, top, width, height = bounds
    scale = min(WINDOW[0] / (width + 80), WINDOW[1] / (height + 80), 1.0)
    offset = [
        round(WINDOW[0] / scale / 2 - left - width / 2),
        round(WINDOW[1] / scale / 2 - top - height / 2),
    ]
    return {"scale": round(scale, 3), "offset": offset}


def _about(recipe: Recipe) -> dict[str, Any]:
    """What the file says of itself, and the pictures that it opens with (web/templates.js)."""
    return {
        "title": recipe.title,
        "description": recipe.description,
        "tags": list(recipe.tags),
        "pictures": list(recipe.pictures),
    }


def _slots(info: NodeClass) -> list[NodeInput]:
    """The inputs in the order in which the editor lists them: links first, then widgets."""
    return sorted(info.inputs, key=lambda entry: entry.is_widget)


def _node(
    recipe: Recipe, key: str, info: NodeClass, links: list[list[Any]], rank: int, box: Box
) -> dict[str, Any]:
    node = recipe.graph[key]
    into = {(link[3], link[4]): link[0] for link in links}
    slots = [
        {
            "name": entry.name,
            "type": entry.type,
            **({"widget": {"name": entry.name}} if entry.is_widget else {}),
            "link": into.get((int(key), slot)),
        }
        for slot, entry in enumerate(_slots(info))
    ]
    outputs = [
        {
            "name": name,
            "type": kind,
            "links": [link[0] for link in links if link[1:3] == [int(key), slot]] or None,
        }
        for slot, (name, kind) in enumerate(zip(info.output_names, info.outputs, strict=True))
    ]
    return {
        "id": int(key),
        "type": info.name,
        "pos": list(box[:2]),
        "size": list(box[2:]),
        "flags": {},
        "order": rank,
        "mode": 0,
        "inputs": slots,
        "outputs": outputs,
        "title": node["_meta"]["title"],
        "properties": {
            "cnr_id": "spriteworks" if info.name.startswith("Spriteworks") else "comfy-core",
            "Node name for S&R": info.name,
        },
        "widgets_values": list(
            _widgets_values(info, node["inputs"], "fixed" if key in recipe.fixed else "randomize")
        ),
    }


def _widgets_values(info: NodeClass, inputs: dict[str, Any], control: str) -> Iterator[Any]:
    for entry in info.inputs:
        if not entry.is_widget:
            continue
        value = inputs.get(entry.name, (entry.default if entry.has_default else None))
        # a linked widget keeps a value too, which counts once the link is cut
        yield (entry.default if entry.has_default else None) if is_link(value) else value
        if entry.has_control:
            yield control
    if any(entry.is_upload for entry in info.inputs):
        yield "image"


def _note(recipe: Recipe, number: int, box: Box) -> dict[str, Any]:
    return {
        "id": number,
        "type": "MarkdownNote",
        "pos": list(box[:2]),
        "size": list(box[2:]),
        "flags": {},
        "order": 0,
        "mode": 0,
        "inputs": [],
        "outputs": [],
        "title": "How to use it",
        "properties": {},
        "widgets_values": [recipe.note],
        "color": "#432",
        "bgcolor": "#653",
    }
