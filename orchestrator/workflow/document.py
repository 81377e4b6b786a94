"""What holds a workflow: a canvas file, a graph, or a graph wrapped by a program; with no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import GraphError
from .canvas import read_canvas
from .graph import Form, form_of, parse_graph


@dataclass(frozen=True, kw_only=True)
class Document:
    """A workflow as it was found, sound as far as that shows without a server."""

    # how messages call it
    name: str
    form: Form
    # a decoded canvas file, or a graph
    data: Mapping[str, Any]
    # SHA-256 of what it was read from
    sha256: str
    # what was left out
    notes: tuple[str, ...] = ()


def document_of(data: Any, sha256: str, name: str = "the workflow") -> Document:
    """Take a workflow out of decoded JSON.

    That is a canvas file, a graph, or `{"prompt": graph}` as scripts post it. Comments beside the
    nodes are left out. Raises GraphError and its kin.
    """
    data, notes = _without_comments(_unwrapped(data))
    form = form_of(data, name)
    if form is Form.CANVAS:
        read_canvas(data, name)
    else:
        data = parse_graph(data, name)
    said = tuple(f"{key!r} is no node, and is left out" for key in notes)
    return Document(name=name, form=form, data=data, sha256=sha256, notes=said)


def _unwrapped(data: Any) -> Any:
    """The graph in the body of a request, or the data itself."""
    if not isinstance(data, dict) or "nodes" in data:
        return data
    inner = data.get("prompt")
    is_node = isinstance(inner, dict) and "class_type" in inner
    return inner if isinstance(inner, dict) and not is_node else data


def _without_comments(data: Any) -> tuple[Any, list[str]]:
    """A graph without entries that are no nodes and do not look like damaged ones."""
    if not isinstance(data, dict) or "nodes" in data:
        return data, []
    nodes = {key: value for key, value in data.items() if _is_node(value)}
    rest = [key for key in data if key not in nodes]
    if not any("class_type" in node for node in nodes.values()):
        return data, []
    return nodes, rest


def _is_node(value: Any) -> bool:
    return isinstance(value, dict) and ("class_type" in value or "inputs" in value)


def chosen(texts: Mapping[str, Any], decode: Any, name: str) -> Any:
    """The workflow among the texts of a picture: the canvas, else the graph; raises GraphError."""
    for key in ("workflow", "prompt"):
        if texts.get(key):
            return decode(texts[key], f"{name} ({key})")
    raise GraphError(
        f"{name} is a picture without a workflow; those that ComfyUI or Spriteworks saved have "
        "one, unless a program took it out"
    )
