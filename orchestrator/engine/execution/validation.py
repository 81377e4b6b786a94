"""Checks a graph before it is queued, the way ComfyUI does.

The error types and their shapes are ComfyUI's (0.33.0), so every client understands them; the
sentences are our own. What an input is and takes, `orchestrator.workflow` says, as it does for
clients.
"""

from __future__ import annotations

import copy
import inspect
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from comfy_nodes.errors import PackError

from ...protocol import Graph
from ...workflow.checking import fits, value_problem
from ...workflow.inputs import NodeInput, expanded, read_inputs
from ..host import ComfyNode, HiddenHolder

# One entry of a node's "errors", as it goes over the wire.
Problem: TypeAlias = dict[str, Any]
Nodes: TypeAlias = Mapping[str, type[ComfyNode]]

# A longer list of choices is not sent back, as in ComfyUI: it may be thousands of files.
_MOST_CHOICES = 20
# Nodes of one loop, and outputs that one node spoils, that are named: a graph may have thousands.
_MOST_IN_LOOP, _MOST_NAMED = 20, 100
# Loops that are told with all their nodes.
_MOST_LOOPS = 20
_MESSAGES = {
    "value_smaller_than_min": "The value is smaller than the minimum",
    "value_bigger_than_max": "The value is bigger than the maximum",
    "value_not_in_list": "The value is not one of the choices",
    "invalid_input_type": "The value cannot be read",
}


def _number(value: Any) -> float:
    found = float(value)
    if not math.isfinite(found):
        raise ValueError("the number is none, or too large")
    return found


_CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "INT": int,
    "FLOAT": _number,
    "STRING": str,
    "BOOLEAN": bool,
}


def _converted(entry: NodeInput, value: Any) -> Any:
    """The constant as its input takes it. Raises TypeError, ValueError and OverflowError."""
    # ComfyUI hands a constant in the place of a picture or a model to the node, which then fails.
    # None is how a client leaves out what is optional.
    if entry.takes_links_only and (entry.required or value is not None):
        raise TypeError(f"{entry.type} comes from another node: link the input to its output")
    convert = _CONVERSIONS.get(entry.type)
    return convert(value) if convert else value


@dataclass(frozen=True, kw_only=True)
class GraphVerdict:
    """What the checks found; `error` is None where at least one output can run."""

    # the graph with values converted to the types of their inputs
    graph: Graph
    outputs: tuple[str, ...] = ()
    error: Problem | None = None
    # {node id: {"errors": [...], "dependent_outputs": [...], "class_type": ...}}
    node_errors: dict[str, Any] = field(default_factory=dict)


def problem(type: str, message: str, details: str = "", **extra_info: Any) -> Problem:
    """An error in the shape that ComfyUI sends."""
    return {"type": type, "message": message, "details": details, "extra_info": extra_info}


def is_link(value: Any) -> bool:
    """Say whether an input's value is a link [node id, output index]."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)


def sources(graph: Graph, node_id: str) -> list[str]:
    """The nodes of the graph that a node links to, each once."""
    linked = (value[0] for value in graph[node_id]["inputs"].values() if is_link(value))
    return list(dict.fromkeys(source for source in linked if source in graph))


def check(graph: Graph, nodes: Nodes, only: Collection[str] | None = None) -> GraphVerdict:
    """Check every output node and what it needs; `only` leaves out all other outputs."""
    graph = copy.deepcopy(graph)
    refused = _check_classes(graph, nodes)
    if refused is not None:
        return GraphVerdict(graph=graph, error=refused)
    outputs = [
        node_id
        for node_id, node in graph.items()
        if nodes[node["class_type"]].GET_SCHEMA().is_output_node
        and (only is None or node_id in only)
    ]
    if not outputs:
        message = "The graph has no output node: add one that saves or shows something"
        return GraphVerdict(graph=graph, error=problem("prompt_no_outputs", message))
    return _check_outputs(graph, nodes, outputs)


def _check_classes(graph: Graph, nodes: Nodes) -> Problem | None:
    for node_id, node in graph.items():
        details = f"node id {node_id!r}"
        if not isinstance(node, dict):
            return problem("invalid_prompt", "A node is no object", details)
        if "class_type" not in node:
            message = "A node has no class_type"
            return problem("missing_node_type", message, details, **_identity(node_id, node))
        name = node["class_type"]
        if not isinstance(name, str) or name not in nodes:
            message = f"The node class {name!r} does not exist on this server"
            return problem("missing_node_type", message, details, **_identity(node_id, node))
        if not isinstance(node.get("inputs"), dict):
            return problem("invalid_prompt", f"A node of class {name!r} has no inputs", details)
    return None


def _identity(node_id: str, node: dict[str, Any]) -> dict[str, Any]:
    """Which node it is, for clients that mark it."""
    name, meta = node.get("class_type"), node.get("_meta")
    title = meta.get("title", name) if isinstance(meta, dict) else name
    return {"node_id": node_id, "class_type": name, "node_title": title}


def _check_outputs(graph: Graph, nodes: Nodes, outputs: list[str]) -> GraphVerdict:
    """Each node once, in a time that grows with the number of links."""
    order, loops = _walk(graph, outputs)
    looped: dict[str, list[Problem]] = defaultdict(list)
    for loop in loops:
        told = _loop_problem(graph, loop)
        for node_id in loop:
            looped[node_id].append(
                {**told, "extra_info": {"node_id": node_id, **told["extra_info"]}}
            )
    ends = frozenset(outputs)
    problems = {
        node_id: looped[node_id] + _check_node(graph, nodes, node_id, outer=node_id in ends)
        for node_id in order
    }
    bad: set[str] = set()
    for node_id in order:
        if problems[node_id] or not bad.isdisjoint(sources(graph, node_id)):
            bad.add(node_id)
    good = tuple(output for output in outputs if output not in bad)
    error = None
    if not good:
        texts = [f"{p['message']}: {p['details']}" for each in outputs for p in problems[each]]
        message = "No output of the graph can run"
        error = problem("prompt_outputs_failed_validation", message, "\n".join(texts))
    told_errors = _node_errors(graph, problems, order, outputs)
    return GraphVerdict(graph=graph, outputs=good, error=error, node_errors=told_errors)


def _node_errors(
    graph: Graph, problems: Mapping[str, list[Problem]], order: list[str], outputs: list[str]
) -> dict[str, Any]:
    """What clients are told of every node that has problems."""
    if not any(problems.values()):
        return {}
    dependent = _dependent_outputs(graph, order, outputs)
    return {
        node_id: {
            "errors": problems[node_id],
            "dependent_outputs": [outputs[place] for place in dependent[node_id]],
            "class_type": graph[node_id]["class_type"],
        }
        for node_id in order
        if problems[node_id]
    }


def _dependent_outputs(
    graph: Graph, order: list[str], outputs: list[str]
) -> Mapping[str, list[int]]:
    """The places in `outputs` of the first _MOST_NAMED that need each node, in order."""
    found: dict[str, list[int]] = defaultdict(list)
    for place, output in enumerate(outputs):
        found[output].append(place)
    # Who reads a node stands behind it in the order, so its outputs are known by then; but for the
    # one link of a loop that leads back, which the second round follows.
    for node_id in (*reversed(order), *reversed(order)):
        found[node_id] = sorted(set(found[node_id]))[:_MOST_NAMED]
        for source in sources(graph, node_id):
            found[source] += found[node_id]
    return {node_id: sorted(set(places))[:_MOST_NAMED] for node_id, places in found.items()}


def _loop_problem(graph: Graph, loop: list[str]) -> Problem:
    """One loop's, for each of its nodes; a long one is told in part."""
    shown = loop if len(loop) <= _MOST_IN_LOOP else loop[:_MOST_IN_LOOP]
    names = [f"{each} ({graph[each]['class_type']})" for each in (*shown, loop[0])]
    if len(shown) < len(loop):
        names.insert(-1, f"{len(loop) - len(shown)} more")
    return problem(
        "dependency_cycle",
        "The links of these nodes form a loop",
        " -> ".join(names),
        cycle_nodes=shown,
    )


def ordered(graph: Graph, outputs: Iterable[str]) -> list[str]:
    """`outputs` and all nodes they need, each after what it needs, in a graph without loops."""
    return _walk(graph, outputs)[0]


def _walk(graph: Graph, outputs: Iterable[str]) -> tuple[list[str], list[list[str]]]:
    """`outputs` and all they need, each after what it needs; and the loops on the way.

    Depth first with a stack of its own: graphs may be deeper than Python's recursion. Every loop
    has two neighbours in one that is given; of more than _MOST_LOOPS no more than those.
    """
    done: dict[str, None] = {}
    loops: list[list[str]] = []
    for output in outputs:
        path = [] if output in done else [output]
        left = {each: iter(sources(graph, each)) for each in path}
        while path:
            current = path[-1]
            for source in left[current]:
                if source in left:
                    loops.append(_loop(path, source, whole=len(loops) < _MOST_LOOPS))
                elif source not in done:
                    path.append(source)
                    left[source] = iter(sources(graph, source))
                    break
            else:
                done[current] = None
                path.pop()
                del left[current]
    return list(done), loops


def _loop(path: list[str], first: str, *, whole: bool) -> list[str]:
    """The loop that the last node of the path closes by its link to `first`."""
    if not whole:
        return list(dict.fromkeys([first, path[-1]]))
    return path[path.index(first) :]


def _check_node(graph: Graph, nodes: Nodes, node_id: str, *, outer: bool) -> list[Problem]:
    try:
        return _NodeCheck(graph, nodes, node_id).run()
    except Exception as error:  # noqa: BLE001 - a node's own code; told to the client
        return [_exception_problem(error, outer=outer)]


def _exception_problem(error: Exception, *, outer: bool, **extra_info: Any) -> Problem:
    # ComfyUI tells an exception at an output node from one further up.
    kind = "exception_during_validation" if outer else "exception_during_inner_validation"
    extra_info |= {"exception_type": type_name(type(error)), "traceback": []}
    if not outer:
        extra_info["exception_message"] = str(error)
    refused = isinstance(error, PackError)
    message = "The node refuses the value" if refused else "The check of this node failed"
    return problem(kind, message, str(error), **extra_info)


def type_name(cls: type) -> str:
    """The full name of a class; built-in ones without their module."""
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__name__}"


class _NodeCheck:
    """The checks of one node's inputs; converts constants in place."""

    def __init__(self, graph: Graph, nodes: Nodes, node_id: str) -> None:
        self.graph = graph
        self.nodes = nodes
        self.node_id = node_id
        self.inputs: dict[str, Any] = graph[node_id]["inputs"]
        self.cls = nodes[graph[node_id]["class_type"]]
        # names that the node's own validate_inputs takes care of
        self.own: frozenset[str] = frozenset()
        self.own_all = False
        if self.cls.overrides("validate_inputs"):
            spec = inspect.getfullargspec(self.cls.validate_inputs)
            self.own, self.own_all = frozenset(spec.args + spec.kwonlyargs), bool(spec.varkw)

    def run(self) -> list[Problem]:
        found: list[Problem] = []
        for entry in expanded(tuple(read_inputs(self.cls.INPUT_TYPES())), self.inputs):
            if entry.name in self.inputs:
                found += self._check_input(entry)
            elif entry.required:
                message = "A required input is missing"
                found.append(
                    problem("required_input_missing", message, entry.name, input_name=entry.name)
                )
        return found + self._check_own()

    def _check_input(self, entry: NodeInput) -> Iterator[Problem]:
        name = entry.name
        if isinstance(self.inputs[name], list):
            yield from self._check_link(entry)
            return
        failed = self._convert(entry)
        if failed is not None:
            yield failed
        elif name not in self.own and not self.own_all:
            yield from _check_value(entry, self.inputs[name])

    def _check_link(self, entry: NodeInput) -> Iterator[Problem]:
        name, config = entry.name, entry.declared
        link = self.inputs[name]
        if len(link) != 2:
            yield problem(
                "bad_linked_input",
                "A link must be [node id, output index]",
                f"{name}: {link}",
                input_name=name,
                input_config=config,
                received_value=link,
            )
            return
        try:
            received = _output_type(self.graph, self.nodes, link)
        except LookupError as error:
            # only an output node is checked from outside; all others from the node they feed
            outer = self.cls.GET_SCHEMA().is_output_node
            info = {"input_name": name, "input_config": config, "linked_node": link}
            yield _exception_problem(error, outer=outer, **({} if outer else info))
            return
        if "input_types" not in self.own and not fits(received, entry):
            yield problem(
                "return_type_mismatch",
                "The linked output has another type",
                f"{name} takes {entry.type}, the link gives {received}",
                input_name=name,
                input_config=config,
                received_type=received,
                linked_node=link,
            )

    def _convert(self, entry: NodeInput) -> Problem | None:
        value = self.inputs[entry.name]
        # how clients send a constant that is a list, since a bare list is a link
        if isinstance(value, dict) and "__value__" in value:
            value = value["__value__"]
        try:
            self.inputs[entry.name] = _converted(entry, value)
        except (TypeError, ValueError, OverflowError) as error:
            return problem(
                "invalid_input_type",
                f"The value cannot be read as {entry.type}",
                f"{entry.name}: {value!r}",
                input_name=entry.name,
                input_config=entry.declared,
                received_value=value,
                exception_message=str(error),
            )
        return None

    def _check_own(self) -> list[Problem]:
        if not (self.own or self.own_all):
            return []
        constants = constant_inputs(self.cls, self.inputs)
        asked = {n: v for n, v in constants.items() if self.own_all or n in self.own}
        # the class is cloned so that `cls.hidden` exists, empty, as it does in ComfyUI
        verdict = self.cls.PREPARE_CLASS_CLONE(HiddenHolder()).validate_inputs(**asked)
        if verdict is True:
            return []
        reason = "" if verdict is False else f": {verdict}"
        return [
            problem(
                "custom_validation_failed",
                "The node refuses the value",
                f"{name}{reason}",
                input_name=name,
            )
            for name in asked
        ]


def constant_inputs(cls: type[ComfyNode], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What a node's `validate_inputs` and `fingerprint_inputs` get: links are None."""
    schema = cls.GET_SCHEMA()
    known = {each.id for each in schema.inputs}
    found = {n: None if is_link(v) else v for n, v in inputs.items() if n in known}
    return {n: [v] for n, v in found.items()} if schema.is_input_list else found


def _output_type(graph: Graph, nodes: Nodes, link: list[Any]) -> Any:
    """Raises LookupError where the link leads nowhere."""
    source, index = link
    if not isinstance(source, str) or source not in graph:
        raise KeyError(f"there is no node {source!r} to link to")
    outputs = nodes[graph[source]["class_type"]].GET_SCHEMA().outputs
    if not isinstance(index, int) or not 0 <= index < len(outputs):
        raise IndexError(f"node {source!r} has {len(outputs)} outputs, there is no output {index}")
    return outputs[index].io_type


def _check_value(entry: NodeInput, value: Any) -> Iterator[Problem]:
    fault = value_problem(entry, value)
    if fault is None:
        return
    kind, sentence = fault
    is_long = kind == "value_not_in_list" and len(entry.options or ()) > _MOST_CHOICES
    yield problem(
        kind,
        _MESSAGES[kind],
        f"{entry.name}: {sentence}",
        input_name=entry.name,
        input_config=None if is_long else entry.declared,
        received_value=value,
    )
