"""What a server would refuse of a graph, found before it is sent; with no I/O.

The rules are ComfyUI's (`execution.validate_inputs` of 0.33.0), the sentences our own. What only a
node's own check knows, and which files there are to upload, is left to the server.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import GraphError, NodeProblem, UnknownNodeClass
from ..protocol import Graph
from .catalogue import Catalogue, NodeClass
from .core_nodes import JUDGED_BY_NODE
from .editor import OWN_CHOICES, SENT_ALONG
from .graph import ancestors, is_link
from .inputs import MATCH_TYPE, InputGrowth, NodeInput
from .wording import did_you_mean, listed, shown

# (ComfyUI's type of the error, sentence)
Fault = tuple[str, str]

_DYNAMIC = frozenset({MATCH_TYPE, *(growth.value for growth in InputGrowth)})


def validate(graph: Graph, catalogue: Catalogue) -> list[NodeProblem]:
    """Find what the server would refuse.

    Like ComfyUI, it wants every class to exist and checks the inputs of those nodes only that an
    output node depends on. Raises GraphError where no node of the graph gives a result.
    """
    problems = [
        _problem(graph, node_id, "missing_node_type", catalogue.unknown(kind))
        for node_id, kind in ((key, node["class_type"]) for key, node in graph.items())
        if kind not in catalogue
    ]
    if problems:
        return problems
    known = {key: catalogue.node_class(node["class_type"]) for key, node in graph.items()}
    outputs = [key for key, node_class in known.items() if node_class.is_output]
    if not outputs:
        raise GraphError(
            "the workflow gives no result: add a node that saves, such as SaveImage or "
            "SpriteworksSaveSprite"
        )
    wanted = {node for key in outputs for node in ancestors(graph, key)}
    for node_id in (key for key in graph if key in wanted):
        problems += _node_problems(graph, node_id, known)
    return problems


def check(graph: Graph, catalogue: Catalogue) -> None:
    """Raise GraphError (UnknownNodeClass where it is that) listing all that `validate` finds."""
    problems = validate(graph, catalogue)
    if problems:
        unknown = any(problem.type == "missing_node_type" for problem in problems)
        kind = UnknownNodeClass if unknown else GraphError
        raise kind("\n".join(map(str, problems)))


def ignored(graph: Graph, catalogue: Catalogue) -> list[NodeProblem]:
    """Inputs that the server drops without a word, most of them misspelt."""
    found = []
    for node_id, node in graph.items():
        if node["class_type"] not in catalogue:
            continue
        node_class = catalogue.node_class(node["class_type"])
        for name in _undeclared(node_class, node["inputs"]):
            entry = node_class.by_name.get(name)
            fault = None if entry is None else value_problem(entry, node["inputs"][name])
            message = fault[1] if fault else node_class.unknown_input(name, node["inputs"])
            found.append(_problem(graph, node_id, "unknown_input", message))
    return found


def value_problem(entry: NodeInput, value: Any) -> Fault | None:
    """The fault of a literal that does not suit an input, else None."""
    if entry.type in ("INT", "FLOAT"):
        return _number_problem(entry, value)
    found = _bound_problem(entry, value, value) if entry.widget is not None else None
    if found is None and (entry.type == "COMBO" or entry.growth is InputGrowth.COMBO):
        return _choice_problem(entry, value)
    return found


def link_problem(
    graph: Graph, entry: NodeInput, value: Any, known: Mapping[str, NodeClass]
) -> Fault | None:
    """The fault of a link, or of a list that is none, else None."""
    if not is_link(value):
        return (
            "bad_linked_input",
            f"{entry.name} is a list, and a link is [node_id, output number], not {value!r}",
        )
    source, slot = value
    if source not in graph:
        return (
            "bad_linked_input",
            f"{entry.name} is linked to node {source}, which is not in the workflow",
        )
    outputs = known[source].outputs
    if not 0 <= slot < len(outputs):
        return (
            "bad_linked_input",
            f"{entry.name} is linked to output {slot} of node {source} ({known[source].name}), "
            f"which has {len(outputs)}",
        )
    if not fits(outputs[slot], entry):
        return (
            "return_type_mismatch",
            f"{entry.name} takes {entry.type}, and is linked to output {slot} of node {source} "
            f"({known[source].name}), which gives {outputs[slot]}",
        )
    return None


def fits(given: str, entry: NodeInput) -> bool:
    """ComfyUI's rule: either side may name several types, one in common is enough; `*` fits all."""
    if given == MATCH_TYPE or entry.type in _DYNAMIC:
        return True
    ours = {part.strip() for part in given.split(",")}
    return "*" in ours or "*" in entry.types or not ours.isdisjoint(entry.types)


def _problem(graph: Graph, node_id: str, kind: str, message: str) -> NodeProblem:
    return NodeProblem(
        node_id=node_id,
        class_type=str(graph[node_id]["class_type"]),
        type=kind,
        message=message,
        details="",
    )


def _node_problems(
    graph: Graph, node_id: str, known: Mapping[str, NodeClass]
) -> Iterator[NodeProblem]:
    inputs = graph[node_id]["inputs"]
    for name, entry in known[node_id].inputs_of(inputs).items():
        if name in inputs:
            fault = _input_problem(graph, entry, inputs[name], known, known[node_id])
        elif entry.required:
            fault = "required_input_missing", f"the input {name} ({entry.type}) is missing"
        else:
            fault = None
        if fault:
            yield _problem(graph, node_id, *fault)


def _input_problem(
    graph: Graph, entry: NodeInput, value: Any, known: Mapping[str, NodeClass], owner: NodeClass
) -> Fault | None:
    if isinstance(value, list):
        return link_problem(graph, entry, value, known)
    if owner.name == OWN_CHOICES:
        return None
    if isinstance(value, dict) and "__value__" in value:
        # ComfyUI's way to write a list that is no link
        value = value["__value__"]
    found = value_problem(entry, value)
    if found and found[0] == "value_not_in_list" and JUDGED_BY_NODE.get(owner.name) == entry.name:
        return None
    return (found[0], f"{entry.name}: {found[1]}") if found else None


def _undeclared(node_class: NodeClass, inputs: Mapping[str, Any]) -> list[str]:
    if node_class.takes_undeclared_inputs or node_class.name == OWN_CHOICES:
        return []
    known = node_class.inputs_of(inputs).keys() | {entry.name for entry in node_class.added}
    return [name for name in inputs if name not in known and name not in SENT_ALONG]


def _number_problem(entry: NodeInput, value: Any) -> Fault | None:
    try:
        number = int(value) if entry.type == "INT" else float(value)
    except (TypeError, ValueError, OverflowError):
        kind = "a whole number" if entry.type == "INT" else "a number"
        return "invalid_input_type", f"{value!r} is not {kind}"
    return _bound_problem(entry, number, value)


def _bound_problem(entry: NodeInput, number: Any, value: Any) -> Fault | None:
    low, high = entry.minimum, entry.maximum
    if low is None and high is None:
        return None
    try:
        # `not >=` also refuses NaN
        if low is not None and not number >= low:
            message = f"{value} is below the smallest allowed, {low}{_hint(entry, value)}"
            return "value_smaller_than_min", message
        if high is not None and not number <= high:
            return "value_bigger_than_max", f"{value} is above the largest allowed, {high}"
    except TypeError:
        return "invalid_input_type", f"{value!r} is not a number"
    return None


def _hint(entry: NodeInput, value: Any) -> str:
    """What to do about a seed of -1, which means a random one in other programs."""
    return "; for a random seed: --set seed=random" if entry.has_control and value == -1 else ""


def _choice_problem(entry: NodeInput, value: Any) -> Fault | None:
    if entry.options is None or entry.is_upload or entry.is_remote:
        return None
    chosen = value if isinstance(value, list | tuple) and entry.takes_several else [value]
    for one in chosen:
        if one not in entry.options:
            return (
                "value_not_in_list",
                f"there is no {shown(str(one))!r}{did_you_mean(str(one), entry.options)} "
                f"(there is: {listed(entry.options)})",
            )
    return None
