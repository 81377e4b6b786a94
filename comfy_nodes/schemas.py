"""A node's schema, as far as the ComfyUI at hand can say it: older ones lack some of its fields."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from enum import Enum
from typing import Any

from comfy_api.latest import io


class Category(str, Enum):
    """Where the canvas lists a node."""

    LOAD = "Spriteworks/Load"
    SPEED = "Spriteworks/Speed"
    SPRITE = "Spriteworks/Sprite"
    FRAMES = "Spriteworks/Frames"
    SHEET = "Spriteworks/Sheet"
    INPAINT = "Spriteworks/Inpaint"


def schema(
    *,
    node_id: str,
    display_name: str,
    category: Category,
    description: str,
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    shown: Collection[str] = (),
    search_aliases: Sequence[str] = (),
    is_input_list: bool = False,
    is_output_node: bool = False,
    is_deprecated: bool = False,
    has_intermediate_output: bool = False,
) -> io.Schema:
    """The schema of a node of this pack; the arguments are `io.Schema`'s, but for `shown`.

    Those are the settings that stay open on the node. The canvas folds all others away under
    *advanced*; inputs that take only links are always there.

    No node has an `essentials_category`: editors list only ComfyUI's own nodes under it, and take
    one of a pack out of *Extensions* for it.
    """
    for one in inputs:
        if _is_setting(one) and one.id not in shown:
            _fold(one)
    newer = _known(
        search_aliases=list(search_aliases), has_intermediate_output=has_intermediate_output
    )
    return io.Schema(
        node_id=node_id,
        display_name=display_name,
        category=category.value,
        description=description,
        inputs=list(inputs),
        outputs=list(outputs),
        is_input_list=is_input_list,
        is_output_node=is_output_node,
        is_deprecated=is_deprecated,
        **newer,
    )


def telling(one: Any, **told: Any) -> Any:
    """An input that tells clients more, in /object_info; 0.3.64's own lack the argument for it."""
    one.extra_dict = {**(one.extra_dict or {}), **told}
    return one


def _known(**wanted: Any) -> dict[str, Any]:
    """Those fields that this ComfyUI's `io.Schema` has."""
    have = {one.name for one in dataclasses.fields(io.Schema)}
    return {name: value for name, value in wanted.items() if name in have}


def _is_setting(one: Any) -> bool:
    """Whether an input has a widget: those alone have a default, be it none."""
    return hasattr(one, "default")


def _fold(one: Any) -> None:
    if hasattr(one, "advanced"):
        one.advanced = True
    else:  # the inputs of older hosts hand on to the canvas what is in here
        one.extra_dict["advanced"] = True
