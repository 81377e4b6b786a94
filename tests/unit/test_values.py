"""Values from YAML and from the command line, as a server takes them."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.errors import BadValue
from orchestrator.workflow.catalogue import Catalogue
from orchestrator.workflow.inputs import NodeInput
from orchestrator.workflow.roles import split_setting
from orchestrator.workflow.values import random_seed, typed


def entry(kind: Any, **options: Any) -> NodeInput:
    declared = {"Node": {"input": {"required": {"seed": [kind, options]}}, "output": []}}
    return Catalogue(declared).node_class("Node").by_name["seed"]


CHOICES = ["true", "false", "8", 16, "Euler"]


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        (CHOICES, True, "true"),
        (CHOICES, False, "false"),
        (["True", "False"], False, "False"),
        ([True, False], True, True),
        (CHOICES, 8, "8"),
        (CHOICES, "16", 16),
        (CHOICES, 16, 16),
        (CHOICES, "Euler", "Euler"),
        ("INT", "8", 8),
        ("INT", 8, 8),
        ("INT", 8.0, None),
        ("INT", True, None),
        ("FLOAT", 8, 8.0),
        ("FLOAT", "inf", None),
        ("BOOLEAN", "Yes", True),
        ("BOOLEAN", "off", False),
        ("BOOLEAN", 1, True),
        ("BOOLEAN", "2", None),
        ("STRING", "8", "8"),
        ("STRING", 8, None),
        ("MODEL", "x", None),
    ],
)
def test_a_value_means_what_its_text_means(kind: Any, given: Any, expected: Any) -> None:
    if expected is None:
        with pytest.raises(BadValue, match="name"):
            typed("name", given, entry(kind))
    else:
        found = typed("name", given, entry(kind))
        assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(("bounds", "given"), [({"min": 4}, 3), ({"max": 4}, 5)])
def test_one_bound_is_a_bound(bounds: dict[str, int], given: int) -> None:
    assert typed("name", 4, entry("INT", **bounds)) == 4
    with pytest.raises(BadValue, match="allowed, 4"):
        typed("name", given, entry("INT", **bounds))


def test_a_random_seed_is_one_that_the_input_takes() -> None:
    for least, most in ((0, 1), (5, 7), (0, 2**64 - 1)):
        seeds = {random_seed(entry("INT", min=least, max=most)) for _ in range(200)}
        assert all(seed is not None and least <= seed <= most for seed in seeds)
        assert len(seeds) >= min(most - least + 1, 100)
    assert random_seed(entry("FLOAT")) is None
    assert random_seed(entry("INT", control_after_generate=False)) is None


@pytest.mark.parametrize(
    ("setting", "name", "value"),
    [
        ("a=b", "a", "b"),
        ("a = b=c", "a", " b=c"),
        ('"a=b".c=d', '"a=b".c', "d"),
        ('"a=b"=c', '"a=b"', "c"),
        ("a=", "a", ""),
    ],
)
def test_a_setting_is_split_at_the_first_equals_sign_outside_of_a_title(
    setting: str, name: str, value: str
) -> None:
    assert split_setting(setting) == (name, value)
