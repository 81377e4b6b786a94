"""Choices that a node's own check judges: the server takes what its list does not have."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.workflow.catalogue import Catalogue
from orchestrator.workflow.checking import validate


def classes(name: str, entry: str, kind: str) -> Catalogue:
    """A class that hands a model on and a list of one choice, and one that saves."""
    handing = {"required": {"model": [kind], entry: [["what is here"]], "other": [["a", "b"]]}}
    saving = {"required": {"model": [kind]}}
    return Catalogue(
        {
            name: {"input": handing, "output": [kind]},
            "Source": {"input": {}, "output": [kind]},
            "Save": {"input": saving, "output": [], "output_node": True},
        }
    )


def graph(name: str, **values: Any) -> dict[str, Any]:
    return {
        "1": {"class_type": "Source", "inputs": {}},
        "2": {"class_type": name, "inputs": {"model": ["1", 0], **values}},
        "3": {"class_type": "Save", "inputs": {"model": ["2", 0]}},
    }


@pytest.mark.parametrize(
    ("name", "entry"), [("ModelAttentionBackend", "attention"), ("SelectVAEDevice", "device")]
)
def test_what_another_machine_has_is_let_through(name: str, entry: str) -> None:
    catalogue = classes(name, entry, "MODEL")
    assert validate(graph(name, **{entry: "what is elsewhere", "other": "a"}), catalogue) == []
    # the node's further lists are the server's to judge
    (found,) = validate(graph(name, **{entry: "what is here", "other": "c"}), catalogue)
    assert found.type == "value_not_in_list"


def test_other_lists_are_judged() -> None:
    catalogue = classes("Other", "device", "MODEL")
    (found,) = validate(graph("Other", device="what is elsewhere", other="a"), catalogue)
    assert "what is elsewhere" in found.message
