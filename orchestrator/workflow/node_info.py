"""What a server says about its node classes (`GET /object_info`), as values, with no I/O."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

from ..errors import ProtocolError, UnknownNodeClass

# The decoded answer of `GET /object_info`: {class_type: {"input": {...}, "output": [...], ...}}
ObjectInfo: TypeAlias = Mapping[str, Mapping[str, Any]]

# Types whose values the editor shows as a widget; every other type takes a link.
WIDGET_TYPES = frozenset({"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"})

# More choices than this are counted in a message instead of listed, as ComfyUI does.
_LISTED = 20


@dataclass(frozen=True, kw_only=True)
class InputInfo:
    """One input of a node class."""

    name: str
    # "INT", "MODEL", ...; "COMBO" for every list of choices; "A,B" takes either
    type: str
    required: bool
    # the choices of a COMBO; None where the server does not list them
    options: tuple[Any, ...] | None = None
    # the rest of the declaration: default, min, max, tooltip, image_upload, ...
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def minimum(self) -> float | None:
        return self.extra.get("min")

    @property
    def maximum(self) -> float | None:
        return self.extra.get("max")

    @property
    def is_upload(self) -> bool:
        """True for a choice among uploaded files, which a client may add to before it posts."""
        return any(self.extra.get(f"{kind}_upload") for kind in ("image", "video", "audio"))

    @property
    def is_image_upload(self) -> bool:
        """True for a picture of the input folder; LoadImageOutput names one of another folder."""
        return bool(self.extra.get("image_upload")) and (
            self.extra.get("image_folder", "input") == "input"
        )

    @property
    def is_widget(self) -> bool:
        """True where the editor shows a widget, so that a canvas file holds a value for it."""
        return self.type in WIDGET_TYPES and not self.extra.get("forceInput")

    @property
    def has_control(self) -> bool:
        """True where the editor keeps a second value, "control after generate", behind it.

        The editor adds it to integers called seed or noise_seed without being asked.
        """
        if self.type not in ("INT", "COMBO"):
            return False
        declared = self.extra.get("control_after_generate")
        if declared is None:
            return self.type == "INT" and self.name in ("seed", "noise_seed")
        return bool(declared)


@dataclass(frozen=True, kw_only=True)
class NodeInfo:
    """One node class."""

    class_type: str
    # in the order in which the editor shows them: required, then optional
    inputs: tuple[InputInfo, ...]
    # one type an output slot
    outputs: tuple[str, ...]
    output_names: tuple[str, ...]
    is_output: bool
    display_name: str
    # where the class lives: "nodes", "comfy_extras.nodes_mask", "custom_nodes.some-pack"
    module: str

    @cached_property
    def by_name(self) -> dict[str, InputInfo]:
        return {entry.name: entry for entry in self.inputs}

    @property
    def takes_undeclared_inputs(self) -> bool:
        """True for classes of other packs, some of which accept names they do not list."""
        return self.module.startswith("custom_nodes.") and not self.class_type.startswith(
            "Spriteworks"
        )


def node_info(object_info: ObjectInfo, class_type: str) -> NodeInfo:
    """Read one class; raises UnknownNodeClass, naming similar ones, where the server lacks it."""
    raw = object_info.get(class_type)
    if raw is None:
        raise UnknownNodeClass(unknown_class_message(object_info, class_type))
    try:
        return _read(class_type, raw)
    except (AttributeError, KeyError, TypeError, IndexError) as error:
        raise ProtocolError(f"the server's /object_info of {class_type} cannot be read") from error


def unknown_class_message(object_info: ObjectInfo, class_type: str) -> str:
    """Say that the server lacks `class_type` and what to do about it."""
    return (
        f"the server has no node class {class_type!r}{did_you_mean(class_type, object_info)}; "
        "install the node pack that provides it, or use a server that has it"
    )


def did_you_mean(name: str, known: Iterable[Any]) -> str:
    """', did you mean ...' with up to three names similar to `name`, or an empty string."""
    folded = {str(entry).casefold(): str(entry) for entry in known}
    close = difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=0.6)
    return f", did you mean {_either(repr(folded[entry]) for entry in close)}?" if close else ""


def listed(names: Iterable[Any]) -> str:
    """The names that there are, for a message: all of them, or the first twenty and a count."""
    texts = [str(name) for name in names]
    if not texts:
        return "none"
    rest = len(texts) - _LISTED
    return ", ".join(texts[:_LISTED]) + (f" and {rest} more" if rest > 0 else "")


def _either(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last


def _read(class_type: str, raw: Mapping[str, Any]) -> NodeInfo:
    sections = raw["input"]
    order = raw.get("input_order") or {}
    inputs = [
        _read_input(name, sections[section][name], required=section == "required")
        for section in ("required", "optional")
        for name in order.get(section) or sections.get(section) or ()
        if name in (sections.get(section) or ())
    ]
    outputs = tuple("COMBO" if isinstance(kind, list) else str(kind) for kind in raw["output"])
    return NodeInfo(
        class_type=class_type,
        inputs=tuple(inputs),
        outputs=outputs,
        output_names=tuple(str(name) for name in raw.get("output_name") or outputs),
        is_output=bool(raw.get("output_node")),
        display_name=raw.get("display_name") or class_type,
        module=str(raw.get("python_module", "")),
    )


def _read_input(name: str, raw: Any, *, required: bool) -> InputInfo:
    kind = raw[0]
    extra = dict(raw[1]) if len(raw) > 1 and isinstance(raw[1], dict) else {}
    options: tuple[Any, ...] | None = None
    if isinstance(kind, list):
        kind, options = "COMBO", tuple(kind)
    elif kind == "COMBO" and isinstance(extra.get("options"), list):
        options = tuple(extra["options"])
    return InputInfo(name=name, type=str(kind), required=required, options=options, extra=extra)
