"""Graphs, ComfyUI's API format of a workflow: read, walk and validate, with no I/O."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from enum import Enum
from typing import Any, TypeAlias

from ..errors import GraphError, NodeProblem, UnknownNodeClass
from ..protocol import Graph
from .node_info import (
    InputInfo,
    NodeInfo,
    ObjectInfo,
    did_you_mean,
    listed,
    node_info,
    unknown_class_message,
)

# (id of the node that gives, number of its output slot)
Link: TypeAlias = tuple[str, int]

# Inputs that the editor once saved along with those of the node; servers drop them.
_EDITOR_LEFTOVERS = frozenset(
    {"upload", "choose file to upload", "control_after_generate", "speak_and_recognation"}
)


class Form(Enum):
    """The two forms of a workflow file."""

    GRAPH = "graph"  # {node_id: {class_type, inputs}}, what a server takes
    CANVAS = "canvas"  # what the editor saves: nodes with places, links, groups


def sha256_of(text: str) -> str:
    """The lower-case hexadecimal SHA-256 of a workflow's text in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()


def read_json(text: str, name: str = "the workflow") -> Any:
    """Decode a workflow's text; raises GraphError with the place where it is not JSON."""
    try:
        return json.loads(text.removeprefix("\ufeff"))
    except json.JSONDecodeError as error:
        raise GraphError(
            f"{name} is not JSON (line {error.lineno}, column {error.colno}: {error.msg}); "
            "save it again with ComfyUI's Save or Export (API)"
        ) from error
    except RecursionError as error:
        raise GraphError(f"{name} is nested too deeply to be a workflow") from error


def form_of(data: Any, name: str = "the workflow") -> Form:
    """Say which form decoded JSON is in; raises GraphError where it is neither."""
    if isinstance(data, dict):
        if isinstance(data.get("nodes"), list):
            return Form.CANVAS
        if data and all(_is_node(node) for node in data.values()):
            return Form.GRAPH
        strange = [key for key, node in data.items() if not _is_node(node)]
        if len(strange) < len(data):
            raise GraphError(
                f"{name}: node {strange[0]} has no class_type; every entry of a graph is "
                '{"class_type": ..., "inputs": {...}}'
            )
    raise GraphError(
        f"{name} is no workflow: it is neither a canvas file (with a list of nodes) nor a graph "
        '({"1": {"class_type": ..., "inputs": {...}}, ...})'
    )


def parse_graph(data: Any, name: str = "the workflow") -> Graph:
    """Check decoded JSON to be a graph and copy it, ids as text and every node with `inputs`.

    Raises GraphError naming the node and the field that is wrong, also where links run in a circle.
    """
    if form_of(data, name) is not Form.GRAPH:
        raise GraphError(f"{name} is a canvas file, and a graph is needed here")
    graph: Graph = {str(key): _parse_node(name, key, node) for key, node in data.items()}
    order(graph)
    return graph


def is_link(value: Any) -> bool:
    """True for `[node_id, output_slot]`, the way an input names another node's output."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], int)
        and not isinstance(value[1], bool)
    )


def links(graph: Graph, node_id: str) -> Iterator[tuple[str, Link]]:
    """The linked inputs of a node as (input name, link), in the order of the file."""
    for name, value in graph[node_id]["inputs"].items():
        if is_link(value):
            yield name, (value[0], value[1])


def title(graph: Graph, node_id: str) -> str:
    """The title that the editor gave a node, else its class."""
    node = graph[node_id]
    return (node.get("_meta") or {}).get("title") or str(node["class_type"])


def ancestors(graph: Graph, node_id: str) -> list[str]:
    """The nodes that `node_id` depends on and itself, the nearest first, each once."""
    found = [node_id]
    seen = {node_id}
    for current in found:
        for _, (source, _) in links(graph, current):
            if source in graph and source not in seen:
                seen.add(source)
                found.append(source)
    return found


def order(graph: Graph) -> list[str]:
    """Every node after those it depends on; raises GraphError naming the nodes of a circle."""
    done: dict[str, None] = {}
    for start in graph:
        _visit(graph, start, done)
    return list(done)


def validate(graph: Graph, object_info: ObjectInfo) -> list[NodeProblem]:
    """Find what the server would refuse, and some of what it would silently drop.

    Like ComfyUI, it wants every class to exist and checks the inputs of those nodes only that an
    output node depends on. Choices of files to upload are not checked, the upload comes later.
    Raises GraphError where no node of the graph gives a result.
    """
    problems = [
        _problem(graph, node_id, "missing_node_type", unknown_class_message(object_info, kind))
        for node_id, kind in ((key, node["class_type"]) for key, node in graph.items())
        if kind not in object_info
    ]
    if problems:
        return problems
    known = {key: node_info(object_info, node["class_type"]) for key, node in graph.items()}
    outputs = [key for key, info in known.items() if info.is_output]
    if not outputs:
        raise GraphError(
            "the workflow gives no result: add a node that saves, such as SaveImage or "
            "SpriteworksSaveSprite"
        )
    wanted = {node for key in outputs for node in ancestors(graph, key)}
    for node_id in (key for key in graph if key in wanted):
        problems += _node_problems(graph, node_id, known)
    return problems


def check(graph: Graph, object_info: ObjectInfo) -> None:
    """Raise GraphError (UnknownNodeClass where it is that) listing all that `validate` finds."""
    problems = validate(graph, object_info)
    if problems:
        unknown = any(problem.type == "missing_node_type" for problem in problems)
        kind = UnknownNodeClass if unknown else GraphError
        raise kind("\n".join(map(str, problems)))


def value_problem(info: InputInfo, value: Any) -> tuple[str, str] | None:
    """(ComfyUI's error type, sentence) where a literal does not suit an input, else None."""
    if info.type == "COMBO":
        return _choice_problem(info, value)
    if info.type in ("INT", "FLOAT"):
        return _number_problem(info, value)
    return None


# --------------------------------------------------------------------------- reading


def _is_node(value: Any) -> bool:
    return isinstance(value, dict) and "class_type" in value


def _parse_node(name: str, node_id: Any, node: dict[str, Any]) -> dict[str, Any]:
    where = f"{name}: node {node_id}"
    if not isinstance(node["class_type"], str) or not node["class_type"]:
        raise GraphError(f"{where}: class_type is {node['class_type']!r}, and must be a name")
    inputs = node.get("inputs", {})
    if not isinstance(inputs, dict) or not all(isinstance(key, str) for key in inputs):
        raise GraphError(f"{where} ({node['class_type']}): inputs must be an object of names")
    meta = node.get("_meta")
    if meta is not None and not isinstance(meta, dict):
        raise GraphError(f"{where} ({node['class_type']}): _meta must be an object")
    return {**node, "inputs": {key: _parse_value(value) for key, value in inputs.items()}}


def _parse_value(value: Any) -> Any:
    """Numbers as node ids appear in hand-written graphs; the server knows ids as text only."""
    if isinstance(value, list) and len(value) == 2 and type(value[0]) is int:
        return [str(value[0]), value[1]]
    return value


def _visit(graph: Graph, start: str, done: dict[str, None]) -> None:
    """Depth first with a stack of its own: graphs may be deeper than Python's recursion."""
    if start in done:
        return
    path: dict[str, Iterator[tuple[str, Link]]] = {start: links(graph, start)}
    while path:
        current = next(reversed(path))
        for _, (source, _) in path[current]:
            if source in path:
                circle = [*list(path)[list(path).index(source) :], source]
                raise GraphError(f"the links run in a circle: {' <- '.join(circle)}; cut one")
            if source in graph and source not in done:
                path[source] = links(graph, source)
                break
        else:
            done[current] = None
            del path[current]


# --------------------------------------------------------------------------- validation


def _problem(graph: Graph, node_id: str, kind: str, message: str, details: str = "") -> NodeProblem:
    return NodeProblem(
        node_id=node_id,
        class_type=str(graph[node_id]["class_type"]),
        type=kind,
        message=message,
        details=details,
    )


def _node_problems(graph: Graph, node_id: str, known: dict[str, NodeInfo]) -> Iterator[NodeProblem]:
    info = known[node_id]
    inputs = graph[node_id]["inputs"]
    for entry in info.inputs:
        if entry.name not in inputs:
            if entry.required:
                yield _problem(
                    graph,
                    node_id,
                    "required_input_missing",
                    f"the input {entry.name} ({entry.type}) is missing",
                )
            continue
        found = _input_problem(graph, entry, inputs[entry.name], known)
        if found:
            yield _problem(graph, node_id, *found)
    for name in _undeclared(info, inputs):
        yield _problem(graph, node_id, "unknown_input", unknown_input_message(info, name))


def unknown_input_message(info: NodeInfo, name: str) -> str:
    """Say that a class has no such input, and which it has."""
    names = [entry.name for entry in info.inputs]
    return (
        f"{info.class_type} has no input {name!r}{did_you_mean(name, names)} "
        f"(it has: {listed(names)})"
    )


def _undeclared(info: NodeInfo, inputs: dict[str, Any]) -> list[str]:
    if info.takes_undeclared_inputs:
        return []
    # Newer servers grow inputs by name, "images.0" under a declared "images".
    return [
        name
        for name in inputs
        if name.partition(".")[0] not in info.by_name and name not in _EDITOR_LEFTOVERS
    ]


def _input_problem(
    graph: Graph, entry: InputInfo, value: Any, known: dict[str, NodeInfo]
) -> tuple[str, str] | None:
    if isinstance(value, dict) and "__value__" in value:
        # ComfyUI's way to write a list that is no link
        found = value_problem(entry, value["__value__"])
        return (found[0], f"{entry.name}: {found[1]}") if found else None
    if not isinstance(value, list):
        found = value_problem(entry, value)
        return (found[0], f"{entry.name}: {found[1]}") if found else None
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
            f"{entry.name} is linked to output {slot} of node {source} "
            f"({known[source].class_type}), which has {len(outputs)}",
        )
    if not _fits(outputs[slot], entry.type):
        return (
            "return_type_mismatch",
            f"{entry.name} takes {entry.type}, and is linked to output {slot} of node {source} "
            f"({known[source].class_type}), which gives {outputs[slot]}",
        )
    return None


def _fits(given: str, wanted: str) -> bool:
    """ComfyUI's rule: either side may name several types, one in common is enough; `*` fits all."""
    left = {part.strip() for part in given.split(",")}
    right = {part.strip() for part in wanted.split(",")}
    return "*" in left | right or bool(left & right)


def _number_problem(info: InputInfo, value: Any) -> tuple[str, str] | None:
    try:
        number = int(value) if info.type == "INT" else float(value)
    except (TypeError, ValueError, OverflowError):
        kind = "a whole number" if info.type == "INT" else "a number"
        return "invalid_input_type", f"{value!r} is not {kind}"
    low, high = info.minimum, info.maximum
    # `not >=` also refuses NaN
    if low is not None and not number >= low:
        return "value_smaller_than_min", f"{value} is below the smallest allowed, {low}"
    if high is not None and not number <= high:
        return "value_bigger_than_max", f"{value} is above the largest allowed, {high}"
    return None


def _choice_problem(info: InputInfo, value: Any) -> tuple[str, str] | None:
    if info.options is None or info.is_upload or info.extra.get("remote"):
        return None
    chosen = value if isinstance(value, (list, tuple)) else [value]
    for entry in chosen:
        if entry not in info.options:
            return (
                "value_not_in_list",
                f"there is no {entry!r}{did_you_mean(str(entry), info.options)} "
                f"(there is: {listed(info.options)})",
            )
    return None
