"""Widgets that a node shows of the subgraph that it uses, as files of any age name them."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.workflow.catalogue import Catalogue
from orchestrator.workflow.conversion import canvas_to_graph

CATALOGUE = Catalogue(
    {
        "Give": {"input": {"required": {"text": ["STRING", {}]}}, "output": ["STRING"]},
        "Take": {
            "input": {"required": {"left": ["STRING", {}], "right": ["STRING", {}]}},
            "output": [],
            "output_node": True,
        },
    }
)


def node(number: int, kind: str, *values: Any, **more: Any) -> dict[str, Any]:
    return {"id": number, "type": kind, "widgets_values": list(values), **more}


def widget(name: str, link: int | None = None) -> dict[str, Any]:
    return {"name": name, "type": "STRING", "link": link, "widget": {"name": name}}


def inside(*values: Any, proxies: list[Any]) -> Any:
    """What the inner node gets: a subgraph shows its two texts as the inputs `one` and `two`."""
    links = [
        {"id": number, "origin_id": -10, "origin_slot": at, "target_id": 5, "target_slot": at}
        for at, number in enumerate((1, 2))
    ]
    definition = {
        "id": "s",
        "nodes": [node(5, "Take", "a", "b", inputs=[widget("left", 1), widget("right", 2)])],
        "links": links,
        "inputs": [
            {"name": name, "type": "STRING", "linkIds": [number]}
            for number, name in enumerate(("one", "two"), start=1)
        ],
        "outputs": [],
    }
    user = node(9, "s", *values, properties={"proxyWidgets": proxies})
    data = {
        "nodes": [user],
        "links": [],
        "version": 0.4,
        "definitions": {"subgraphs": [definition]},
    }
    return canvas_to_graph(data, CATALOGUE)["9:5"]["inputs"]


@pytest.mark.parametrize(
    "proxies",
    [
        [["-1", "two"], ["-1", "one"]],
        [["5", "right"], ["5", "left"]],
        [["-1", "two"], ["5", "left"]],
    ],
)
def test_values_stand_in_the_order_in_which_the_node_shows_them(proxies: list[Any]) -> None:
    assert inside("2", "1", proxies=proxies) == {"left": "1", "right": "2"}


def test_what_the_node_does_not_hold_is_as_inside() -> None:
    assert inside(proxies=[]) == {"left": "a", "right": "b"}
    assert inside("1", proxies=[]) == {"left": "1", "right": "b"}


def test_names_that_nothing_has_are_passed_over() -> None:
    proxies = [["-1", "three"], ["7", "left"], ["5", "middle"]]
    assert inside("1", "2", "3", proxies=proxies) == {"left": "1", "right": "2"}
