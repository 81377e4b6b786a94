"""Damaged workflow files of either form end in an error of ours, whatever is wrong with them."""

from __future__ import annotations

import contextlib
import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import SpriteworksError
from orchestrator.workflow.catalogue import Catalogue
from orchestrator.workflow.checking import check
from orchestrator.workflow.conversion import load
from orchestrator.workflow.roles import (
    image_inputs,
    parameters,
    seed_of_image,
    set_parameters,
    split_settings,
)

REPOSITORY = Path(__file__).resolve().parent.parent.parent
DATA = REPOSITORY / "tests" / "data" / "canvas"
JUNK: list[Any] = [None, 0, -1, 2**70, 1.5, "", "x", True, [], {}, ["1", 0], ["1", -9], [["1"]]]
SETTINGS = ("prompt=x", "seed=3", "width=64", "6.steps=3", "Sampler.cfg=2", "model=q", "image=a")


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every path into decoded JSON."""
    keys: Any = value if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield (*path, key)
        if isinstance(value[key], (dict, list)):
            yield from places(value[key], (*path, key))


def spoil(data: Any, rnd: random.Random) -> Any:
    """A copy with one thing lost or replaced."""
    result = copy.deepcopy(data)
    *path, last = rnd.choice(list(places(data)))
    parent = result
    for key in path:
        parent = parent[key]
    if rnd.random() < 0.3:
        del parent[last]
    else:
        parent[last] = copy.deepcopy(rnd.choice(JUNK))
    return result


@pytest.mark.parametrize("name", ["sprite.json", "api/inpaint.json", "subgraph_seed"])
def test_damage_is_reported_and_never_a_traceback(name: str) -> None:
    info = Catalogue(read(DATA / "object_info.json"))
    whole = (
        read(REPOSITORY / "workflows" / name)
        if name.endswith(".json")
        else read(DATA / f"{name}.json")["canvas"]
    )
    rnd = random.Random(name)
    for _ in range(150):
        data = spoil(whole, rnd)
        with contextlib.suppress(SpriteworksError):
            graph = load(data, info).graph
            parameters(graph, info)
            image_inputs(graph, info)
            for node_id in graph:
                seed_of_image(graph, node_id, 1)
            check(set_parameters(graph, split_settings([rnd.choice(SETTINGS)]), info), info)
