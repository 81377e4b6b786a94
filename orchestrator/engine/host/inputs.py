"""Inputs and outputs of a node's schema: what `io.Image.Input(...)` and the like make.

Names and arguments follow `comfy_api.latest.io` of ComfyUI 0.33.0, so that a node written here runs
there too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol


def without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what was not said; the canvas tells a missing key from a null."""
    return {key: value for key, value in values.items() if value is not None}


class SocketType(Protocol):
    """What an input or output knows of its type."""

    io_type: ClassVar[str]


class Input:
    """A socket: `id` is its key in a graph's `inputs`."""

    # bound by types.ComfyType to the type that the input belongs to
    Parent: ClassVar[type[SocketType]]

    def __init__(
        self,
        id: str,
        display_name: str | None = None,
        optional: bool = False,
        tooltip: str | None = None,
        lazy: bool | None = None,
        extra_dict: Mapping[str, Any] | None = None,
        raw_link: bool | None = None,
        advanced: bool | None = None,
    ) -> None:
        self.id = id
        self.display_name = display_name
        self.optional = optional
        self.tooltip = tooltip
        self.lazy = lazy
        self.extra_dict = dict(extra_dict or {})
        self.raw_link = raw_link
        self.advanced = advanced

    @property
    def io_type(self) -> str:
        """The type's name in `/object_info`."""
        return self.Parent.io_type

    def get_io_type(self) -> str:
        """The name under which `/object_info` lists this input; a widget may state another."""
        return self.io_type

    def as_dict(self) -> dict[str, Any]:
        """The options of the input as the canvas reads them."""
        named = {
            "display_name": self.display_name,
            "tooltip": self.tooltip,
            "lazy": self.lazy,
            "rawLink": self.raw_link,
            "advanced": self.advanced,
        }
        return without_none(named) | without_none(self.extra_dict)


class WidgetInput(Input):
    """An input that the canvas shows as a field unless a link replaces it."""

    def __init__(
        self,
        id: str,
        display_name: str | None = None,
        optional: bool = False,
        tooltip: str | None = None,
        lazy: bool | None = None,
        default: Any = None,
        socketless: bool | None = None,
        widget_type: str | None = None,
        force_input: bool | None = None,
        extra_dict: Mapping[str, Any] | None = None,
        raw_link: bool | None = None,
        advanced: bool | None = None,
    ) -> None:
        super().__init__(id, display_name, optional, tooltip, lazy, extra_dict, raw_link, advanced)
        self.default = default
        self.socketless = socketless
        self.widget_type = widget_type
        self.force_input = force_input

    def get_io_type(self) -> str:
        return self.widget_type or self.io_type

    def as_dict(self) -> dict[str, Any]:
        named = {
            "default": self.default,
            "socketless": self.socketless,
            "widgetType": self.widget_type,
            "forceInput": self.force_input,
        }
        return super().as_dict() | without_none(named)


class Output:
    """A result of a node; without an `id` it gets one from its place and type."""

    Parent: ClassVar[type[SocketType]]

    def __init__(
        self,
        id: str | None = None,
        display_name: str | None = None,
        tooltip: str | None = None,
        is_output_list: bool = False,
    ) -> None:
        self.id = id
        self.display_name = display_name
        self.tooltip = tooltip
        self.is_output_list = is_output_list

    @property
    def io_type(self) -> Any:
        """The type's name in `/object_info`; the list of choices for a combo."""
        return self.Parent.io_type
