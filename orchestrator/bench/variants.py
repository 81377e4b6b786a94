"""What is compared: settings of the loaders in a workflow, one set of them after another; pure."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias

from comfy_nodes.settings import SETTINGS, LoaderSettings, Precision

from ..errors import BadValue, GraphError, UnknownParameter
from ..protocol import Graph
from ..workflow.catalogue import Catalogue
from ..workflow.checking import value_problem
from ..workflow.inputs import NodeInput
from ..workflow.wording import did_you_mean, listed

Values: TypeAlias = Mapping[str, Any]

# Every node that leaves one of these to the machine takes settings: loaders, and nodes that set
# those of another's model.
_MARKS: tuple[Values, ...] = ({"precision": "auto"}, {"vae_precision": "auto"})

BASELINE, AUTO, AGAIN = "baseline", "auto", "baseline again"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One set of settings to measure."""

    name: str
    # what differs from the baseline
    changes: Values = field(default_factory=dict)
    # whether a setting that the machine cannot run is an error instead of being replaced
    strict: bool = True


@dataclass(frozen=True)
class OfferedSettings:
    """The settings that a workflow's nodes offer on one server."""

    # setting -> the input as the server declares it
    inputs: Mapping[str, NodeInput]
    # node -> settings that it has
    nodes: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, graph: Graph, catalogue: Catalogue, name: str) -> OfferedSettings:
        """Find them; raises GraphError where `name`, the workflow, has no node that takes any."""
        inputs: dict[str, NodeInput] = {}
        nodes: dict[str, tuple[str, ...]] = {}
        for node_id, node in graph.items():
            node_class = catalogue.node_class(str(node["class_type"]))
            known = node_class.by_name
            if not any(node_class.offers(mark) for mark in _MARKS):
                continue
            nodes[node_id] = tuple(key for key in SETTINGS if key in known)
            inputs |= {key: known[key] for key in nodes[node_id]}
        if not nodes:
            raise GraphError(
                f"{name} has no Spriteworks loader, so there is nothing to set: load its model "
                "with Load Checkpoint (Spriteworks), or put Optimize Model behind "
                "the loader that it has"
            )
        return cls(inputs, nodes)

    def set(self, graph: Graph, values: Values) -> Graph:
        """A copy of the graph in which every node that has them has these settings."""
        result = copy.deepcopy(graph)
        for node_id, names in self.nodes.items():
            result[node_id]["inputs"] |= {key: values[key] for key in names if key in values}
        return result

    def check(self, values: Values) -> None:
        """Raise UnknownParameter or BadValue for what cannot be set."""
        for name, value in values.items():
            if name not in self.inputs:
                raise UnknownParameter(
                    f"there is no setting {name!r}{did_you_mean(name, self.inputs)} in this "
                    f"workflow on this server (there is: {listed(self.inputs)})"
                )
            problem = value_problem(self.inputs[name], value)
            if problem:
                raise BadValue(f"{name}={value}: {problem[1]}")

    def choices(self, name: str) -> list[Any]:
        """The values to try of one setting, `auto` left out."""
        tried = SETTINGS[name].tried
        if tried:
            return list(tried)
        if self.inputs[name].type == "BOOLEAN":
            return [True, False]
        options = self.inputs[name].options or ()
        return [value for value in options if value != "auto"]


def plain(offered: OfferedSettings, device_type: str) -> dict[str, Any]:
    """The baseline: what the server would do by itself, fp32 on a CPU and else fp16."""
    precision = Precision.FP32 if device_type == "cpu" else Precision.FP16
    values = {name: _without(name) for name in offered.inputs}
    return values | ({"precision": precision.value} if "precision" in values else {})


def automatic(offered: OfferedSettings, baseline: Values) -> Variant:
    """Everything left to the device's table."""
    defaults = {name: _default(name) for name in offered.inputs}
    return Variant(name=AUTO, changes=_different(defaults, baseline), strict=False)


def one_at_a_time(offered: OfferedSettings, baseline: Values) -> list[Variant]:
    """Every choice of every setting, each alone."""
    names = [name for name in offered.inputs if SETTINGS[name].tried != ()]
    return [variant for name in names for variant in _each(offered, baseline, name)]


def asked(offered: OfferedSettings, baseline: Values, texts: Iterable[str]) -> list[Variant]:
    """The variants of `--try`: `NAME` for every choice, `NAME=VALUE,...` for a combination.

    Raises UnknownParameter and BadValue.
    """
    found: list[Variant] = []
    for text in texts:
        if "=" not in text:
            found += _every(offered, baseline, text)
            continue
        values = parse(offered, text)
        found.append(Variant(name=text, changes=values))
    return found


def parse(offered: OfferedSettings, text: str) -> dict[str, Any]:
    """`NAME=VALUE,NAME=VALUE` as values; raises UnknownParameter and BadValue."""
    values: dict[str, Any] = {}
    for part in text.split(","):
        name, equals, word = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise UnknownParameter(f"{part!r} is not NAME=VALUE, for example precision=bf16")
        values[name] = _value(offered.inputs.get(name), name, word)
    offered.check(values)
    return values


def _every(offered: OfferedSettings, baseline: Values, name: str) -> list[Variant]:
    """As `_each`; raises UnknownParameter and BadValue for a setting that has no list of values."""
    if name not in offered.inputs:
        offered.check({name: None})
    choices = offered.choices(name)
    if not choices:
        default = _default(name)
        raise BadValue(f"{name} takes any number: say which to try, for example {name}={default}")
    offered.check({name: choices[0]})
    return _each(offered, baseline, name)


def _each(offered: OfferedSettings, baseline: Values, name: str) -> list[Variant]:
    return [
        Variant(name=f"{name}={_text(value)}", changes={name: value})
        for value in offered.choices(name)
        if value != baseline[name]
    ]


def _different(values: Values, baseline: Values) -> dict[str, Any]:
    return {name: value for name, value in values.items() if baseline.get(name) != value}


def _value(entry: NodeInput | None, name: str, word: str) -> Any:
    if entry is None:
        return word
    kinds: Mapping[str, type[int] | type[float]] = {"INT": int, "FLOAT": float}
    if entry.type == "BOOLEAN":
        return word.casefold() in ("true", "on", "yes", "1")
    if entry.type not in kinds:
        return word
    try:
        return kinds[entry.type](word)
    except ValueError as error:
        raise BadValue(f"{name}={word}: {word!r} is not a number") from error


def _without(name: str) -> Any:
    """What a server that has no such setting does."""
    without = SETTINGS[name].without
    return _default(name) if without is None else without.value


def _default(name: str) -> Any:
    default = LoaderSettings.model_fields[name].default
    return default.value if isinstance(default, Enum) else default


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One variant at one batch size: one row of the table."""

    variant: Variant
    # None: as the workflow has it
    batch_size: int | None

    @property
    def key(self) -> str:
        """What names the row for good."""
        return f"{self.variant.name} x{self.batch_size or 'as it is'}"


def cases(
    variants: Sequence[Variant], baseline: Variant, auto: Variant, sizes: Sequence[int | None]
) -> list[Case]:
    """All rows in order: the baseline and auto at every size, the others at the first one.

    The baseline comes once more at the end: what it differs by then is the machine's own drift.
    """
    first, *others = sizes
    rows = [Case(variant=one, batch_size=first) for one in (baseline, auto, *variants)]
    rows += [Case(variant=one, batch_size=size) for size in others for one in (baseline, auto)]
    again = Variant(name=AGAIN, changes=baseline.changes, strict=baseline.strict)
    return [*rows, Case(variant=again, batch_size=first)]
