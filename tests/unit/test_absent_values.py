"""Widgets without any value: they are left out of a graph, wherever they are shown."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestrator.workflow.catalogue import Catalogue
from orchestrator.workflow.conversion import canvas_to_graph

# a loader on a server that has no files for it
CLASSES: dict[str, Any] = {
    "Load": {
        "input": {"required": {"file": [[]], "strength": ["FLOAT", {"default": 1.0}]}},
        "output": ["MODEL"],
        "output_node": True,
    }
}


def loader(**more: Any) -> dict[str, Any]:
    file = {"name": "file", "type": "COMBO", "widget": {"name": "file"}, "link": None}
    return {"id": 5, "type": "Load", "inputs": [{**file, **more}], "widgets_values": []}


def used(**properties: Any) -> dict[str, Any]:
    """A subgraph with a loader, and a node that uses it and holds no values."""
    link = [] if properties else [{"id": 1, "origin_id": -10, "origin_slot": 0, "target_id": 5}]
    definition = {
        "id": "sub",
        "nodes": [loader(link=None if properties else 1)],
        "links": [{**one, "target_slot": 0} for one in link],
        "inputs": [] if properties else [{"name": "file", "type": "COMBO", "linkIds": [1]}],
        "outputs": [],
    }
    user = {"id": 2, "type": "sub", "properties": properties, "widgets_values": []}
    return {
        "nodes": [user],
        "links": [],
        "version": 0.4,
        "definitions": {"subgraphs": [definition]},
    }


@pytest.mark.parametrize(
    ("data", "number"),
    [
        ({"nodes": [loader()], "links": [], "version": 0.4}, "5"),
        (used(), "2:5"),
        (used(proxyWidgets=[["5", "file"]]), "2:5"),
    ],
    ids=["alone", "promoted", "listed"],
)
def test_what_has_no_value_is_left_out(data: dict[str, Any], number: str) -> None:
    graph = canvas_to_graph(data, Catalogue(CLASSES))
    assert graph[number]["inputs"] == {"strength": 1.0}
    json.dumps(graph)
