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
    comfy_usage_source = "COMFY_USAGE_SOURCE"


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
    comfy_usage_source: str | None = None


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
    # further words under which the canvas finds the node
    search_aliases: list[str] = field(default_factory=list)
    # execute gets a list for every input, once, instead of one call an item
    is_input_list: bool = False
    is_output_node: bool = False
    is_deprecated: bool = False
    is_experimental: bool = False
    # shown only to those who asked for developers' nodes
    is_dev_only: bool = False
    is_api_node: bool = False
    # what a node that costs money shows; the engine has none such
    price_badge: Any = None
    # never share a result between two nodes with the same inputs
    not_idempotent: bool = False
    enable_expand: bool = False
    # execute also gets what the graph has and the schema does not name
    accept_all_inputs: bool = False
    # where the canvas lists the node among the essential ones
    essentials_category: str | None = None
    # shows something and is no output node: it runs only on the way to one
    has_intermediate_output: bool = False

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

    `core` picks the older form that most of ComfyUI's built-in nodes have.
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
        "is_input_list": schema.is_input_list,
        "output": [each.io_type for each in outputs],
        "output_is_list": [each.is_output_list for each in outputs],
        "output_name": [each.display_name or each.io_type for each in outputs],
        "name": schema.node_id,
        "display_name": schema.display_name or (schema.node_id if core else None),
        "description": schema.description,
        "python_module": python_module,
        "category": schema.category,
        "output_node": schema.is_output_node,
        "has_intermediate_output": schema.has_intermediate_output,
    }
    return info | (_core_keys(schema) if core else _v3_keys(schema))


def _v3_keys(schema: Schema) -> dict[str, Any]:
    return {
        "output_tooltips": [each.tooltip or None for each in schema.outputs],
        "output_matchtypes": None,
        "deprecated": schema.is_deprecated,
        "experimental": schema.is_experimental,
        "dev_only": schema.is_dev_only,
        "api_node": schema.is_api_node,
        "price_badge": schema.price_badge,
        "search_aliases": schema.search_aliases or None,
        "essentials_category": schema.essentials_category,
    }


def _core_keys(schema: Schema) -> dict[str, Any]:
    # Built-in nodes of the older form leave out what nobody wrote down.
    keys: dict[str, Any] = {"search_aliases": schema.search_aliases}
    if schema.essentials_category is not None:
        keys["essentials_category"] = schema.essentials_category
    if any(each.tooltip for each in schema.outputs):
        keys["output_tooltips"] = [each.tooltip or "" for each in schema.outputs]
    return keys
