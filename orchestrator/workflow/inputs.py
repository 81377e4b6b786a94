"""What an input of a node class is: decoded once from its declaration in `/object_info`.

A declaration is `[type, {options}]`, or `[[choices], {options}]` in the older form. Where the type
is one of ComfyUI's dynamic ones, the input stands for several: a dynamic combo brings the inputs of
the chosen key, an autogrow as many numbered ones as are linked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import ROUND_HALF_UP, Decimal
from enum import Enum
from functools import cached_property
from types import MappingProxyType
from typing import Any

# What "control after generate" and its like are called in a node's list of values.
CONTROL = "control_after_generate"
_FILTER = "control_filter_list"

# The key of the one branch of a dynamic slot.
_ANY_LINK = "any link"

# Integers with these names get a control without being asked.
_SEEDS = ("seed", "noise_seed")


class InputGrowth(Enum):
    """How an input with a dynamic type stands for several."""

    COMBO = "COMFY_DYNAMICCOMBO_V3"  # a choice that brings the inputs of its key
    AUTOGROW = "COMFY_AUTOGROW_V3"  # numbered or named inputs after one template
    SLOT = "COMFY_DYNAMICSLOT_V3"  # a link that brings inputs where it is there


# Inputs that one autogrow may stand for; ComfyUI itself allows 100.
_MOST_GROWN = 10_000
_GROWTHS = {growth.value: growth for growth in InputGrowth}
# Takes the types that it names, and gives what it is linked to.
MATCH_TYPE = "COMFY_MATCHTYPE_V3"


@dataclass(frozen=True, kw_only=True)
class WidgetType:
    """How the editor shows and saves the values of one type."""

    # the value where neither the file nor the declaration has one
    default: Any = ""
    # hidden widgets behind it that keep a value of their own in the file, and send none
    companions: tuple[str, ...] = ()
    # whether a canvas file holds the value, and whether the graph gets it
    saved: bool = True
    sent: bool = True


_BOX = {"x": 0, "y": 0, "width": 512, "height": 512}
_CURVE = {"points": [[0, 0], [1, 1]], "interpolation": "monotone_cubic"}

# The types that the editor has a widget for (ComfyUI_frontend 1.48.7); all others take links only.
# A custom node's own widget is known by the mark that a canvas file has at the input.
WIDGETS: Mapping[str, WidgetType] = MappingProxyType(
    {
        "INT": WidgetType(default=0),
        "FLOAT": WidgetType(default=0.0),
        "BOOLEAN": WidgetType(default=False),
        "STRING": WidgetType(),
        "COMBO": WidgetType(default=None),
        InputGrowth.COMBO.value: WidgetType(default=None),
        "MARKDOWN": WidgetType(),
        "TEXTAREA": WidgetType(),
        "COLOR": WidgetType(default="#000000"),
        "COLORS": WidgetType(default=[]),
        "CURVE": WidgetType(default=_CURVE),
        "RANGE": WidgetType(default={"min": 0.0, "max": 1.0}),
        "BOUNDING_BOX": WidgetType(default=_BOX, companions=("x", "y", "width", "height")),
        "BOUNDING_BOXES": WidgetType(default=[]),
        "COMPOSITOR": WidgetType(default={}),
        "CHART": WidgetType(default={}),
        "GALLERIA": WidgetType(default=[]),
        "PAINTER": WidgetType(),
        "IMAGECOMPARE": WidgetType(default=["", ""], saved=False),
        "LOAD_3D": WidgetType(),
        "LOAD_3D_ADVANCED": WidgetType(),
        "PREVIEW_3D": WidgetType(),
        "WEBCAM": WidgetType(),
        "AUDIO_RECORD": WidgetType(companions=("record",)),
        "IMAGEUPLOAD": WidgetType(default="image", sent=False),
        "AUDIOUPLOAD": WidgetType(sent=False),
    }
)
# What a custom node's own type of widget is taken for.
FOREIGN = WidgetType(default=None)

# Types whose values can be given as text, on a command line or in a manifest.
_PLAIN_TYPES = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", InputGrowth.COMBO.value)
# The largest value of a widget for numbers whose declaration names none.
_MOST = 2048
_UPLOADS = ("image", "video", "audio", "file")


@dataclass(frozen=True, kw_only=True)
class Autogrow:
    """The template of an autogrow input."""

    names: tuple[str, ...]
    # so many of the first are required
    least: int
    input: NodeInput


@dataclass(frozen=True, kw_only=True)
class NodeInput:
    """One input of a node class."""

    # with dots where it belongs to a dynamic input: "resize_type.width"
    name: str
    # as declared: "INT", "MODEL", ...; "COMBO" for every list of choices; "A,B" takes either
    type: str
    required: bool
    # the choices of a COMBO or the keys of a dynamic one; None where the server does not list them
    options: tuple[Any, ...] | None = None
    # the rest of the declaration: default, min, max, tooltip, image_upload, ...
    extra: Mapping[str, Any] = field(default_factory=dict)
    # None where it takes links only
    widget: WidgetType | None = None
    growth: InputGrowth | None = None
    # a dynamic combo: the inputs that each key brings; a dynamic slot: those that any link brings
    branches: Mapping[Any, tuple[NodeInput, ...]] = field(default_factory=dict)
    autogrow: Autogrow | None = None

    @property
    def types(self) -> tuple[str, ...]:
        """The types of links that it takes; "*" takes all."""
        kind = self.type
        if kind == MATCH_TYPE:
            kind = str((self.extra.get("template") or {}).get("allowed_types") or "*")
        elif self.growth is InputGrowth.SLOT:
            kind = self.extra.get("slotType") or "*"
        return tuple(part.strip() for part in kind.split(","))

    # a plan asks it for every value of every job
    @cached_property
    def value_type(self) -> str | None:
        """The plain type in which a value can be given as text, or None."""
        kinds = (self.extra.get("widgetType") or self.type).split(",")
        kind = next((kind.strip() for kind in kinds if kind.strip() in _PLAIN_TYPES), None)
        return "COMBO" if kind == InputGrowth.COMBO.value else kind

    @property
    def minimum(self) -> float | None:
        """The smallest value allowed, or None."""
        return self.extra.get("min")

    @property
    def maximum(self) -> float | None:
        """The largest value allowed, or None."""
        return self.extra.get("max")

    @property
    def has_default(self) -> bool:
        """True where the server itself names a default."""
        return "default" in self.extra

    @property
    def declared(self) -> tuple[Any, Mapping[str, Any]]:
        """The declaration as servers send it: the type, or the older form of choices; options."""
        is_list = self.options is not None and self.growth is None and "options" not in self.extra
        return (list(self.options or ()) if is_list else self.type), self.extra

    @property
    def default(self) -> Any:
        """The value that the editor's widget has at first."""
        found = self.extra.get("default")
        if self.type == "COMBO" or self.growth is InputGrowth.COMBO:
            return found or (self.options[0] if self.options else None)
        if found is not None:
            return found
        return (self.widget or FOREIGN).default

    @property
    def is_widget(self) -> bool:
        """True where the editor shows a widget, so that a canvas file holds a value for it."""
        return self.widget is not None

    @property
    def takes_links_only(self) -> bool:
        """True where none of its types is one that the editor has a widget for: a picture, a model.

        Of a custom node's type nobody but the node knows: its own widget may give a value.
        """
        named = (*self.type.split(","), *self.types)
        return self.growth is None and all(
            kind.strip() not in WIDGETS and kind != "*" for kind in named
        )

    @property
    def is_socketless(self) -> bool:
        """True for a widget that no link can be put on."""
        return bool(self.extra.get("socketless"))

    @property
    def is_upload(self) -> bool:
        """True for a choice among uploaded files, which a client may add to before it posts."""
        return any(self.extra.get(f"{kind}_upload") for kind in _UPLOADS)

    @property
    def is_image_upload(self) -> bool:
        """True for a picture of the input folder; LoadImageOutput names one of another folder."""
        return bool(self.extra.get("image_upload")) and (
            self.extra.get("image_folder", "input") == "input"
        )

    @property
    def is_remote(self) -> bool:
        """True where the editor fetches the choices from elsewhere."""
        return bool(self.extra.get("remote"))

    @property
    def has_refresh(self) -> bool:
        """True where the editor shows a switch and a button to fetch the choices again."""
        return bool((self.extra.get("remote") or {}).get("refresh_button"))

    @property
    def takes_several(self) -> bool:
        """True for a list of choices of which several can be chosen."""
        return bool(self.extra.get("multiselect") or self.extra.get("multi_select"))

    @property
    def has_dynamic_prompts(self) -> bool:
        """True for a text in which the editor drops comments and picks from {a|b}."""
        return bool(self.extra.get("dynamicPrompts"))

    @property
    def companions(self) -> tuple[str, ...]:
        """The hidden widgets behind it, each with a place of its own in a canvas file's values.

        The editor adds a control to integers called seed or noise_seed without being asked.
        """
        if self.widget is None:
            return ()
        declared = self.extra.get(CONTROL)
        if self.type == "INT" and declared is None:
            # by the full name: "sampling_mode.seed" gets none
            declared = self.name in _SEEDS
        if not declared or self.type not in ("INT", "FLOAT", "COMBO"):
            return self.widget.companions
        return (CONTROL, _FILTER) if self.type == "COMBO" else (CONTROL,)

    @property
    def has_control(self) -> bool:
        """True where "control after generate" stands behind it."""
        return CONTROL in self.companions

    def turned_to(self, value: Any) -> Any:
        """A value as the widget shows it when it is turned to it: numbers go by its steps.

        What a file holds for the widget itself stays as it is.
        """
        if isinstance(value, bool) or not isinstance(value, int | float):
            return value
        if not math.isfinite(value):
            return value
        kind = self.extra.get("widgetType") or self.type
        if kind == "INT":
            return _by_steps(value, self.extra.get("step") or 1, self.extra.get("min") or 0)
        return self._rounded(value) if kind == "FLOAT" else value

    def _rounded(self, value: float) -> float:
        step = self.extra.get("step")
        digits = _digits(0.5 if step is None else step)
        unit = self.extra.get("round") or (10**-digits if digits else 0)
        if not unit:
            return value
        # by way of the decimal digits, as JavaScript's toFixed does
        near = Decimal(math.floor(value / unit + 0.5) * unit)
        found = float(near.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))
        low, high = self.extra.get("min"), self.extra.get("max")
        least, most = (0 if low is None else low), (_MOST if high is None else high)
        return float(max(least, min(found, most)))

    def branch(self, key: Any) -> tuple[NodeInput, ...]:
        """The inputs that a dynamic combo brings with `key`, under their full names."""
        found = self.branches.get(key, ()) if isinstance(key, Hashable) else ()
        return tuple(below(self.name, entry) for entry in found)

    def grown(self) -> Iterator[NodeInput]:
        """Every input that an autogrow may have, under their full names, the required first."""
        if self.autogrow is None:
            return
        template = self.autogrow.input
        for number, name in enumerate(self.autogrow.names):
            required = template.required and number < self.autogrow.least
            yield replace(template, name=f"{self.name}.{name}", required=required)


def _digits(step: float) -> int:
    """How many decimal places a widget with this step shows."""
    return max(0, -math.floor(math.log10(step))) if step > 0 else 0


def _by_steps(value: float, step: float, least: float) -> float:
    """The next whole number of steps, counted from the smallest value."""
    if step == 1:
        return math.floor(value + 0.5) if isinstance(value, float) else value
    start = math.fmod(least, step)
    found = math.floor((value - start) / step + 0.5) * step + start
    return int(found) if float(found).is_integer() else found


def below(prefix: str, entry: NodeInput) -> NodeInput:
    """An input of a dynamic one under its full name."""
    return replace(entry, name=f"{prefix}.{entry.name}")


def expanded(inputs: tuple[NodeInput, ...], values: Mapping[str, Any]) -> Iterator[NodeInput]:
    """The inputs that a node with these values has, under their full names (ComfyUI's rule).

    An autogrow stands for all names that it may have; a dynamic combo whose key is not known, and a
    dynamic slot without a link, for nothing.
    """
    for entry in inputs:
        if entry.growth is InputGrowth.AUTOGROW:
            yield from entry.grown()
        elif entry.growth is None:
            yield entry
        elif entry.name in values:
            key = values[entry.name] if entry.growth is InputGrowth.COMBO else _ANY_LINK
            if isinstance(key, Hashable) and key in entry.branches:
                yield entry
                yield from expanded(entry.branch(key), values)


# --------------------------------------------------------------------------- reading


def read_inputs(
    sections: Mapping[str, Any], order: Mapping[str, Any] | None = None
) -> list[NodeInput]:
    """The inputs of `{"required": {...}, "optional": {...}}` in the order of the editor.

    `order` is the class's `input_order`; what it leaves out comes last. Raises KeyError, TypeError
    and their kin where that is no declaration.
    """
    found, rest = [], []
    for section in ("required", "optional"):
        declared = sections.get(section) or {}
        first = (order or {}).get(section) or ()
        names = [name for name in first if name in declared]
        found += [read_input(name, declared[name], section == "required") for name in names]
        if len(names) == len(declared):
            continue
        left = declared.keys() - set(names)
        rest += [
            read_input(name, declared[name], section == "required")
            for name in declared
            if name in left
        ]
    return found + rest


def read_input(name: str, raw: Any, required: bool) -> NodeInput:
    """One declaration."""
    if not isinstance(raw, list | tuple):
        raise TypeError(f"the declaration of {name} is no list")
    kind = raw[0]
    extra = _sound(raw[1]) if len(raw) > 1 and isinstance(raw[1], dict) else {}
    options: tuple[Any, ...] | None = None
    if isinstance(kind, list):
        kind, options = "COMBO", tuple(kind)
    elif kind == "COMBO" and isinstance(extra.get("options"), list):
        options = tuple(extra["options"])
    elif not isinstance(kind, str):
        raise TypeError(f"the type of {name} is {kind!r}")
    widget = None if extra.get("forceInput") else WIDGETS.get(extra.get("widgetType") or kind)
    growth = _GROWTHS.get(kind)
    if growth is None:
        return NodeInput(
            name=name, type=kind, required=required, options=options, extra=extra, widget=widget
        )
    return _read_growth(name, growth, required, extra, widget)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) < math.inf


# Options that are looked into, and what they must be; servers of others declare what they like.
_SOUND: Mapping[str, Callable[[Any], bool]] = MappingProxyType(
    {
        **dict.fromkeys(("min", "max", "step", "round"), _is_number),
        **dict.fromkeys(("template", "remote"), lambda value: isinstance(value, dict)),
        **dict.fromkeys(("slotType", "widgetType"), lambda value: isinstance(value, str)),
        "whole_set": lambda value: isinstance(value, list),
    }
)


def _sound(extra: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options of a declaration without those that cannot be what they are called."""
    wrong = [name for name in _SOUND.keys() & extra.keys() if not _SOUND[name](extra[name])]
    return {name: extra[name] for name in extra if name not in wrong} if wrong else extra


def _read_growth(
    name: str,
    growth: InputGrowth,
    required: bool,
    extra: Mapping[str, Any],
    widget: WidgetType | None,
) -> NodeInput:
    branches: dict[Any, tuple[NodeInput, ...]] = {}
    autogrow = None
    if growth is InputGrowth.COMBO:
        branches = {one["key"]: tuple(read_inputs(one["inputs"])) for one in extra["options"]}
    elif growth is InputGrowth.SLOT:
        branches = {_ANY_LINK: tuple(read_inputs(extra.get("inputs") or {}))}
    else:
        autogrow = _read_autogrow(extra["template"])
    return NodeInput(
        name=name,
        type=growth.value,
        required=required,
        options=tuple(branches) if growth is InputGrowth.COMBO else None,
        extra=extra,
        widget=widget,
        growth=growth,
        branches=branches,
        autogrow=autogrow,
    )


def _read_autogrow(template: Mapping[str, Any]) -> Autogrow:
    names = template.get("names")
    if names is None:
        prefix, most = template.get("prefix", ""), template.get("max", 100)
        if most > _MOST_GROWN:
            raise ValueError(f"an input stands for {most} others")
        names = [f"{prefix}{number}" for number in range(most)]
    return Autogrow(
        names=tuple(map(str, names)),
        least=int(template.get("min", 1)),
        # ComfyUI itself looks at the first input only
        input=read_inputs(template["input"])[0],
    )
