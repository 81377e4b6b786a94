"""Ids that several subgraphs of a file have in common are exchanged for the next free ones."""

from __future__ import annotations

import copy
from typing import Any

from orchestrator.workflow.numbering import PROXIES, renumbered


def node(number: Any, kind: str = "Give", **properties: Any) -> dict[str, Any]:
    return {"id": number, "type": kind, "properties": properties}


def ids(definition: dict[str, Any]) -> list[str]:
    return [str(one["id"]) for one in definition["nodes"]]


def test_an_id_that_is_taken_is_exchanged_for_the_next_free() -> None:
    data = {"nodes": [node(1, "s"), node(2, "t")], "last_node_id": 2}
    first = {"id": "s", "nodes": [node(1), node(7)], "links": []}
    second = {"id": "t", "nodes": [node(7), node(8), node(9)], "links": []}
    (one, other), nodes = renumbered(data, [first, second])
    # the canvas keeps its own
    assert [entry["id"] for entry in nodes] == [1, 2]
    assert ids(one) == ["3", "7"]
    # 8 is given to the 7, so the 8 is taken
    assert ids(other) == ["8", "9", "10"]


def test_ids_go_on_behind_the_last_that_the_file_ever_gave() -> None:
    for last in ({"last_node_id": 40}, {"state": {"lastNodeId": 40}}):
        (one,), _ = renumbered({"nodes": [node(1, "s")], **last}, [{"id": "s", "nodes": [node(1)]}])
        assert ids(one) == ["41"]


def test_a_file_that_counts_less_than_it_holds_gives_no_id_twice() -> None:
    data = {"nodes": [node(1, "s"), *map(node, (2, 3, 4))], "last_node_id": 1}
    (one,), _ = renumbered(data, [{"id": "s", "nodes": [node(1), node(2)]}])
    assert ids(one) == ["5", "6"]


def test_links_and_shown_widgets_follow_the_new_ids() -> None:
    shown = {PROXIES: [["1", "text"], ["-1", "seed"], "odd"]}
    data = {"nodes": [node(1), node(2, "s", **shown), node(3, "other", **shown)]}
    links = [
        {"id": 5, "origin_id": 1, "origin_slot": 0, "target_id": -20, "target_slot": 0},
        [6, 1, 0, 9, 0, "IMAGE"],
    ]
    before = copy.deepcopy(data)
    inner = {"id": "s", "nodes": [node(1), node(9)], "links": links}
    (one,), (_, user, bystander) = renumbered({**data, "last_node_id": 3}, [inner])
    assert ids(one) == ["4", "9"]
    assert one["links"][0] == {**links[0], "origin_id": "4"}
    assert one["links"][1] == [6, "4", 0, 9, 0, "IMAGE"]
    assert user["properties"][PROXIES] == [["4", "text"], ["-1", "seed"], "odd"]
    # that one uses another subgraph, whose ids stay
    assert bystander["properties"][PROXIES] == shown[PROXIES]
    assert data == before
