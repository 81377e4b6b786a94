"""The exception tree, held to the picture of it in its own docstring."""

from __future__ import annotations

import inspect
import re

import pytest

from orchestrator import errors


def exception_classes() -> dict[str, type[Exception]]:
    return {
        name: cls
        for name, cls in inspect.getmembers(errors, inspect.isclass)
        if issubclass(cls, Exception) and cls.__module__ == errors.__name__
    }


def drawn_tree() -> dict[str, str]:
    """Read {class: parent} out of the module's docstring."""
    parents: dict[str, str] = {}
    open_at: dict[int, str] = {}
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"([│ ]*)([├└]── )?([A-Z]\w+)( {2,}|$)", line)
        if match is None:
            continue
        depth = (len(match[1]) // 4) + bool(match[2])
        open_at[depth] = match[3]
        if depth:
            parents[match[3]] = open_at[depth - 1]
    return parents


def test_every_class_is_drawn_under_its_parent() -> None:
    classes = exception_classes()
    drawn = drawn_tree()
    assert drawn == {
        name: cls.__bases__[0].__name__ for name, cls in classes.items() if name in drawn
    }
    assert set(drawn) | {"SpriteworksError"} == set(classes)


@pytest.mark.parametrize("cls", exception_classes().values(), ids=lambda cls: cls.__name__)
def test_no_error_ends_the_command_with_success(cls: type[errors.SpriteworksError]) -> None:
    assert cls.exit_code != 0
    assert cls.__doc__


def test_a_refusal_lists_every_node() -> None:
    problem = errors.NodeProblem(
        node_id="3", class_type="KSampler", type="value_bigger_than_max", message="steps too big"
    )
    refused = errors.JobRefused("the server refused the workflow", [problem])
    assert "node 3 (KSampler): steps too big" in str(refused)
