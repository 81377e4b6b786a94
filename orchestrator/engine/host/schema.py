"""A node's schema, and its entry in `/object_info`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from .inputs import Input, Output
from .types import Combo


class Hidden(str, Enum):
    """What a node may ask for beside its inputs; it reads them from `cls.hidden`."""

    unique_id = "UNIQUE_ID"
    prompt = "PROMPT"
    extra_pnginfo = "EXTRA_PNGINFO"
    dynprompt = "DYNPROMPT"
    auth_token_comfy_org = "AUTH_TOKEN_COMFY_ORG"
    api_key_comfy_org = "API_KEY_COMFY_ORG"


@dataclass(frozen=True, kw_only=True)
class HiddenHolder:
    """`cls.hidden` of a node that runs: None where the schema does not ask for a value."""

    unique_id: str | None = None
    # the graph as it was sent
    prompt: Any = None
    # what clients want stored in pictures, for example {"workflow": canvas file}
    extra_pnginfo: Any = None
    # always None: the engine does not expand nodes
    dynprompt: Any = None
    auth_token_comfy_org: str | None = None
    api_key_comfy_org: str | None = None


@dataclass
class Schema:
    """Everything that clients and the canvas know of a node."""

    node_id: str
    display_name: str | None = None
    category: str = "sd"
    inputs: list[Input] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    hidden: list[Hidden] = field(default_factory=list)
    description: str = ""
    # execute gets a list for every input, once, instead of one call an item
    is_input_list: bool = False
    is_output_node: bool = False
    is_deprecated: bool = False
    is_experimental: bool = False
    is_api_node: bool = False
    # never share a result between two nodes with the same inputs
    not_idempotent: bool = False
    enable_expand: bool = False

    def finalize(self) -> None:
        """Give output nodes the graph, and outputs without an id theirs."""
        if self.is_output_node:
            wanted = (Hidden.prompt, Hidden.extra_pnginfo)
            self.hidden += [item for item in wanted if item not in self.hidden]
        for index, output in enumerate(self.outputs):
            if output.id is None:
                output.id = f"_{index}_{output.io_type}_"

    def validate(self) -> None:
        """Raise ValueError unless every id stands once, over inputs and outputs together."""
        ids = [each.id for each in self.inputs] + [each.id for each in self.outputs]
        twice = [name for name, count in Counter(ids).items() if count > 1]
        if twice:
            raise ValueError(f"node {self.node_id}: ids {twice} are used more than once")


def input_types(schema: Schema, *, core: bool) -> dict[str, dict[str, Any]]:
    """Inputs as `/object_info` gives them: {"required": {id: (type, options)}, "optional", ...}.

    `core` picks the older form that ComfyUI's built-in nodes have.
    """
    found: dict[str, dict[str, Any]] = {"required": {}}
    for each in schema.inputs:
        entry = _core_entry(each) if core else (each.get_io_type(), each.as_dict())
        found.setdefault("optional" if each.optional else "required", {})[each.id] = entry
    if schema.hidden:
        found["hidden"] = {
            item.name: item.value if core else (item.value,) for item in schema.hidden
        }
    return found


def _core_entry(each: Input) -> tuple[Any, ...]:
    # Built-in nodes say [choices, options], leave empty options out and have no V3 keys.
    options = each.as_dict()
    io_type: Any = each.get_io_type()
    if isinstance(each, Combo.Input):
        io_type = options.pop("options", [])
        options.pop("multiselect", None)
    if options.get("multiline") is False:
        del options["multiline"]
    return (io_type, options) if options else (io_type,)


def node_info(schema: Schema, *, core: bool, python_module: str) -> dict[str, Any]:
    """The node's entry in `/object_info`."""
    inputs = input_types(schema, core=core)
    outputs = schema.outputs
    info: dict[str, Any] = {
        "input": inputs,
        "input_order": {group: list(items) for group, items in inputs.items()},
        "output": [each.io_type for each in outputs],
        "output_is_list": [each.is_output_list for each in outputs],
        "output_name": [each.display_name or each.io_type for each in outputs],
        "name": schema.node_id,
        "display_name": schema.display_name or (schema.node_id if core else None),
        "description": schema.description,
        "python_module": python_module,
        "category": schema.category,
        "output_node": schema.is_output_node,
    }
    tooltips = [each.tooltip or None for each in outputs]
    if not core:
        info["output_tooltips"] = tooltips
        info["deprecated"] = schema.is_deprecated
        info["experimental"] = schema.is_experimental
        info["api_node"] = schema.is_api_node
    elif any(tooltips):
        info["output_tooltips"] = [text or "" for text in tooltips]
    return info
