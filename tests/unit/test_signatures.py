"""Whether two graphs say the same of one picture."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.protocol import Graph
from orchestrator.workflow.signatures import Signatures, digests

GRAPH: Graph = {
    "1": {"class_type": "Load", "inputs": {"name": "m"}},
    "2": {"class_type": "Sample", "inputs": {"model": ["1", 0], "seed": 7, "cfg": 8.0}},
    "3": {"class_type": "Save", "inputs": {"images": ["2", 0], "filename_prefix": "x"}},
}


def changed(node: str, **inputs: Any) -> Graph:
    graph = copy.deepcopy(GRAPH)
    graph[node]["inputs"].update(inputs)
    return graph


def makes(other: Graph, node: str = "3", graph: Graph = GRAPH) -> bool:
    return Signatures(graph).makes(node, other)


def test_what_does_not_make_the_picture_does_not_count() -> None:
    other = {f"9{key}": copy.deepcopy(node) for key, node in GRAPH.items()}
    other["92"]["inputs"]["model"] = ["91", 0]
    other["93"]["inputs"]["images"] = ["92", 0]
    other["92"] |= {"_meta": {"title": "other"}, "is_changed": [1]}
    other["7"] = {"class_type": "Preview", "inputs": {"images": ["92", 0]}}
    assert makes(dict(reversed(other.items())))
    assert makes(changed("2", cfg=8))


@pytest.mark.parametrize(
    "other",
    [
        changed("1", name="n"),
        changed("2", seed=8),
        changed("2", more=1),
        changed("2", model=["1", 1]),
        changed("3", filename_prefix="y"),
        changed("3", images=["1", 0]),
        {"1": GRAPH["1"], "2": GRAPH["2"]},
        {**GRAPH, "3": {**GRAPH["3"], "class_type": "Preview"}},
        {"1": {"class_type": "X", "inputs": {}}},
    ],
)
def test_whatever_makes_the_picture_counts(other: Graph) -> None:
    assert not makes(other)


def test_nodes_that_the_server_put_in_stand_for_those_they_come_from() -> None:
    assert makes(GRAPH, "3.0.0.save")
    assert not makes(changed("2", seed=8), "3.0.0.save")
    # Of one that nobody knows the whole graph is compared.
    assert makes(GRAPH, "who")
    assert not makes({**GRAPH, "4": GRAPH["1"]}, "who")


def test_graphs_as_long_as_they_like() -> None:
    graph: Graph = {"0": {"class_type": "A", "inputs": {}}}
    for number in range(1, 10_000):
        graph[str(number)] = {"class_type": "A", "inputs": {"a": [str(number - 1), 0]}}
    assert makes(copy.deepcopy(graph), "9999", graph)
    other = copy.deepcopy(graph)
    other["0"]["class_type"] = "B"
    assert not makes(other, "9999", graph)


def test_a_circle_and_bottomless_values_make_nothing() -> None:
    circle: Graph = {"1": {"class_type": "A", "inputs": {"a": ["1", 0]}}}
    assert not makes(circle)
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert not makes({"1": {"class_type": "A", "inputs": {"a": deep}}})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=6,
)


@given(VALUES, VALUES)
def test_values_are_equal_as_pythons(one: Any, other: Any) -> None:
    assert makes(changed("2", more=other), graph=changed("2", more=one)) == (one == other)


def test_digests_are_equal_where_nodes_make_the_same() -> None:
    own = digests(GRAPH)
    other = {f"9{key}": copy.deepcopy(node) for key, node in GRAPH.items()}
    other["92"]["inputs"] |= {"model": ["91", 0], "cfg": 8}
    other["93"]["inputs"]["images"] = ["92", 0]
    other["92"]["_meta"] = {"title": "other"}
    assert list(digests(other).values()) == list(own.values())
    assert digests(changed("2", seed=8))["3"] != own["3"]
    assert digests(changed("3", filename_prefix="y"))["3"] != own["3"]
    without = {"filename_prefix"}
    assert digests(changed("3", filename_prefix="y"), without) == digests(GRAPH, without)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=1), inner, max_size=2)
    ),
    max_leaves=4,
)


@given(VALUES, VALUES)
def test_digests_say_the_same_as_signatures(one: Any, other: Any) -> None:
    first, second = changed("2", x=one), changed("2", x=other)
    same = digests(first)["3"] == digests(second)["3"]
    assert same == makes(second, graph=first)
